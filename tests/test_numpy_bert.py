"""The NumPy BERT's backward passes against central differences of its forward passes, both in float64."""

import numpy as np
import pytest

from tests.numpy_bert import ACTIVATIONS, bert, masked_cross_entropy, mlm_head, new_grads, nsp_head, t5_bucket
from tests.small_bert import BATCH, LENGTH, PREDICTIONS, batch, parameters, small_config

STEP = 1e-5  # central differences in float64: error about STEP² from the cut, 1e-16 / STEP from rounding


def pretraining_loss(p, config, grads=None):
    """The MLM and NSP losses, as arrays of a whole pretraining step; the gradients are added to `grads`."""
    rng = np.random.default_rng(3)
    inputs = batch(config)
    positions = rng.integers(0, LENGTH, (BATCH, PREDICTIONS))
    labels = rng.integers(0, config.vocab_size, (BATCH, PREDICTIONS))
    weights = (rng.random((BATCH, PREDICTIONS)) < 0.6).astype("float64")
    next_labels = np.array([0, 1, 1, 0, 1])

    outputs, backward = bert(p, config, **inputs)
    logits, mlm_backward = mlm_head(p, config, outputs["last_hidden_state"], positions)
    next_logits, nsp_backward = nsp_head(p, outputs["pooler_output"])
    mlm_loss, d_logits = masked_cross_entropy(logits, labels, weights)
    nsp_loss, d_next = masked_cross_entropy(next_logits, next_labels, np.ones(BATCH))
    if grads is not None:
        backward(mlm_backward(d_logits, grads), nsp_backward(d_next, grads), grads)
    return mlm_loss + nsp_loss


@pytest.mark.parametrize(
    ("positions", "act", "types"), [("absolute", "gelu", 2), ("relative", "gelu_new", 1), ("sinusoidal", "silu", 2)]
)
def test_backward_equals_central_differences(positions, act, types):
    """For each parameter, the slope of the loss along a random direction of that parameter alone."""
    config = small_config(num_hidden_layers=2, hidden_act=act, type_vocab_size=types, position_embedding_type=positions)
    p, grads = parameters(config), new_grads()
    pretraining_loss(p, config, grads)
    assert sorted(grads) == sorted(p)
    rng = np.random.default_rng(5)
    for name, value in p.items():
        direction = rng.standard_normal(value.shape)
        ends = [pretraining_loss(p | {name: value + sign * STEP * direction}, config) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * STEP)
        if name.endswith("attention.self.key.bias"):
            # A key's bias adds the same number to all scores of a query, which softmax does not see.
            assert abs(slope) < 1e-9
            assert np.abs(grads[name]).max() < 1e-14
        else:
            assert (grads[name] * direction).sum() == pytest.approx(slope, rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_slopes(name):
    x = np.array([-3.1, -1.0, -0.2, 0.3, 1.7, 4.0])
    numeric = (ACTIVATIONS[name](x + STEP)[0] - ACTIVATIONS[name](x - STEP)[0]) / (2 * STEP)
    np.testing.assert_allclose(ACTIVATIONS[name](x)[1], numeric, rtol=1e-8, atol=1e-10)


def test_two_gelus_at_one():
    """Φ(1) = 0.8413447 (normal tables); tanh(√(2/π) 1.044715) = 0.682384, so (1 + it)/2 = 0.841192."""
    assert ACTIVATIONS["gelu"](np.array([1.0]))[0][0] == pytest.approx(0.8413447, abs=1e-7)
    assert ACTIVATIONS["gelu_new"](np.array([1.0]))[0][0] == pytest.approx(0.841192, abs=1e-6)


def test_masked_cross_entropy_by_hand():
    """Logits (ln 3, 0): probabilities 3/4, 1/4. Weights 1, 0, 2 over labels 0, 1, 1: (ln 4/3 + 2 ln 4) / 3."""
    logits = np.array([[np.log(3), 0.0]] * 3)
    loss, _ = masked_cross_entropy(logits, np.array([0, 1, 1]), np.array([1.0, 0.0, 2.0]))
    assert loss == pytest.approx((np.log(4 / 3) + 2 * np.log(4)) / 3)


def test_t5_buckets_by_hand():
    """32 buckets, 128 at most (T5's own): half 16, of which 8 exact.

    From 8 on, bucket 8 + ⌊8 log(d/8) / log 16⌋ = 8 + ⌊2 log2(d/8)⌋: 8·√2 = 11.3 begins bucket 9 at 12, 16 begins 10,
    22.6 begins 11 at 23, 32 begins 12, 64 begins 14, 90.5 begins 15 at 91; keys after the query add 16.
    """
    expected = {0: 0, 1: 1, 7: 7, 8: 8, 11: 8, 12: 9, 15: 9, 16: 10, 22: 10, 23: 11, 32: 12, 64: 14, 90: 14, 91: 15}
    expected |= {128: 15, 5000: 15}
    for distance, bucket in expected.items():
        assert t5_bucket(-distance, 32, 128) == bucket
        assert t5_bucket(distance, 32, 128) == (bucket + 16 if distance else 0)
