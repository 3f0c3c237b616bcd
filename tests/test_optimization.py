"""AdamW against its formula in float64, what it decays, and clipping; under the backend in force.

`test_jax_backend.py` runs this module again on JAX, but for the tests marked `once`.
"""

import keras
import numpy as np
import pytest
from keras import ops

from bert_tf.optimization import BertAdamW, clip_by_global_norm, is_decayed
from pretraining import BertForPreTraining
from tests.autodiff import assert_close
from tests.small_bert import small_config

SHAPES = {"kernel": (5, 7), "bias": (7,), "gamma": (3,), "embeddings": (11, 2)}


def variables(seed=0):
    rng = np.random.default_rng(seed)
    return [keras.Variable(rng.standard_normal(shape), name=name) for name, shape in SHAPES.items()]


def numpy_adamw(values, gradients, rates, decay, bias_correction, beta_1=0.9, beta_2=0.999, epsilon=1e-6):
    """Loshchilov & Hutter, algorithm 2, in float64; without the corrections as google-research/bert has it."""
    moments = [(np.zeros_like(value), np.zeros_like(value)) for value in values]
    for t, (rate, step_gradients) in enumerate(zip(rates, gradients, strict=True), 1):
        for index, (name, gradient) in enumerate(zip(SHAPES, step_gradients, strict=True)):
            m, v = moments[index]
            m = beta_1 * m + (1 - beta_1) * gradient
            v = beta_2 * v + (1 - beta_2) * gradient**2
            moments[index] = m, v
            if bias_correction:
                m, v = m / (1 - beta_1**t), v / (1 - beta_2**t)
            update = m / (np.sqrt(v) + epsilon)
            if name in ("kernel", "embeddings"):
                update = update + decay * values[index]
            values[index] = values[index] - rate * update
    return values


@pytest.mark.parametrize("bias_correction", [False, True])
def test_ten_steps_equal_the_formula(bias_correction):
    """Gradients from 1e-4 to 1e2 in size, a rate that rises and falls, a decay large enough to be seen."""
    rates = [0.05 * step / 3 for step in range(3)] + [0.05 * (10 - step) / 7 for step in range(3, 10)]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(list(range(9)), rates)
    rng = np.random.default_rng(1)
    gradients = [[rng.standard_normal(s) * 10.0 ** rng.integers(-4, 3) for s in SHAPES.values()] for _ in rates]
    trained = variables()
    before = [ops.convert_to_numpy(variable.value).astype("float64") for variable in trained]
    optimizer = BertAdamW(schedule, weight_decay_rate=0.3, bias_correction=bias_correction)
    for step_gradients in gradients:
        tensors = [ops.convert_to_tensor(gradient, "float32") for gradient in step_gradients]
        optimizer.apply(tensors, trained)
    expected = numpy_adamw(list(before), gradients, rates, 0.3, bias_correction)
    for variable, old, new in zip(trained, before, expected, strict=True):
        moved = ops.convert_to_numpy(variable.value).astype("float64") - old
        # 1 - 0.999ᵗ loses up to 4 digits in float32: with the corrections 6e-6, without 1e-6
        assert_close(moved, new - old, 1e-5, variable.path)
        assert np.linalg.norm(new - old) > 0.1
    assert int(ops.convert_to_numpy(optimizer.iterations.value)) == 10


