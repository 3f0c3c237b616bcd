"""Masking: words and spans by hand, how many, which, and what becomes of them (4-sigma binomial bounds)."""

import numpy as np
import pytest

from pretraining.masking import bits_per_row, choose_positions, groups, mask_batch

MASK, VOCABULARY, SPECIAL = 4, 1000, 5
ORDINARY = np.arange(SPECIAL, VOCABULARY, dtype=np.int32)


def random_bits(rows, words, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, (rows, words), dtype=np.uint64)


def within(count, n, share):
    return abs(count - n * share) < 4 * np.sqrt(n * share * (1 - share))


def choose(masking, maskable, continuing=None, masked_lm_prob=0.15, max_predictions=20):
    """(words, spans, chosen) with random bits."""
    bits = random_bits(*maskable.shape)
    words, spans = groups(masking, maskable, np.zeros_like(maskable) if continuing is None else continuing, bits)
    return words, spans, choose_positions(words, spans, bits, masked_lm_prob, max_predictions)


# Words and spans


def test_words_by_hand():
    """[CLS] ju ##mp ##ed [SEP] ##s over [SEP]: "##s" behind [SEP] is what truncation left of a word, a group itself."""
    maskable = np.array([[0, 1, 1, 1, 0, 1, 1, 0]], bool)
    continuing = np.array([[0, 0, 1, 1, 0, 1, 0, 0]], bool)
    words, spans = groups("token", maskable, continuing, random_bits(1, 8))
    assert words.tolist() == spans.tolist() == [[-1, 1, 2, 3, -1, 5, 6, -1]]
    words, spans = groups("whole_word", maskable, continuing, random_bits(1, 8))
    assert words.tolist() == spans.tolist() == [[-1, 1, 1, 1, -1, 5, 6, -1]]


def test_spans_by_hand():
    """Six words, the second of two pieces, [SEP] between the fourth and the fifth. Spans of n words come from the
    lowest 17 bits: of 2¹⁷ = 131072, "ngram" gives 1 word below 6/11 = 71493.8, 2 below 9/11 = 107240.7, else 3. Drawn
    at the words' first tokens: 2, (3), 3, (1), 3, (1): two words, then three of which two are left before [SEP], then
    three of which two are left in the row; what is drawn inside a span (in brackets) counts for nothing."""
    maskable = np.array([[1, 1, 1, 1, 1, 0, 1, 1]], bool)
    continuing = np.array([[0, 0, 1, 0, 0, 0, 0, 0]], bool)
    bits = np.array([[71494, 107241, 0, 131071, 71493, 5, 107241, 0]], np.uint64) | np.uint64(1 << 63)
    words, spans = groups("ngram", maskable, continuing, bits)
    assert words.tolist() == [[0, 1, 1, 3, 4, -1, 6, 7]]
    assert spans.tolist() == [[0, 0, 0, 3, 3, -1, 6, 6]]
    bits[0, 0] -= np.uint64(1)  # 71493: one word, and then what is drawn at the second counts
    assert groups("ngram", maskable, continuing, bits)[1].tolist() == [[0, 1, 1, 1, 1, -1, 6, 6]]


@pytest.mark.parametrize(
    ("masking", "shares", "mean"),
    [
        ("ngram", [6 / 11, 3 / 11, 2 / 11], 18 / 11),  # 1 : 1/2 : 1/3
        ("span", [0.2 * 0.8**n / (1 - 0.8**10) for n in range(10)], 3.797),  # "a mean span length of 3.8"
    ],
)
def test_span_lengths(masking, shares, mean):
    """In 8,000 rows of 128 words (1 M tokens) the first 12 spans of each are whole whatever they are."""
    maskable = np.ones((8000, 128), bool)
    _, spans = groups(masking, maskable, np.zeros_like(maskable), random_bits(8000, 128))
    _, row_of_span, lengths = np.unique(spans + 128 * np.arange(8000)[:, None], return_index=True, return_counts=True)
    first = np.searchsorted(row_of_span, 128 * np.arange(8000))  # each row's first span
    lengths = lengths[first[:, None] + np.arange(12)].ravel()
    assert len(lengths) == 96_000
    for length, share in enumerate(shares, 1):
        assert within((lengths == length).sum(), len(lengths), share), length
    assert lengths.max() == len(shares)
    assert abs(lengths.mean() - mean) < 4 * lengths.std() / np.sqrt(len(lengths))


# How many


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(1, 1), (6, 1), (9, 1), (10, 2), (11, 2), (17, 3), (30, 4), (100, 15), (125, 19), (140, 20), (500, 20), (0, 0)],
)
def test_number_of_predictions(tokens, expected):
    """round(0.15 n), a half to the even number (0.15 · 10 = 1.5, 0.15 · 30 = 4.5), from 1 to 20; 0 of none."""
    maskable = np.zeros((3, 512), bool)
    maskable[:, 7 : 7 + tokens] = True
    _, _, chosen = choose("token", maskable)
    assert chosen.sum(axis=1).tolist() == [expected] * 3
    assert not (chosen & ~maskable).any()


