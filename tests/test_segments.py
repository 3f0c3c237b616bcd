"""The plan of an epoch, checked against the documents it came from."""

import collections
import itertools
import re

import numpy as np
import pytest

from bert_tf import InputError
from pretraining import segments
from pretraining.segments import plan_full_sentences, plan_pairs
from pretraining.shards import Shard
from pretraining.windows import Window, make_window
from tests.test_windows import shard

WORDS, CONTINUATIONS = 1000, 200  # tokens from 1000 on are "##" pieces
IS_CONTINUATION = np.arange(WORDS + CONTINUATIONS) >= WORDS


def random_window(count=300, sentences=(1, 40), tokens=(1, 40), room=61, seed=0):
    """Documents of so many sentences of so many tokens, a fifth of them continuations, but none begins a sentence."""
    draw = np.random.default_rng(seed)
    document_offsets = np.cumsum([0, *draw.integers(*sentences, count)])
    sentence_offsets = np.cumsum([0, *draw.integers(*tokens, document_offsets[-1])])
    ids = draw.integers(5, WORDS, sentence_offsets[-1]).astype(np.uint16)
    continuing = draw.random(len(ids)) < 0.2
    continuing[sentence_offsets[:-1]] = False
    ids[continuing] = draw.integers(WORDS, len(IS_CONTINUATION), continuing.sum())
    documents = Shard(np.arange(count, dtype=np.uint64), document_offsets, sentence_offsets, ids)
    return make_window([documents], room, IS_CONTINUATION)


def generator(seed=0):
    return np.random.default_rng(seed)


def pairs_of(plan):
    """Columns a_start, a_end, b_start, b_end."""
    assert (plan.row_offsets == 2 * np.arange(len(plan) + 1)).all()
    starts, lengths = plan.starts.reshape(-1, 2), plan.lengths.reshape(-1, 2)
    return np.stack([starts[:, 0], (starts + lengths)[:, 0], starts[:, 1], (starts + lengths)[:, 1]], axis=1).T


def document_of(window, token):
    """The document of a token."""
    return np.searchsorted(window.sentence_offsets[window.document_offsets], token, "right") - 1


# Pairs


@pytest.mark.parametrize("options", [{}, {"sentences": (1, 3)}, {"tokens": (1, 300)}, {"sentences": (1, 2)}])
def test_every_token_is_walked_over_once(options):
    """Before truncation: A, and the B of pairs with label 0, tile the documents, but for the tokens counted unused."""
    window = random_window(**options)
    walk, unused = segments._walk(window, 61, 0.1, generator())
    followed = walk["label"] == 0
    spans = np.concatenate(
        [np.stack([walk["start"], walk["cut"]]), np.stack([walk["cut"], walk["end"]])[:, followed]], axis=1
    )
    spans = spans[:, np.argsort(spans[0])]
    assert (spans[0] < spans[1]).all()
    assert (spans[1, :-1] <= spans[0, 1:]).all()
    assert (spans[1] - spans[0]).sum() + unused == len(window.tokens)
    random_alone = walk["alone"] & ~followed
    one_word = unused - (walk["end"] - walk["cut"])[random_alone].sum()
    assert 0 <= one_word < len(window.document_offsets) * 40


def test_a_pair_comes_from_where_it_should():
    """A lies in one document. With label 0 B goes on where A ended, but for what truncation took; with label 1 it is of
    another document. A B starts where a sentence does, if nothing was taken and its sentence was not split."""
    window = random_window(count=500, sentences=(2, 40))
    plan = plan_pairs(window, 64, 0.1, generator())
    a_start, a_end, b_start, b_end = pairs_of(plan)
    assert (a_start < a_end).all()
    assert (b_start < b_end).all()
    total = a_end - a_start + b_end - b_start
    assert total.max() == 61
    own = document_of(window, a_start)
    assert (document_of(window, a_end - 1) == own).all()
    assert (document_of(window, b_end - 1) == document_of(window, b_start)).all()
    follows = plan.labels == 0
    assert (document_of(window, b_start)[follows] == own[follows]).all()
    assert (document_of(window, b_start)[~follows] != own[~follows]).all()
    whole = total < 61
    assert (b_start == a_end)[follows & whole].all()
    assert (b_start >= a_end)[follows].all()
    not_split = np.isin(a_end, window.sentence_offsets)
    assert np.isin(b_start, window.sentence_offsets)[whole & not_split].all()
    assert (whole & not_split & ~follows).sum() > 200
    assert not IS_CONTINUATION[window.tokens[b_start[whole]]].any()
    assert not IS_CONTINUATION[window.tokens[a_start[whole]]].any()


