"""Dropout whose noise is a hash of the place: nothing is drawn, kept or read, it is computed where it is needed.

Dropout: Srivastava et al. 2014; Devlin et al. 2018, appendix A.2. The noise of an element depends on its index and on
the seed alone, so it is the same on every backend, and the backward pass computes it again. The hash is `lowbias32`
(Wellons, github.com/skeeto/hash-prospector) with a key before it, and another before a last multiplication.
"""

import keras
import numpy as np
from keras import ops

from bert_tf.errors import InputError

_GOLDEN = 0x9E3779B9


def _mix(x):
    """lowbias32: a bijection of uint32 that changes about half of the bits for each bit of its argument."""
    x = ops.bitwise_xor(x, ops.right_shift(x, np.uint32(16)))
    x = x * np.uint32(0x7FEB352D)
    x = ops.bitwise_xor(x, ops.right_shift(x, np.uint32(15)))
    x = x * np.uint32(0x846CA68B)
    return ops.bitwise_xor(x, ops.right_shift(x, np.uint32(16)))


def kept(shape, seed, rate):
    """bool of `shape`: False with the probability `rate` (in steps of 2⁻³²), independently for each element.

    Args:
        seed: (2,) integers, as `keras.random.SeedGenerator.next` gives them.
    """
    seed = ops.cast(seed, "uint32")
    first = _mix(_mix(seed[0]) + seed[1])
    second = _mix(first + np.uint32(_GOLDEN))
    index, stride = first, 1  # from the seed on: a sum of constants alone XLA would make a table of, and read it
    for axis in reversed(range(len(shape))):
        along = ops.cast(ops.arange(shape[axis]), "uint32") * ops.cast(stride, "uint32")
        index = index + ops.reshape(along, (-1,) + (1,) * (len(shape) - 1 - axis))
        stride = stride * shape[axis]
    bits = ops.bitwise_xor(_mix(index), second) * np.uint32(_GOLDEN)
    return bits >= np.uint32(min(round(rate * 2**32), 2**32 - 1))


def drop(x, seed, rate):
    """x / (1 - rate) where `kept`, else 0."""
    return ops.where(kept(ops.shape(x), seed, rate), x * (1.0 / (1.0 - rate)), ops.zeros((), x.dtype))


@keras.saving.register_keras_serializable(package="bert_tf")
class Dropout(keras.layers.Layer):
    """`drop` with a new seed at each call, in training alone.

    Call: x of any shape -> the same shape and dtype.
    """

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise InputError(f"the dropout rate must be at least 0 and below 1, got {rate}")
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator() if rate else None
        self.built = True

    def seeds(self, training):
        """[the seed of this call], or [] where nothing is dropped."""
        return [self.seed_generator.next()] if training and self.rate else []

    def call(self, x, training=None):
        seeds = self.seeds(training)
        return drop(x, *seeds, self.rate) if seeds else x

    def get_config(self):
        return super().get_config() | {"rate": self.rate}