def test_rows_do_not_share_their_number():
    maskable = np.arange(128) < np.array([[0], [1], [20], [125]])
    _, _, chosen = choose("token", maskable)
    assert chosen.sum(axis=1).tolist() == [0, 1, 3, 19]


def test_every_position_is_equally_likely():
    maskable = np.zeros((40_000, 24), bool)
    maskable[:, 2:22] = True  # 20 tokens: 3 predictions
    _, _, chosen = choose("token", maskable)
    for position in range(2, 22):
        assert within(chosen[:, position].sum(), 40_000, 3 / 20)
    together = (chosen[:, 2] & chosen[:, 3]).sum()
    assert within(together, 40_000, 3 / 20 * 2 / 19)


# Whole words


def words_batch(rows, seed=0):
    """Words of 1 to 4 pieces over 60 places, 3 places of no text at the front and a gap at 30."""
    draw = np.random.default_rng(seed)
    maskable = np.ones((rows, 64), bool)
    maskable[:, [0, 1, 2, 30, 63]] = False
    return maskable, draw.random((rows, 64)) < 0.4


def test_whole_words_are_whole():
    maskable, continuing = words_batch(2000)
    words, _, chosen = choose("whole_word", maskable, continuing)
    for row in range(2000):
        words_chosen = set(words[row, chosen[row]])
        assert chosen[row].tolist() == [bool(place >= 0 and place in words_chosen) for place in words[row]]
    counts = chosen.sum(axis=1)
    assert counts.max() == 9  # round(0.15 · 59)
    assert counts.mean() > 8.9  # a word of one piece is nearly always left to fill up


def test_whole_words_pass_over_what_does_not_fit():
    """Words of 3, 3 and 1 pieces; 7 · 0.5 rounds to 4 (3.5, to the even): a word of 3 and the one of 1, in any order;
    with room for 2 only the one of 1."""
    maskable = np.ones((500, 7), bool)
    continuing = np.broadcast_to(np.array([0, 1, 1, 0, 1, 1, 0], bool), (500, 7))
    _, _, chosen = choose("whole_word", maskable, continuing, 0.5)
    patterns = {tuple(row) for row in chosen.astype(int).tolist()}
    assert patterns == {(1, 1, 1, 0, 0, 0, 1), (0, 0, 0, 1, 1, 1, 1)}
    _, _, chosen = choose("whole_word", maskable, continuing, 0.5, 2)
    assert {tuple(row) for row in chosen.astype(int).tolist()} == {(0, 0, 0, 0, 0, 0, 1)}


def test_at_least_the_shortest_word():
    """One word of 5 pieces: 5 · 0.15 rounds to 1, and the word is taken whole; with room for 4 it cannot be."""
    maskable = np.ones((1, 5), bool)
    continuing = np.array([[0, 1, 1, 1, 1]], bool)
    assert choose("whole_word", maskable, continuing)[2].all()
    assert not choose("whole_word", maskable, continuing, max_predictions=4)[2].any()


# Spans


@pytest.mark.parametrize("masking", ["ngram", "span"])
def test_spans_are_whole_but_for_one_that_is_cut_between_words(masking):
    """A span is masked from its first word on; words are whole; in a row at most a few spans end early, each because
    its next word did not fit: that word is longer than what was left at the end, or has filled it since."""
    maskable, continuing = words_batch(2000)
    words, spans, chosen = choose(masking, maskable, continuing)
    cut_spans = 0
    for row in range(2000):
        for span in set(spans[row, chosen[row]]):
            inside = np.flatnonzero(spans[row] == span)
            masked = chosen[row, inside]
            assert masked[0]
            assert (np.diff(masked.astype(int)) <= 0).all()  # masked, masked, …, visible, visible
            end = int(masked.sum())
            assert end == len(inside) or words[row, inside[end]] == inside[end]
            cut_spans += end < len(inside)
    assert 0.3 * 2000 < cut_spans < 1.5 * 2000
    counts = chosen.sum(axis=1)
    assert counts.max() == 9  # round(0.15 · 59)
    assert counts.mean() > 8.8


def test_a_span_that_is_cut_has_no_hole():
    """One span of three words of 1, 3 and 1 pieces and room for 2 (6 · 0.34 rounds to it): its second word does not
    fit, and the third must not be masked without it. The other span, of one word, may fill up."""
    words = np.array([[0, 1, 1, 1, 4, 5]])
    spans = np.array([[0, 0, 0, 0, 0, 5]])
    chosen = {
        tuple(choose_positions(words, spans, random_bits(1, 6, seed), 0.34, 20)[0].astype(int)) for seed in range(50)
    }
    assert chosen == {(1, 0, 0, 0, 0, 1)}


# What becomes of them


@pytest.fixture(scope="module")
def masked():
    """9,000 sequences of 128 with 123 ordinary tokens: 1.1 M tokens, 18 predictions each."""
    rows = 9000
    draw = np.random.default_rng(5)
    original = draw.integers(SPECIAL, VOCABULARY, (rows, 128)).astype(np.int32)
    text = np.ones((rows, 128), bool)
    text[:, [0, 60, 125, 126, 127]] = False
    original[:, [0, 60, 125]], original[:, 126:] = [2, 3, 3], 0
    ids = original.copy()
    positions, labels, weights = mask_batch(
        ids,
        text,
        np.zeros_like(text),
        random_bits(rows, bits_per_row(128, 20)),
        masking="token",
        masked_lm_prob=0.15,
        max_predictions=20,
        mask_id=MASK,
        ordinary_ids=ORDINARY,
    )
    return original, text, ids, positions, labels, weights


