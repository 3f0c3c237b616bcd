"""Masking: groups by hand, how many, which, and what becomes of them (4-sigma binomial bounds)."""

import numpy as np
import pytest

from pretraining.masking import bits_per_row, choose_positions, mask_batch, token_groups, word_groups

MASK, VOCABULARY, SPECIAL = 4, 1000, 5
ORDINARY = np.arange(SPECIAL, VOCABULARY, dtype=np.int32)


def random_bits(rows, words, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, (rows, words), dtype=np.uint64)


def within(count, n, share):
    return abs(count - n * share) < 4 * np.sqrt(n * share * (1 - share))


# Groups


def test_groups_by_hand():
    """[CLS] ju ##mp ##ed [SEP] ##s over [SEP]: "##s" behind [SEP] is what truncation left of a word, a group itself."""
    maskable = np.array([[0, 1, 1, 1, 0, 1, 1, 0]], bool)
    continuing = np.array([[0, 0, 1, 1, 0, 1, 0, 0]], bool)
    assert token_groups(maskable).tolist() == [[-1, 1, 2, 3, -1, 5, 6, -1]]
    assert word_groups(maskable, continuing).tolist() == [[-1, 1, 1, 1, -1, 5, 6, -1]]


# How many


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(1, 1), (6, 1), (9, 1), (10, 2), (11, 2), (17, 3), (30, 4), (100, 15), (125, 19), (140, 20), (500, 20), (0, 0)],
)
def test_number_of_predictions(tokens, expected):
    """round(0.15 n), a half to the even number (0.15 · 10 = 1.5, 0.15 · 30 = 4.5), from 1 to 20; 0 of none."""
    maskable = np.zeros((3, 512), bool)
    maskable[:, 7 : 7 + tokens] = True
    chosen = choose_positions(token_groups(maskable), random_bits(3, 512), 0.15, 20)
    assert chosen.sum(axis=1).tolist() == [expected] * 3
    assert not (chosen & ~maskable).any()


def test_rows_do_not_share_their_number():
    maskable = np.arange(128) < np.array([[0], [1], [20], [125]])
    chosen = choose_positions(token_groups(maskable), random_bits(4, 128), 0.15, 20)
    assert chosen.sum(axis=1).tolist() == [0, 1, 3, 19]


def test_every_position_is_equally_likely():
    maskable = np.zeros((40_000, 24), bool)
    maskable[:, 2:22] = True  # 20 tokens: 3 predictions
    chosen = choose_positions(token_groups(maskable), random_bits(40_000, 24), 0.15, 20)
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
    groups = word_groups(maskable, continuing)
    chosen = choose_positions(groups, random_bits(2000, 64), 0.15, 20)
    for row in range(2000):
        groups_chosen = set(groups[row, chosen[row]])
        assert chosen[row].tolist() == [bool(place >= 0 and place in groups_chosen) for place in groups[row]]
    counts = chosen.sum(axis=1)
    assert counts.max() == 9  # round(0.15 · 59)
    assert counts.mean() > 8.9  # a word of one piece is nearly always left to fill up


def test_whole_words_pass_over_what_does_not_fit():
    """Words of 3, 3 and 1 pieces; 7 · 0.5 rounds to 4 (3.5, to the even): a word of 3 and the one of 1, in any order;
    with room for 2 only the one of 1."""
    maskable = np.ones((500, 7), bool)
    continuing = np.broadcast_to(np.array([0, 1, 1, 0, 1, 1, 0], bool), (500, 7))
    groups = word_groups(maskable, continuing)
    chosen = choose_positions(groups, random_bits(500, 7), 0.5, 20)
    patterns = {tuple(row) for row in chosen.astype(int).tolist()}
    assert patterns == {(1, 1, 1, 0, 0, 0, 1), (0, 0, 0, 1, 1, 1, 1)}
    chosen = choose_positions(groups, random_bits(500, 7), 0.5, 2)
    assert {tuple(row) for row in chosen.astype(int).tolist()} == {(0, 0, 0, 0, 0, 0, 1)}


def test_at_least_the_shortest_word():
    """One word of 5 pieces: 5 · 0.15 rounds to 1, and the word is taken whole; with room for 4 it cannot be."""
    maskable = np.ones((1, 5), bool)
    groups = word_groups(maskable, np.array([[0, 1, 1, 1, 1]], bool))
    assert choose_positions(groups, random_bits(1, 5), 0.15, 20).all()
    assert not choose_positions(groups, random_bits(1, 5), 0.15, 4).any()


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
        token_groups(text),
        random_bits(rows, bits_per_row(128, 20)),
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


def test_bits_per_row():
    """A Philox block is four uint64: 128 + 20 are 37 blocks, 128 + 21 one more."""
    assert bits_per_row(128, 20) == 148
    assert bits_per_row(128, 21) == 152
