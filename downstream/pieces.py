"""The word pieces of texts, apart from each other and without [CLS] and [SEP]: what windows are put together from."""

import dataclasses

import numpy as np

_CHUNK = 1024  # texts in one call of the tokenizer


@dataclasses.dataclass(frozen=True)
class Pieces:
    """The pieces of N texts end to end, T in all.

    Attributes:
        ids: (T,) int32.
        spans: (T, 2) int32, where each begins and ends in its text, in characters (code points).
        splits: (N + 1,) int64; text i owns the pieces splits[i] to splits[i + 1].
    """

    ids: np.ndarray
    spans: np.ndarray
    splits: np.ndarray

    def of(self, text):
        """(ids, spans) of one text."""
        own = slice(self.splits[text], self.splits[text + 1])
        return self.ids[own], self.spans[own]


def split_into_pieces(texts, tokenizer):
    """The `Pieces` of a list of strings, by a `BertTokenizer`."""
    ids, spans, counts = [np.empty(0, np.int32)], [np.empty((0, 2), np.int32)], [np.empty(0, np.int64)]
    for start in range(0, len(texts), _CHUNK):
        batch = tokenizer(texts[start : start + _CHUNK], return_offsets=True)
        batch = {name: np.asarray(values) for name, values in batch.items()}
        counts.append(batch["attention_mask"].sum(axis=1) - 2)
        place = np.arange(batch["input_ids"].shape[1])
        inner = (place > 0) & (place <= counts[-1][:, None])  # behind [CLS], before [SEP]
        ids.append(batch["input_ids"][inner])
        spans.append(batch["offset_mapping"][inner])
    splits = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    return Pieces(np.concatenate(ids), np.concatenate(spans), splits)
