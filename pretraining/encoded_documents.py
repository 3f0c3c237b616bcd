"""Documents as token ids, in columns: what `prepare` makes of text, and what it sorts into shards."""

from typing import NamedTuple

import numpy as np

from pretraining.corpus import document_digest, sentences

ENCODED_TOGETHER = 2**19  # characters in one call of the encoder: its arrays stay in the processor's cache


class EncodedDocuments(NamedTuple):
    """D documents of S sentences and T tokens. A sentence without a token is left out; a document may have none left.

    Arrays are in this order in `to_bytes`, little-endian, after D, S and T as int64.
    """

    digests: np.ndarray  # uint64 [D, 2]: document_digest, its first eight bytes first
    left_out: np.ndarray  # int32 [D]: sentences without a token
    kept_whole: np.ndarray  # int32 [D]: lines that the splitter could not split (corpus.py)
    sentences: np.ndarray  # int32 [D]
    lengths: np.ndarray  # int32 [S], in tokens
    tokens: np.ndarray  # uint16 or uint32 [T]

    def document_tokens(self):
        """int64 [D]: the tokens of each document."""
        return _sums(self.lengths, self.sentences)

    def take(self, order):
        """The documents of these numbers, in this order."""
        return EncodedDocuments(
            *(column[order] for column in self[:4]),
            _stretches(self.lengths, self.sentences, order),
            _stretches(self.tokens, self.document_tokens(), order),
        )

    def to_bytes(self):
        sizes = np.array([len(self.sentences), len(self.lengths), len(self.tokens)], "<i8")
        return b"".join(array.tobytes() for array in (sizes, *self))


def encode_documents(texts, encoder, language):
    """The `EncodedDocuments` of texts, in their order.

    Args:
        texts: documents as readers.py yields them.
        encoder: `TextEncoder`.
        language: see `corpus.sentences`.
    """
    counts, kept_whole = [], []
    waiting, characters, encoded = [], 0, []
    for text in texts:
        found, whole = sentences(text, language)
        counts.append(len(found))
        kept_whole.append(whole)
        for sentence in found:
            waiting.append(sentence)
            characters += len(sentence)
            if characters >= ENCODED_TOGETHER:
                encoded.append(encoder(waiting))
                waiting, characters = [], 0
    encoded.append(encoder(waiting))
    tokens, lengths = (np.concatenate(parts) for parts in zip(*encoded, strict=True))
    digests = np.frombuffer(b"".join(map(document_digest, texts)), ">u8").reshape(-1, 2)
    full = _sums(lengths > 0, counts)
    return EncodedDocuments(
        digests.astype("<u8"),
        (np.array(counts, np.int64) - full).astype("<i4"),
        np.array(kept_whole, "<i4"),
        full.astype("<i4"),
        lengths[lengths > 0].astype("<i4"),
        tokens,
    )


def joined(batches):
    """Batches of documents one after the other; at least one."""
    return EncodedDocuments(*(np.concatenate(column) for column in zip(*batches, strict=True)))


def from_bytes(content, token_dtype):
    """What `to_bytes` was called on."""
    documents, lengths, tokens = np.frombuffer(content, "<i8", 3).tolist()
    kinds = (("<u8", 2 * documents), *(("<i4", documents),) * 3, ("<i4", lengths), (token_dtype, tokens))
    arrays, at = [], 24
    for dtype, length in kinds:
        arrays.append(np.frombuffer(content, dtype, length, at))
        at += arrays[-1].nbytes
    return EncodedDocuments(arrays[0].reshape(-1, 2), *arrays[1:])


def _sums(values, counts):
    """The sum of the first `counts[0]` values, of the next `counts[1]`, and so on: int64 [len(counts)]."""
    until = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    return np.diff(until[np.cumsum(counts, dtype=np.int64)], prepend=0)


def _stretches(values, counts, order):
    """Of values cut into stretches of `counts`, the stretches of these numbers: 5 6 | 7 and [1, 0] give 7 5 6."""
    until = np.cumsum(counts, dtype=np.int64)
    bounds = zip((until - counts)[order].tolist(), until[order].tolist(), strict=True)
    return np.concatenate([values[:0], *(values[first:last] for first, last in bounds)])