def test_slots(masked):
    """Positions ascend, slots are used from the front, unused ones are 0; a label is what stood at its position."""
    original, text, ids, positions, labels, weights = masked
    assert (positions.dtype, labels.dtype, weights.dtype) == (np.int32, np.int32, np.float32)
    assert positions.shape == labels.shape == weights.shape == (9000, 20)
    assert (weights == (np.arange(20) < 18)).all()  # round(0.15 · 123)
    assert (np.diff(positions[:, :18], axis=1) > 0).all()
    assert not positions[:, 18:].any()
    assert not labels[:, 18:].any()
    assert (np.take_along_axis(original, positions, 1) == labels)[:, :18].all()
    assert np.take_along_axis(text, positions, 1)[:, :18].all()
    changed = ids != original
    np.put_along_axis(changed, positions[:, :18], False, 1)
    assert not changed.any()


def test_80_10_10(masked):
    """Of n predictions 80 % are [MASK], 10 % random, 10 % kept; a random token is by chance the same once in 995."""
    _, _, ids, positions, labels, _ = masked
    after, before = np.take_along_axis(ids, positions, 1)[:, :18], labels[:, :18]
    n = after.size
    assert n == 162_000
    assert within((after == MASK).sum(), n, 0.8)
    kept = 0.1 + 0.1 / 995
    assert within((after == before).sum(), n, kept)
    assert within(((after != MASK) & (after != before)).sum(), n, 0.1 - 0.1 / 995)


def test_random_tokens_are_uniform_without_special(masked):
    """Each of 995 tokens about 16 times: chi square with 994 degrees of freedom has the deviation sqrt(2 · 994)."""
    _, _, ids, positions, labels, _ = masked
    after, before = np.take_along_axis(ids, positions, 1)[:, :18], labels[:, :18]
    drawn = after[(after != MASK) & (after != before)]
    counts = np.bincount(drawn, minlength=VOCABULARY)
    assert not counts[:SPECIAL].any()
    expected = len(drawn) / 995
    chi_square = ((counts[SPECIAL:] - expected) ** 2 / expected).sum()
    assert abs(chi_square - 994) < 4 * np.sqrt(2 * 994)


def test_fate_and_place_are_independent(masked):
    """80 % [MASK] at every slot."""
    _, _, ids, positions, _, _ = masked
    is_mask = np.take_along_axis(ids, positions, 1)[:, :18] == MASK
    for slot in range(18):
        assert within(is_mask[:, slot].sum(), 9000, 0.8)


def test_a_span_has_one_fate():
    """All of its tokens are [MASK], or all random, or all kept, each kind with its share of the spans; of a random
    token's neighbour in the span, another token is drawn (the same one once in 995)."""
    rows = 9000
    original = np.random.default_rng(6).integers(SPECIAL, VOCABULARY, (rows, 128)).astype(np.int32)
    ids, bits = original.copy(), random_bits(rows, bits_per_row(128, 20))
    everything = np.ones((rows, 128), bool)
    continuing = np.zeros_like(everything)
    mask_batch(
        ids,
        everything,
        continuing,
        bits,
        masking="span",
        masked_lm_prob=0.15,
        max_predictions=20,
        mask_id=MASK,
        ordinary_ids=ORDINARY,
    )
    words, spans = groups("span", everything, continuing, bits[:, :128])
    chosen = choose_positions(words, spans, bits[:, :128], 0.15, 20)
    fate = np.where(ids == MASK, 1, np.where(ids == original, 3, 2))
    number = (spans + 128 * np.arange(rows)[:, None])[chosen]
    first = np.unique(number, return_index=True)[1]
    of_span = np.repeat(fate[chosen][first], np.diff(np.append(first, len(number))))
    same = fate[chosen] == of_span
    by_chance = ~same & (fate[chosen] + of_span == 5)  # a random token that is the one that stood there
    assert (same | by_chance).all()
    assert by_chance.sum() < 40  # 2 in 995 of some 16,000
    spans_masked = len(first)
    assert spans_masked > 35_000
    for kind, share in ((1, 0.8), (2, 0.1), (3, 0.1)):
        assert within((fate[chosen][first] == kind).sum(), spans_masked, share), kind
    pairs = (number[1:] == number[:-1]) & (fate[chosen][1:] == 2) & (fate[chosen][:-1] == 2)
    drawn = ids[chosen]
    assert (drawn[1:] == drawn[:-1])[pairs].sum() < 30  # of some 12,000
    assert not (ids != original)[~chosen].any()


def test_bits_per_row():
    """A Philox block is four uint64: 128 + 20 are 37 blocks, 128 + 21 one more."""
    assert bits_per_row(128, 20) == 148
    assert bits_per_row(128, 21) == 152
