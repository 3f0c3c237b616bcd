"""LAMB against algorithm 2 of arXiv 1904.00962 in float64; under the backend in force.

`test_jax_backend.py` runs this module again on JAX, but for the tests marked `once`.
"""

import keras
import numpy as np
import pytest
from keras import ops

from bert_tf.lamb import Lamb
from tests.autodiff import apply_compiled, assert_close
from tests.optimizer_steps import assert_steps_equal, schedule

DECAY = 0.3


def lamb_step(path, weight, gradient, rate, t, state, beta_1=0.9, beta_2=0.999, epsilon=1e-6):
    """Lines 5 to 11 of the algorithm, for one variable."""
    state["m"] = beta_1 * state.get("m", 0.0) + (1 - beta_1) * gradient
    state["v"] = beta_2 * state.get("v", 0.0) + (1 - beta_2) * gradient**2
    update = state["m"] / (1 - beta_1**t) / (np.sqrt(state["v"] / (1 - beta_2**t)) + epsilon)
    if weight.ndim == 1:  # of BERT exactly the biases and LayerNorm
        return weight - rate * update
    update = update + DECAY * weight
    layers = 3 if "qkv" in path else 1  # the paper's layers: query, key and value are one each
    moved = [
        w - rate * np.linalg.norm(w) / np.linalg.norm(u) * u
        for w, u in zip(np.split(weight, layers, axis=1), np.split(update, layers, axis=1), strict=True)
    ]
    return np.concatenate(moved, axis=1)


def test_ten_steps_equal_the_formula():
    """Of every variable of a BERT; 1 - 0.999ᵗ loses up to 4 digits in float32."""
    assert_steps_equal(Lamb(schedule(), weight_decay_rate=DECAY), lamb_step, 2e-5)


def one_step(weight, gradient, decay):
    kernel = keras.Variable(np.array(weight, "float32"), name="kernel")
    Lamb(0.1, weight_decay_rate=decay).apply([ops.convert_to_tensor(np.array(gradient, "float32"))], [kernel])
    return ops.convert_to_numpy(kernel.value)


def test_first_step_by_hand():
    """w = (3, 4), g = (2, -2), decay 0.1: m̂/√v̂ = (1, -1), u = (1.3, -0.6) of norm √2.05, and ‖w‖ = 5."""
    expected = np.array([[3.0, 4.0]]) - 0.1 * 5 / 2.05**0.5 * np.array([[1.3, -0.6]])
    np.testing.assert_allclose(one_step([[3.0, 4.0]], [[2.0, -2.0]], 0.1), expected, rtol=2e-6)


def test_the_ratio_is_1_where_a_norm_is_0():
    """Weights of 0 take AdamW's step, 0.1; without gradient and decay nothing moves; nothing is NaN."""
    np.testing.assert_allclose(one_step([[0.0, 0.0]], [[2.0, -2.0]], 0.1), [[-0.1, 0.1]], rtol=1e-5)
    assert one_step([[3.0, 4.0]], [[0.0, 0.0]], 0.0).tolist() == [[3.0, 4.0]]
    assert one_step([[0.0, 0.0]], [[0.0, 0.0]], 0.1).tolist() == [[0.0, 0.0]]


@pytest.mark.once
def test_keras_lamb_is_the_same_without_decay_alone():
    """An independent implementation agrees on a kernel; with decay it leaves the trust ratio's step and is another."""
    rng = np.random.default_rng(3)
    start = rng.standard_normal((5, 7))
    gradients = [[rng.standard_normal((5, 7)).astype("float32")] for _ in range(10)]

    def moved(optimizer):
        kernel = keras.Variable(start, name="kernel")
        apply_compiled(optimizer, [kernel], gradients)
        return ops.convert_to_numpy(kernel.value).astype("float64") - start

    def theirs(decay):
        return moved(keras.optimizers.Lamb(0.02, weight_decay=decay, epsilon=1e-6))

    assert_close(moved(Lamb(0.02, 0.0)), theirs(None), 2e-5, "without decay")
    difference = moved(Lamb(0.02, DECAY)) - theirs(DECAY)
    assert np.linalg.norm(difference) > 0.01 * np.linalg.norm(theirs(DECAY))


@pytest.mark.once
def test_configuration():
    optimizer = Lamb(schedule(), 0.02, 0.8, 0.99, 1e-5, name="mine")
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, Lamb)
    assert again.get_config() == optimizer.get_config()
    assert (again.weight_decay_rate, again.beta_1, again.beta_2, again.epsilon) == (0.02, 0.8, 0.99, 1e-5)
