"""Sums and places of the largest, against NumPy."""

import numpy as np
import pytest

from bert_tf.reductions import argmax, row_sums, sum_of_rows, sum_of_squares

tf = pytest.importorskip("tensorflow")


@pytest.mark.parametrize("columns", [1, 99, 202, 768])
def test_sums_by_halves(columns):
    x = np.random.default_rng(columns).standard_normal((6, 4, columns)).astype("float32")
    exact = x.astype("float64")
    np.testing.assert_allclose(row_sums(tf.constant(x)), exact.sum(-1, keepdims=True), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sum_of_rows(tf.constant(x)), exact.sum((0, 1)), rtol=1e-4, atol=1e-5)


def test_sum_of_squares():
    x = np.random.default_rng(0).standard_normal((70, 30)).astype("float32")
    halves = tf.constant([300.0, 400.0], "float16")  # of which the squares are beyond float16
    expected = (x.astype("float64") ** 2).sum() + 250_000
    assert float(sum_of_squares([tf.constant(x), halves])) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_argmax_is_the_first_of_equals(dtype):
    x = tf.constant([[0.0, 2.0, 2.0, 1.0], [3.0, 3.0, 3.0, 3.0], [-4.0, -2.0, -1.0, -3.0]], dtype)
    assert argmax(x).numpy().tolist() == [1, 0, 2]