def test_labels_are_a_fair_coin():
    """Of every kind of pair half are random: n fair coins have a deviation of sqrt(n) / 2."""
    for options in ({}, {"sentences": (1, 3)}, {"sentences": (1, 2)}, {"tokens": (50, 300)}):
        window = random_window(count=3000, **({"sentences": (1, 12)} | options))
        walk, _ = segments._walk(window, 61, 0.1, generator())
        for rows in (walk["alone"], ~walk["alone"], walk["final"], ~walk["final"], walk["target"] < 61):
            n, ones = rows.sum(), walk["label"][rows].sum()
            assert abs(ones - n / 2) <= 4 * np.sqrt(n) / 2


@pytest.mark.parametrize("options", [{"sentences": (1, 4)}, {"sentences": (1, 2)}, {"sentences": (8, 40)}])
def test_lengths_do_not_tell_the_label(options):
    """Guessing the label by the two lengths is right for about half: for each cell of lengths (in tens) the majority of
    one half of the pairs is the guess for the other half."""
    window = random_window(count=6000, tokens=(3, 30), **options)
    plan = plan_pairs(window, 64, 0.1, generator())
    a_start, a_end, b_start, b_end = pairs_of(plan)
    cell = (a_end - a_start) // 10 * 10 + (b_end - b_start) // 10
    half = len(plan) // 2
    ones = np.bincount(cell[:half], plan.labels[:half], minlength=100)
    guess = ones > np.bincount(cell[:half], minlength=100) / 2
    right = (guess[cell[half:]] == plan.labels[half:]).mean()
    assert abs(right - 0.5) < 0.03


def test_short_sequences():
    """A tenth aims at a uniform length from 2 to 61: 61 itself is drawn once more in sixty."""
    walk, _ = segments._walk(random_window(count=4000), 61, 0.1, generator())
    n = len(walk["target"])
    short = walk["target"] < 61
    share = 0.1 * 59 / 60
    assert abs(short.sum() - n * share) < 4 * np.sqrt(n * share * (1 - share))
    assert walk["target"].min() == 2
    assert abs(walk["target"][short].mean() - 31) < 4 * 17.03 / np.sqrt(short.sum())  # of 2 to 60: sqrt((59² - 1) / 12)
    none, _ = segments._walk(random_window(), 61, 0.0, generator())
    assert (none["target"] == 61).all()


def test_chunks_are_the_original_s():
    """Without short sequences a chunk that is not the last of its stretch has the fewest sentences, two at least, that
    reach 61 tokens; its A is every proper prefix equally often."""
    window = random_window(count=3000, tokens=(5, 40))
    walk, _ = segments._walk(window, 61, 0.0, generator())
    ends = window.sentence_offsets
    first, cut, last = (np.searchsorted(ends, walk[name]) for name in ("start", "cut", "end"))
    full = ~walk["final"]
    assert (walk["end"] - walk["start"] >= 61)[full].all()
    assert ((ends[last - 1] - walk["start"] < 61) | (last - first == 2))[full].all()
    for count in (3, 4):
        rows = (last - first == count) & ~walk["alone"]
        for taken in range(1, count):
            n, share = rows.sum(), 1 / (count - 1)
            assert abs((rows & (cut - first == taken)).sum() - n * share) < 4 * np.sqrt(n * share * (1 - share))


def test_a_sentence_left_alone_is_split_between_words():
    """Documents of one sentence: a pair each; the split is before a word that is not the first. One word: no pair."""
    documents = [[[7, 1000, 1001, 8, 1002, 9]], [[10, 11]], [[12]], [[13, 1003]], [[14, 15, 16]]]
    window = make_window([shard(*documents)], 61, IS_CONTINUATION)
    cuts = collections.defaultdict(collections.Counter)
    for seed in range(400):
        walk, unused = segments._walk(window, 61, 0.1, generator(seed))
        assert walk["alone"].all()
        assert walk["document"].tolist() == [0, 1, 4]
        lost = (walk["end"] - walk["cut"])[walk["label"] == 1].sum()
        assert unused == 1 + 2 + lost  # [12] and [13 ##] have one word
        for document, start, cut in zip(walk["document"], walk["start"], walk["cut"], strict=True):
            cuts[int(document)][int(cut - start)] += 1
    assert set(cuts[0]) == {3, 5}  # before 8 and 9; a draw on 1, 2 or 3, 4 goes to 3, on 5 to 5
    assert set(cuts[1]) == {1}
    assert set(cuts[4]) == {1, 2}
    assert abs(cuts[4][1] - 200) < 4 * 10


