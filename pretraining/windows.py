"""Windows: the documents of some shards end to end in memory, which is what an epoch shuffles at a time."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Window:
    """The documents of some shards in memory, end to end.

    Attributes:
        tokens: uint16 or uint32 [T].
        sentence_offsets: int64 [S + 1], tokens before each sentence (or piece of a long sentence), and T.
        document_offsets: int64 [D + 1], sentences before each document, and S.
        fingerprints: uint64 [D], equal for documents with the same tokens.
        continuations: bool [vocabulary], True for "##" tokens.
    """

    tokens: np.ndarray
    sentence_offsets: np.ndarray
    document_offsets: np.ndarray
    fingerprints: np.ndarray
    continuations: np.ndarray


def make_window(shards, longest_sentence, continuations):
    """Joins shards (shards.py) and cuts sentences of more than `longest_sentence` tokens into pieces that fit.

    A cut lies where a word starts if there is one less than a quarter of `longest_sentence` before it.
    """
    tokens = np.concatenate([shard.tokens for shard in shards])
    sentence_offsets = _joined([shard.sentence_offsets for shard in shards])
    document_offsets = _joined([shard.document_offsets for shard in shards])
    fingerprints = np.concatenate([shard.fingerprints for shard in shards])

    lengths = np.diff(sentence_offsets)
    even_share = longest_sentence * 3 // 4  # which a cut moved to a word's start makes longer by a quarter at most
    pieces = np.where(lengths > longest_sentence, -(-lengths // even_share), 1)
    owner = np.repeat(np.arange(len(lengths)), pieces)
    first_piece = np.cumsum(pieces) - pieces
    place = np.arange(len(owner)) - first_piece[owner]  # 0 to pieces - 1 within the sentence
    cuts = sentence_offsets[owner] + lengths[owner] * place // pieces[owner]
    inner = np.flatnonzero(place)
    moved = word_start_before(tokens, continuations, cuts[inner], cuts[inner] - longest_sentence // 4)
    cuts[inner] = np.where(moved < 0, cuts[inner], moved)
    sentence_offsets = np.append(cuts, sentence_offsets[-1])
    document_offsets = np.append(first_piece, len(owner))[document_offsets]
    return Window(tokens, sentence_offsets, document_offsets, fingerprints, continuations)


def _joined(offsets):
    """[0, 2, 5] and [0, 3] are [0, 2, 5, 8]."""
    return np.cumsum(np.concatenate([[0], *map(np.diff, offsets)]), dtype=np.int64)


def word_start_before(tokens, continuations, positions, floors):
    """For each position the nearest at or before it, above its floor, that starts a word; -1 where there is none."""
    positions = positions.copy()
    moving = np.arange(len(positions))
    while len(moving):
        moving = moving[continuations[tokens[positions[moving]]]]
        positions[moving] -= 1
        at_floor = positions[moving] <= floors[moving]
        positions[moving[at_floor]] = -1
        moving = moving[~at_floor]
    return positions
