"""Examples as token ids, tokenized once: flat arrays without padding, cut into examples by offsets."""

import dataclasses

import numpy as np

from bert_tf.errors import InputError
from bert_tf.foreign_tokenizers import read_tokenizer
from bert_tf.tokenizer import BertTokenizer

_CHUNK = 1024  # texts in one call of the tokenizer


@dataclasses.dataclass(frozen=True)
class Features:
    """What a model reads and learns from, for N examples of T tokens in all.

    Attributes:
        offsets: (N + 1,) int64; example i owns the tokens offsets[i] to offsets[i + 1].
        per_token: {name: (T,) array}; a batch pads each with `padding.get(name, 0)` to (B, S).
        per_example: {name: (N, …) array}; a batch holds its rows as they are.
        padding: {name: the value after the last token}.
    """

    offsets: np.ndarray
    per_token: dict
    per_example: dict
    padding: dict

    def __len__(self):
        return len(self.offsets) - 1

    @property
    def lengths(self):
        """(N,) int64, the tokens of each example."""
        return np.diff(self.offsets)


def open_tokenizer(path, config):
    """The `BertTokenizer` of the model that `path` names.

    Raises:
        InputError: no vocabulary there, or one with more tokens than the model has embeddings.
    """
    files = read_tokenizer(path)
    if len(files.vocabulary) > config.vocab_size:
        raise InputError(
            f"the vocabulary in {path} has {len(files.vocabulary):,} tokens, the model {config.vocab_size:,} "
            "embeddings; give the model its own vocabulary"
        )
    return BertTokenizer(files.vocabulary, **files.settings)


def tokenize(examples, tokenizer, max_seq_length, pad_token_id, **per_example):
    """(the `Features` of examples, the number of examples that lost tokens to truncation).

    Args:
        tokenizer: a `BertTokenizer`.
        max_seq_length: tokens of one example at most, [CLS] and [SEP] included.
        per_example: the targets, (N, …) arrays by name.
    """
    lengths, ids, types = [], [], []
    for start in range(0, len(examples), _CHUNK):
        batch = _encode(examples, slice(start, start + _CHUNK), tokenizer, max_seq_length)
        real = batch["attention_mask"] == 1
        lengths.append(real.sum(axis=1))
        ids.append(batch["input_ids"][real])
        types.append(batch["token_type_ids"][real])
    lengths = np.concatenate(lengths)
    features = Features(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        per_token={
            "input_ids": np.concatenate(ids).astype(np.int32),
            "token_type_ids": np.concatenate(types).astype(np.int32),
        },
        per_example=per_example,
        padding={"input_ids": pad_token_id},
    )
    return features, _count_truncated(examples, np.flatnonzero(lengths == max_seq_length), tokenizer, max_seq_length)


def _count_truncated(examples, full, tokenizer, max_seq_length):
    """Of the examples that fill their length, those that are longer when one more token is let in."""
    truncated = 0
    for start in range(0, len(full), _CHUNK):
        batch = _encode(examples, full[start : start + _CHUNK], tokenizer, max_seq_length + 1)
        truncated += int((batch["attention_mask"].sum(axis=1) > max_seq_length).sum())
    return truncated


def _encode(examples, chosen, tokenizer, max_length):
    """One call of the tokenizer on the examples of a slice or an array of numbers; NumPy arrays (B, S)."""
    texts = _choose(examples.texts, chosen)
    pairs = None if examples.pairs is None else _choose(examples.pairs, chosen)
    batch = tokenizer(texts, pairs, max_length=max_length, padding="longest")
    return {name: np.asarray(value) for name, value in batch.items()}


def _choose(texts, chosen):
    return texts[chosen] if isinstance(chosen, slice) else [texts[index] for index in chosen]
