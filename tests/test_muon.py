"""Muon against singular value decompositions in float64; under the backend in force.

`test_jax_backend.py` runs this module again on JAX, but for the tests marked `once`.
"""

import keras
import numpy as np
import pytest
from keras import ops

from bert_tf import InputError
from bert_tf.choices import OPTIMIZERS, make_optimizer
from bert_tf.muon import Muon, is_hidden_matrix, orthogonalized
from bert_tf.training import make_step
from pretraining.objective import PretrainingObjective
from tests.autodiff import apply_compiled
from tests.optimizer_steps import assert_steps_equal, schedule, small_model, values_of
from tests.small_bert import below
from tests.test_training_step import pretraining_batch

DECAY = 0.3
HIDDEN = [
    "bert/layer_0/attention/output_dense/kernel",
    "bert/layer_0/attention/qkv/kernel",
    "bert/layer_0/feed_forward/intermediate/kernel",
    "bert/layer_0/feed_forward/output_dense/kernel",
]


def numpy_orthogonalized(matrix):
    """By its SVD, without a product of matrices: an odd polynomial of a matrix is that of its singular values."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    s = s / np.sqrt((s**2).sum())
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s) @ vt


def muon_step(path, weight, gradient, rate, t, state):
    if path not in HIDDEN:
        state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * gradient
        state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * gradient**2
        update = state["m"] / (1 - 0.9**t) / (np.sqrt(state["v"] / (1 - 0.999**t)) + 1e-6)
        return weight - rate * (update + DECAY * weight * (weight.ndim == 2))
    state["m"] = 0.95 * state.get("m", 0.0) + gradient
    parts = np.split(gradient + 0.95 * state["m"], 3 if "qkv" in path else 1, axis=1)
    update = np.concatenate([0.2 * max(part.shape) ** 0.5 * numpy_orthogonalized(part) for part in parts], axis=1)
    return weight - rate * (update + DECAY * weight)


def test_ten_steps_equal_the_formula():
    """Of every variable of a BERT; 1 - 0.999ᵗ loses up to 4 digits in float32."""
    assert_steps_equal(Muon(schedule(), weight_decay_rate=DECAY), muon_step, 2e-5)


# Orthogonalization


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16), (3, 24, 17)])
def test_the_polar_factor_but_for_singular_values_near_1(shape):
    """U and V stay; singular values between 0.01 and 1 (of a norm of at most 4: above 0.0025) come out as 0.68 to 1.14;
    the size of the input does not matter."""
    rng = np.random.default_rng(2)
    u, _, vt = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    s = np.geomspace(0.01, 1, u.shape[-1])
    for scale in (1e-3, 1e3):
        matrix = ops.convert_to_tensor(scale * (u * s) @ vt, "float32")
        found = ops.convert_to_numpy(orthogonalized(matrix)).astype("float64")
        inner = np.swapaxes(u, -1, -2) @ found @ np.swapaxes(vt, -1, -2)  # diagonal: the new singular values
        diagonal = np.diagonal(inner, axis1=-2, axis2=-1)
        assert diagonal.min() > 0.68
        assert diagonal.max() < 1.14
        off = inner - diagonal[..., None] * np.eye(len(s))
        assert np.abs(off).max() < 1e-3


def test_zeros_stay_zeros():
    assert not ops.convert_to_numpy(orthogonalized(ops.zeros((4, 6)))).any()


# What is Muon's


def test_what_is_hidden():
    """The four kernels of a block, and no kernel of pooler or heads; they alone have no second moment."""
    model = small_model()
    assert sorted(below(model, v) for v in model.trainable_variables if is_hidden_matrix(v)) == HIDDEN
    optimizer = Muon(1e-3)
    optimizer.build(model.trainable_variables)
    names = [variable.path for variable in optimizer.variables]
    assert sum("momentum" in name for name in names) == len(model.trainable_variables)
    assert sum("velocity" in name for name in names) == len(model.trainable_variables) - len(HIDDEN)


def test_query_key_and_value_move_alike_and_as_far_as_adamw():
    """Gradients of query, key and value of sizes 1e-5, 1e-3 and 1: each third moves by the rate times 0.2 · 0.68 to
    0.2 · 1.14 in root mean square; as one matrix nearly all of the movement would be the value's."""
    model = small_model()
    before = values_of(model)
    rng = np.random.default_rng(4)
    gradients = {path: rng.standard_normal(value.shape) for path, value in before.items()}
    gradients["bert/layer_0/attention/qkv/kernel"] *= np.repeat([1e-5, 1e-3, 1.0], 24)
    apply_compiled(Muon(0.01, weight_decay_rate=0.0), model.trainable_variables, [list(gradients.values())])
    moved = values_of(model)["bert/layer_0/attention/qkv/kernel"] - before["bert/layer_0/attention/qkv/kernel"]
    for third in np.split(moved, 3, axis=1):
        assert 0.136 < np.sqrt((third**2).mean()) / 0.01 < 0.228


def test_a_model_without_hidden_matrices():
    message = r"Muon is for the matrices of encoder blocks \(…/layer_0/…/kernel\) and this model has none; take adamw"
    with pytest.raises(InputError, match=message):
        Muon(0.1).build([keras.Variable(np.ones((3, 4)), name="kernel")])


@pytest.mark.once
def test_configuration():
    optimizer = Muon(schedule(), 0.02, 0.9, 0.8, 0.99, 1e-5, name="mine")
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, Muon)
    assert again.get_config() == optimizer.get_config()
    assert (again.weight_decay_rate, again.momentum) == (0.02, 0.9)
    assert (again.beta_1, again.beta_2, again.epsilon) == (0.8, 0.99, 1e-5)


# By name


@pytest.mark.parametrize("name", ["muon", *(pytest.param(name, marks=pytest.mark.once) for name in ("adamw", "lamb"))])
def test_every_optimizer_learns(name):
    """One repeated batch, in the compiled step of the backend: both losses fall to below a tenth."""
    model = small_model()
    step = make_step(model, PretrainingObjective(), make_optimizer(name, 0.01, weight_decay_rate=0.01))
    batch = pretraining_batch(model.config)
    history = [step.train(batch, 0.01) for _ in range(40)]
    for loss in ("mlm_loss", "nsp_loss"):
        first, last = (float(ops.convert_to_numpy(figures[loss][0])) for figures in (history[0], history[-1]))
        assert last < 0.1 * first


@pytest.mark.once
def test_an_optimizer_by_name():
    assert {name: type(make_optimizer(name, 0.1)).__name__ for name in OPTIMIZERS} == {
        "adamw": "BertAdamW",
        "lamb": "Lamb",
        "muon": "Muon",
    }
    assert make_optimizer("adamw", 0.1, bias_correction=True).bias_correction
    with pytest.raises(InputError, match="optimizer must be one of adamw, lamb, muon, got 'adam'"):
        make_optimizer("adam", 0.1)