def test_a_random_b_is_any_sentence_of_the_others():
    """Full pairs of document 0: the sentences of the other documents are drawn equally often, none of its own."""
    lengths = [200, 10, 30]
    window = make_window([shard(*([[index + 5, 6]] * n for index, n in enumerate(lengths)))], 10, IS_CONTINUATION)
    document = np.repeat([0, 1], 20_000)
    starts, taken = segments._random_continuations(window, document, np.full(40_000, 2), None, generator())
    assert (taken == 2).all()
    drawn = starts // 2
    for own, first, last in ((0, 200, 240), (1, 0, 240)):
        counts = np.bincount(drawn[document == own], minlength=240)
        others = np.ones(240, bool)
        others[[slice(0, 200), slice(200, 210)][own]] = False
        assert not counts[~others].any()
        expected = 20_000 / others.sum()
        chi_square = ((counts[others] - expected) ** 2 / expected).sum()
        freedom = others.sum() - 1
        assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)
        assert others[first:last].any()


def test_a_random_b_has_the_length_of_the_next():
    """Sentences of 5 tokens: wanting 12 gives three sentences of a continuation, and of an end 10 (nearer than 15)."""
    window = make_window([shard(*([[index, 2, 3, 4, 5]] * 20 for index in range(10, 20)))], 60, IS_CONTINUATION)
    document = np.zeros(200, int)
    wanted = np.full(200, 12)
    starts, lengths = segments._random_continuations(window, document, wanted, None, generator())
    assert (lengths == 15).all()
    assert (starts % 5 == 0).all()
    _, lengths = segments._random_continuations(window, document, np.full(200, -3), None, generator())
    assert (lengths == 5).all()
    starts, lengths = segments._random_ends(window, document, wanted, np.zeros(200, bool), generator())
    assert (lengths == 10).all()
    assert ((starts + lengths) % 100 == 0).all()  # a document has 100 tokens
    starts, lengths = segments._random_ends(window, document, wanted, np.ones(200, bool), generator())
    assert (lengths == 12).all()


def test_never_a_document_with_the_same_tokens():
    """Documents 0 to 7 are equal, 8 is another: for each of the eight the random B is always of 8."""
    window = make_window([shard(*([[[5, 6, 7], [8, 9]]] * 8), [[20, 21, 22], [23, 24]])], 60, IS_CONTINUATION)
    document = np.repeat(np.arange(8), 50)
    wanted, alone = np.full(400, 2), np.zeros(400, bool)
    for draw in (segments._random_continuations, segments._random_ends):
        starts, _ = draw(window, document, wanted, alone, generator())
        assert (starts >= 40).all()
    plan = plan_pairs(window, 64, 0.1, generator())
    a_start, _, b_start, _ = pairs_of(plan)
    assert ((a_start < 40) != (b_start < 40))[plan.labels == 1].all()


def test_pairs_need_two_documents():
    same = [[5, 6, 7], [8, 9]]
    for documents in ([same], [same, same], [same, [[5, 6], [7, 8, 9]]]):
        window = make_window([shard(*documents)], 61, IS_CONTINUATION)
        with pytest.raises(
            InputError, match=re.escape("next sentence prediction needs two different documents at least")
        ):
            plan_pairs(window, 64, 0.1, generator())


def test_truncation_is_the_original_s():
    """Lengths equal those of the loop of the original; what the front loses is a fair coin a token."""
    draw = generator(1)
    lengths = draw.integers(1, 130, (4000, 2))
    starts = np.full((4000, 2), 1000)
    expected = lengths.copy()
    for row in expected:
        while row.sum() > 61:
            row[0 if row[0] > row[1] else 1] -= 1
    kept = lengths.copy()
    segments._truncate(starts, kept, 61, draw)
    assert (kept == expected).all()
    lost, front = lengths - kept, starts - 1000
    assert (front >= 0).all()
    assert (front <= lost).all()
    n = lost.sum()
    assert abs(front.sum() - n / 2) < 4 * np.sqrt(n) / 2
    # A binomial of n coins has the variance n / 4: neither all from one side nor always half.
    deviation = (front - lost / 2)[lost > 0] / (np.sqrt(lost[lost > 0]) / 2)
    assert abs((deviation**2).mean() - 1) < 4 * np.sqrt(2 / len(deviation))


def test_long_documents_are_walked_in_stretches(monkeypatch):
    """10 sentences in stretches of at most 4: 0 to 3, 3 to 6, 6 to 10; 4 are one stretch. Coverage holds as above."""
    monkeypatch.setattr(segments, "STRETCH_SENTENCES", 4)
    owner, first, limit = segments._stretches(np.array([0, 10, 14]))
    assert (owner.tolist(), first.tolist(), limit.tolist()) == ([0, 0, 0, 1], [0, 3, 6, 10], [3, 6, 10, 14])
    window = random_window()
    walk, unused = segments._walk(window, 61, 0.1, generator())
    followed = walk["label"] == 0
    used = (walk["cut"] - walk["start"]).sum() + (walk["end"] - walk["cut"])[followed].sum()
    assert used + unused == len(window.tokens)
    plan = plan_pairs(window, 64, 0.1, generator())
    a_start, _, b_start, _ = pairs_of(plan)
    assert (document_of(window, a_start) != document_of(window, b_start))[plan.labels == 1].all()


