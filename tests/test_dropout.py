"""The noise of dropout: its hash against one in NumPy, and the statistics that a hash could miss. Also run on JAX."""

import keras
import numpy as np
import pytest
from keras import ops

from bert_tf.dropout import Dropout, drop, kept
from bert_tf.errors import InputError


def lowbias32(x):
    x = (x ^ (x >> 16)) * 0x7FEB352D % 2**32
    x = (x ^ (x >> 15)) * 0x846CA68B % 2**32
    return x ^ (x >> 16)


def expected_kept(shape, seed, rate):
    """By Python's integers, element by element: keys from the seed, one before each of two rounds."""
    first = lowbias32((lowbias32(seed[0]) + seed[1]) % 2**32)
    second = lowbias32((first + 0x9E3779B9) % 2**32)
    bits = [(lowbias32((index + first) % 2**32) ^ second) * 0x9E3779B9 % 2**32 for index in range(int(np.prod(shape)))]
    return np.array(bits).reshape(shape) >= round(rate * 2**32)


def kept_array(shape, seed, rate):
    return ops.convert_to_numpy(kept(shape, np.array(seed, "uint32"), rate))


@pytest.mark.parametrize("seed", [(0, 0), (3_000_000_019, 7), (12, 4_000_000_007)])
def test_equals_the_hash_in_integers(seed):
    np.testing.assert_array_equal(kept_array((3, 5, 11), seed, 0.3), expected_kept((3, 5, 11), seed, 0.3))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_statistics(rate):
    """The share kept, of all and of each row and column; neighbours, rows, seeds and steps independent of each other.

    A share of n independent draws lies within 5 √(rate (1 - rate) / n) of 1 - rate but once in 1.7 million times.
    """
    rows, columns = 512, 256
    one = kept_array((rows, columns), (17, 5), rate)
    sigma = np.sqrt(rate * (1 - rate))
    assert abs(one.mean() - (1 - rate)) < 5 * sigma / np.sqrt(one.size)
    for axis, n in ((0, rows), (1, columns)):
        assert np.abs(one.mean(axis=axis) - (1 - rate)).max() < 5 * sigma / np.sqrt(n)
    flat = one.ravel()
    others = [(f"lag {lag}", flat[lag:]) for lag in (1, 2, 3, 16, 64, 255, columns, 2 * columns)]
    for seed in ((17, 6), (18, 5), (16, 5), (17 + 2**31, 5), (17, 5 + 2**31), (5, 17)):
        others.append((str(seed), kept_array((rows, columns), seed, rate).ravel()))
    for name, other in others:
        pairs = len(other)
        covariance = ((flat[:pairs] - (1 - rate)) * (other - (1 - rate))).mean()
        assert abs(covariance) < 5 * sigma**2 / np.sqrt(pairs), name


def test_drop_scales_what_it_keeps():
    x = np.arange(1, 2001, dtype="float32").reshape(4, 500)
    seed = np.array([9, 1], "uint32")
    dropped = ops.convert_to_numpy(drop(x, seed, 0.2))
    np.testing.assert_allclose(dropped, np.where(kept_array((4, 500), (9, 1), 0.2), x / 0.8, 0), rtol=1e-6)


def test_layer():
    """In training another noise at each call; otherwise, and at rate 0, its input."""
    x = np.ones((40, 50), "float32")
    layer = Dropout(0.4)
    first, second = (ops.convert_to_numpy(layer(x, training=True)) for _ in range(2))
    assert abs((first > 0).mean() - 0.6) < 0.06  # 2,000 draws: 5 standard deviations of √(0.24 / 2000)
    assert (first != second).any()
    for still in (layer(x), layer(x, training=False), Dropout(0.0)(x, training=True)):
        np.testing.assert_array_equal(ops.convert_to_numpy(still), x)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.rate == 0.4


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_bad_rate(rate):
    with pytest.raises(InputError, match="the dropout rate must be at least 0 and below 1, got"):
        Dropout(rate)
