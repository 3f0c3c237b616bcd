"""What a BERT takes: the dictionary of ids, checked before it reaches an embedding.

An id outside a table is an error on a CPU, but silent zeros or NaN on an accelerator, so ids are checked wherever their
values are at hand: in eager calls here, in the tokenizer and in the data pipelines by construction.
"""

import difflib

import keras
import numpy as np
from keras import ops

from bert_tf.errors import InputError

INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")
PACKED_INPUT_NAMES = (*INPUT_NAMES, "sequence_starts")  # of rows that hold several sequences (`bert_tf.packing`)


def read_inputs(inputs, vocab_size, type_vocab_size):
    """The three inputs of an encoder, (B, S) each, with their defaults: all visible, segment 0.

    Then `sequence_starts`, (B, K), or None.

    Raises:
        InputError: not a dictionary with `input_ids`, a key of another name, another rank or type, a mask or segments
            of another shape than the ids, an id out of its range, starts that do not rise from 0.
    """
    if not isinstance(inputs, dict) or inputs.get("input_ids") is None:
        received = sorted(inputs) if isinstance(inputs, dict) else type(inputs).__name__
        raise InputError(f"a BERT takes a dictionary with the key 'input_ids', got {received}")
    for name in inputs:
        if name not in PACKED_INPUT_NAMES:
            near = difflib.get_close_matches(name, PACKED_INPUT_NAMES, n=1, cutoff=0)[0]
            raise InputError(f"a BERT has no input {name!r}; the nearest name is {near!r}")
    input_ids = inputs["input_ids"]
    if len(input_ids.shape) != 2:
        raise InputError(f"input_ids must have the shape (batch, sequence), got {tuple(input_ids.shape)}")
    for name in INPUT_NAMES:
        values = inputs.get(name)
        if values is not None and not _may_be_equal(values.shape, input_ids.shape):  # (B, 1), say, would broadcast
            raise InputError(
                f"{name} has the shape {tuple(values.shape)}, expected that of input_ids, {tuple(input_ids.shape)}"
            )
    check_ids("input_ids", input_ids, "vocab_size", vocab_size)
    attention_mask = inputs.get("attention_mask")
    if attention_mask is None:
        attention_mask = ops.ones_like(input_ids)
    token_type_ids = inputs.get("token_type_ids")
    if token_type_ids is None:
        token_type_ids = ops.zeros_like(input_ids)
    else:
        check_ids("token_type_ids", token_type_ids, "type_vocab_size", type_vocab_size)
    sequence_starts = inputs.get("sequence_starts")
    if sequence_starts is not None:
        check_starts(sequence_starts, input_ids.shape)
    return input_ids, attention_mask, token_type_ids, sequence_starts


def check_starts(starts, shape):
    """Stops at `sequence_starts` that are not (B, K), or do not rise from 0 up to those of no sequence, S."""
    if len(starts.shape) != 2 or not _may_be_equal(starts.shape[:1], shape[:1]):
        raise InputError(
            f"sequence_starts has the shape {tuple(starts.shape)}, expected (rows, sequences of a row) with the rows "
            f"of input_ids, {tuple(shape)}"
        )
    values = _values(starts)
    if values is None:
        return
    first, rising = values[:, 0] == 0, (np.diff(values, axis=1) > 0) | (values[:, 1:] == shape[1])
    wrong = np.flatnonzero(~(first & rising.all(axis=1) & (values <= shape[1]).all(axis=1)))
    if len(wrong):
        raise InputError(
            f"sequence_starts has {values[wrong[0]].tolist()} in row {int(wrong[0])}, expected numbers that rise from "
            f"0, and {shape[1]}, the length of a row, where there is no sequence; `bert_tf.pack` makes them"
        )


def _values(x):
    """As a NumPy array; None inside a compiled function, where they are unknown."""
    try:
        return np.asarray(x)
    except (TypeError, ValueError, NotImplementedError):  # a symbolic tensor of Keras, TensorFlow or JAX
        return None


def _may_be_equal(shape, other):
    """Whether two shapes agree wherever both are known; inside a compiled function a size can be None."""
    if len(shape) != len(other):
        return False
    return all(None in sizes or sizes[0] == sizes[1] for sizes in zip(shape, other, strict=True))


def check_ids(name, ids, limit_name, limit):
    """Stops at ids that are no integers and at the first outside [0, limit).

    Inside a compiled function the values are unknown and pass.
    """
    if not keras.backend.is_int_dtype(ids.dtype):
        raise InputError(f"{name} must be integers, got {keras.backend.standardize_dtype(ids.dtype)}")
    values = _values(ids)
    if values is None:
        return
    wrong = np.argwhere((values < 0) | (values >= limit))
    if len(wrong):
        place = tuple(int(index) for index in wrong[0])
        raise InputError(
            f"{name} holds {int(values[place])} at {place}, expected ids from 0 to {limit - 1} ({limit_name} is "
            f"{limit}); tokenize with the vocabulary of this model"
        )
