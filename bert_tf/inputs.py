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


def read_inputs(inputs, vocab_size, type_vocab_size):
    """The three inputs of an encoder, (B, S) each, with their defaults: all visible, segment 0.

    Raises:
        InputError: not a dictionary with `input_ids`, a key of another name, another rank or type, a mask or segments
            of another shape than the ids, an id out of its range.
    """
    if not isinstance(inputs, dict) or inputs.get("input_ids") is None:
        received = sorted(inputs) if isinstance(inputs, dict) else type(inputs).__name__
        raise InputError(f"a BERT takes a dictionary with the key 'input_ids', got {received}")
    for name in inputs:
        if name not in INPUT_NAMES:
            near = difflib.get_close_matches(name, INPUT_NAMES, n=1, cutoff=0)[0]
            raise InputError(f"a BERT has no input {name!r}; the nearest name is {near!r}")
    input_ids = inputs["input_ids"]
    if len(input_ids.shape) != 2:
        raise InputError(f"input_ids must have the shape (batch, sequence), got {tuple(input_ids.shape)}")
    for name, values in inputs.items():
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
    return input_ids, attention_mask, token_type_ids


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
    try:
        values = np.asarray(ids)
    except (TypeError, ValueError, NotImplementedError):  # a symbolic tensor of Keras, TensorFlow or JAX
        return
    wrong = np.argwhere((values < 0) | (values >= limit))
    if len(wrong):
        place = tuple(int(index) for index in wrong[0])
        raise InputError(
            f"{name} holds {int(values[place])} at {place}, expected ids from 0 to {limit - 1} ({limit_name} is "
            f"{limit}); tokenize with the vocabulary of this model"
        )