@pytest.mark.once
def test_first_step_by_hand():
    """g = 2, w = 3, rate 0.1: m = 0.2, v = 0.004, so w falls by 0.1 (0.2 / (0.0632456 + 1e-6) + 0.01 · 3)."""
    kernel = keras.Variable(np.array([[3.0]]), name="kernel")
    BertAdamW(0.1).apply([ops.convert_to_tensor([[2.0]])], [kernel])
    expected = 3 - 0.1 * (0.2 / (0.004**0.5 + 1e-6) + 0.03)
    assert float(ops.convert_to_numpy(kernel.value)[0, 0]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.once
def test_optimizer_configuration():
    optimizer = BertAdamW(1e-3, 0.02, 0.8, 0.99, 1e-5, True, name="mine")
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()
    assert (again.weight_decay_rate, again.beta_1, again.beta_2, again.epsilon) == (0.02, 0.8, 0.99, 1e-5)
    assert again.bias_correction is True
    assert float(ops.convert_to_numpy(again.learning_rate)) == pytest.approx(1e-3)


# What is decayed


def test_what_is_decayed():
    """Of BERT with its pretraining heads: every matrix and table, no bias and no LayerNorm, on either backend."""
    config = small_config(num_hidden_layers=1, position_embedding_type="relative")
    model = BertForPreTraining(config)
    block = "bert/layer_0"
    decayed = [
        "bert/embeddings/word_embeddings/embeddings",
        "bert/embeddings/token_type_embeddings/embeddings",
        "bert/relative_bias/embeddings",
        f"{block}/attention/qkv/kernel",
        f"{block}/attention/output_dense/kernel",
        f"{block}/feed_forward/intermediate/kernel",
        f"{block}/feed_forward/output_dense/kernel",
        "bert/pooler/kernel",
        "bert_for_pretraining/masked_lm/dense/kernel",
        "bert_for_pretraining/next_sentence/kernel",
    ]
    assert sorted(v.path for v in model.trainable_variables if is_decayed(v)) == sorted(decayed)
    others = [variable for variable in model.trainable_variables if not is_decayed(variable)]
    assert len(others) == 16  # gamma and beta of 4 LayerNorms, 7 biases of dense layers, 1 of the words
    assert all(len(variable.shape) == 1 for variable in others)


# Clipping


def test_clipping():
    """Norm of (3, 4) and (12): √(9 + 16 + 144) = 13. At most 1: a thirteenth of each; at most 20: nothing."""
    gradients = [ops.convert_to_tensor([3.0, 4.0]), ops.convert_to_tensor([[12.0]])]
    clipped, norm = clip_by_global_norm(gradients, 1.0)
    assert float(ops.convert_to_numpy(norm)) == pytest.approx(13.0)
    np.testing.assert_allclose(ops.convert_to_numpy(clipped[0]), [3 / 13, 4 / 13], rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(clipped[1]), [[12 / 13]], rtol=1e-6)
    unchanged, norm = clip_by_global_norm(gradients, 20.0)
    assert float(ops.convert_to_numpy(norm)) == pytest.approx(13.0)
    assert ops.convert_to_numpy(unchanged[0]).tolist() == [3.0, 4.0]


def test_clipping_of_nothing():
    clipped, norm = clip_by_global_norm([ops.zeros((3,))], 1.0)
    assert float(ops.convert_to_numpy(norm)) == 0.0
    assert ops.convert_to_numpy(clipped[0]).tolist() == [0.0, 0.0, 0.0]


def test_norm_is_float32():
    """300² = 90000 is beyond float16; the norm of 4 of them is 600, and the clipped gradient stays float16."""
    clipped, norm = clip_by_global_norm([ops.cast(ops.convert_to_tensor([300.0] * 4), "float16")], 1.0)
    assert float(ops.convert_to_numpy(norm)) == pytest.approx(600.0)
    assert keras.backend.standardize_dtype(clipped[0].dtype) == "float16"
    np.testing.assert_allclose(ops.convert_to_numpy(clipped[0]).astype("float32"), [0.5] * 4, rtol=1e-3)


@pytest.mark.parametrize(("bad", "shown"), [(np.inf, "inf"), (-np.inf, "inf"), (np.nan, "nan"), (3e19, "inf")], ids=str)
def test_a_norm_that_is_not_finite_shows(bad, shown):
    """One bad element in the last of three gradients; (3e19)² is beyond float32's 3.4e38, so that one overflows."""
    gradients = [ops.convert_to_tensor(np.array(g, "float32")) for g in ([1.0, 2.0], [[3.0]], [0.0, bad])]
    _, norm = clip_by_global_norm(gradients, 1.0)
    assert str(float(ops.convert_to_numpy(norm))) == shown
    assert not bool(ops.convert_to_numpy(ops.isfinite(norm)))