def test_a_plan_is_a_function_of_its_generator():
    window = random_window()
    first, same, other = (plan_pairs(window, 64, 0.1, generator(seed)) for seed in (3, 3, 4))
    for name in ("starts", "lengths", "labels", "row_offsets"):
        assert getattr(first, name).tolist() == getattr(same, name).tolist()
    assert first.starts.tolist() != other.starts.tolist()
    assert first.starts.dtype == first.lengths.dtype == np.int32
    assert first.labels.dtype == np.int8
    a_start = pairs_of(first)[0]
    assert abs(np.corrcoef(np.arange(len(first)), a_start)[0, 1]) < 4 / np.sqrt(len(first))  # shuffled


# Full sentences


def test_full_sentences_hold_everything_once():
    """Each sentence stands in exactly one sequence; a sequence holds sentences in order, a piece lies in one document,
    pieces that follow each other end and begin a document; and the next sentence would not have fitted."""
    window = random_window(count=300, tokens=(1, 150), room=62)
    plan = plan_full_sentences(window, 64, generator())
    ends = plan.starts + plan.lengths
    spans = sorted(zip(plan.starts.tolist(), ends.tolist(), strict=True))
    assert [span[0] for span in spans[1:]] == [span[1] for span in spans[:-1]]
    assert (spans[0][0], spans[-1][1]) == (0, len(window.tokens))
    assert np.isin(plan.starts, window.sentence_offsets).all()
    assert (document_of(window, plan.starts) == document_of(window, ends - 1)).all()
    pieces = np.diff(plan.row_offsets)
    sizes = np.add.reduceat(plan.lengths + 1, plan.row_offsets[:-1]) + 1  # [CLS] and a [SEP] after each piece
    assert pieces.min() >= 1
    assert sizes.max() <= 64
    document_ends = set(window.sentence_offsets[window.document_offsets].tolist())
    first_pieces = set(plan.row_offsets.tolist())
    row_of = {int(plan.starts[piece]): row for row, piece in enumerate(plan.row_offsets[:-1])}
    for piece in range(len(plan.starts)):
        if piece not in first_pieces:
            assert int(plan.starts[piece]) in document_ends
            assert int(ends[piece - 1]) in document_ends
    full = 0
    for row in range(len(plan)):
        end = int(ends[plan.row_offsets[row + 1] - 1])
        if end not in document_ends:  # the row goes on in the row that starts there
            sentence = np.searchsorted(window.sentence_offsets, end)
            longer = window.sentence_offsets[sentence + 1] - end
            assert sizes[row] + longer > 64
            assert end in row_of
            full += 1
    assert full > 100
    assert plan.labels.sum() == 0
    assert plan.unused_tokens == 0


def test_full_sentences_by_hand():
    """Documents of sentences of 3 and 4, of 2, and of 9 tokens, sequences of 11: 9 without [CLS] and a [SEP]. The
    order is random; 7 [SEP] 2 are 10 and do not fit, nor do 2 [SEP] 3 4, but 2 [SEP] 3 do, and 9 do."""
    window = Window(
        np.arange(18, dtype=np.uint16),
        np.array([0, 3, 7, 9, 18]),
        np.array([0, 2, 3, 4]),
        np.arange(3, dtype=np.uint64),
        np.zeros(18, bool),
    )
    expected = {
        (0, 1, 2): [[(0, 7)], [(7, 9)], [(9, 18)]],
        (0, 2, 1): [[(0, 7)], [(9, 18)], [(7, 9)]],
        (1, 0, 2): [[(7, 9), (0, 3)], [(3, 7)], [(9, 18)]],
        (1, 2, 0): [[(7, 9)], [(9, 18)], [(0, 7)]],
        (2, 0, 1): [[(9, 18)], [(0, 7)], [(7, 9)]],
        (2, 1, 0): [[(9, 18)], [(7, 9), (0, 3)], [(3, 7)]],
    }
    wanted = {tuple(sorted(map(tuple, rows))) for rows in expected.values()}
    seen = set()
    for seed in range(100):
        plan = plan_full_sentences(window, 11, generator(seed))
        spans = list(zip(plan.starts.tolist(), (plan.starts + plan.lengths).tolist(), strict=True))
        seen.add(tuple(sorted(tuple(spans[a:b]) for a, b in itertools.pairwise(plan.row_offsets))))
    assert seen == wanted
