"""Windows: shards end to end, and long sentences cut to pieces between words."""

import numpy as np

from pretraining.shards import make_shard
from pretraining.windows import make_window, word_start_before

NO_CONTINUATIONS = np.zeros(100, bool)


def shard(*documents):
    """From lists of lists of token ids."""
    sentences = [sentence for document in documents for sentence in document]
    return make_shard(list(map(len, documents)), list(map(len, sentences)), np.concatenate(sentences).astype("<u2"))


def test_shards_end_to_end():
    window = make_window([shard([[1, 2], [3]], [[4]]), shard([[5, 6, 7]])], 125, NO_CONTINUATIONS)
    assert window.tokens.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert window.sentence_offsets.tolist() == [0, 2, 3, 4, 7]
    assert window.document_offsets.tolist() == [0, 2, 3, 4]
    assert len(set(window.fingerprints.tolist())) == 3


def test_long_sentences_are_cut_evenly():
    """At most 8 tokens: 8 stay whole; 9 and 12 are two pieces of at most 6; 13 are three (0, 13 // 3, 26 // 3)."""
    sentences = [list(range(1, 1 + length)) for length in (8, 9, 12, 13)]
    window = make_window([shard(sentences[:2], sentences[2:])], 8, NO_CONTINUATIONS)
    starts = np.cumsum([0, 8, 9, 12])
    expected = [0, *(starts[1] + [0, 4]), *(starts[2] + [0, 6]), *(starts[3] + [0, 4, 8]), 42]
    assert window.sentence_offsets.tolist() == expected
    assert window.document_offsets.tolist() == [0, 3, 8]


def test_cuts_lie_between_words():
    """16 tokens in pieces of at most 12 would be cut at 8; tokens 7 and 8 go on with the word that starts at 6, and a
    cut moves by less than a quarter of 12: so to 6. Were the word to start at 5, the cut would stay at 8."""
    continuations = NO_CONTINUATIONS.copy()
    continuations[50:] = True
    tokens = [1, 2, 3, 4, 5, 6, 7, 50, 51, *range(10, 17)]
    window = make_window([shard([tokens])], 12, continuations)
    assert window.sentence_offsets.tolist() == [0, 6, 16]
    tokens[6] = 52
    window = make_window([shard([tokens])], 12, continuations)
    assert window.sentence_offsets.tolist() == [0, 8, 16]


def test_pieces_fit_whatever_the_words():
    """Random words of 1 to 12 pieces, sentences of 1 to 400 tokens: no piece is longer than 60, and none is empty."""
    draw = np.random.default_rng(0)
    continuations = NO_CONTINUATIONS.copy()
    continuations[50:] = True
    tokens = np.where(draw.random(50_000) < 0.8, 50, 1)
    sentences = np.split(tokens, np.cumsum(draw.integers(1, 400, 200)))
    window = make_window([shard(sentences[:150]), shard(sentences[150:])], 60, continuations)
    lengths = np.diff(window.sentence_offsets)
    assert lengths.min() >= 1
    assert lengths.max() <= 60
    assert window.sentence_offsets[-1] == 50_000
    assert set(np.cumsum([len(sentence) for sentence in sentences])) <= set(window.sentence_offsets)


def test_word_start_before():
    """Words start at 0, 1 and 4 of [a b ##c ##d e]; a floor is not allowed itself."""
    tokens = np.array([0, 0, 9, 9, 0])
    continuations = np.arange(10) == 9
    positions, floors = np.array([0, 1, 2, 3, 3, 4, 3]), np.array([-1, 0, 0, 0, 1, 3, 0])
    assert word_start_before(tokens, continuations, positions, floors).tolist() == [0, 1, 1, 1, -1, 4, 1]
