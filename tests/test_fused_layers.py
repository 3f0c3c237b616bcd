"""The layers whose gradients are written out, with dropout, forward and backward."""

import keras
import numpy as np
import pytest

from bert_tf import fused
from bert_tf.attention import MultiHeadAttention
from bert_tf.dropout import Dropout, kept
from bert_tf.encoder import residual_norm

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow compiles chains")


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_attention_with_dropout(monkeypatch, dtype, tolerance):
    """The weights' gradient written out, beside the one that TensorFlow finds, in float32 with the same noise."""
    rng = np.random.default_rng(0)
    layer = MultiHeadAttention(2, 16, dropout_prob=0.4)
    layer.build()
    narrow = MultiHeadAttention(2, 16, dropout_prob=0.4, dtype="float32" if dtype == "float32" else "mixed_bfloat16")
    narrow.build()
    narrow.set_weights(layer.get_weights())
    x, upstream = (rng.standard_normal((3, 7, 16)).astype("float32") for _ in range(2))
    bias = rng.standard_normal((3, 1, 7, 7)).astype("float32")
    bias[1, ..., 4:] = -1e9
    bias[2] = -1e9  # sees nothing

    def run(layer):
        layer.dropout.seed_generator.state.assign([3, 5])
        given = tf.constant(x), tf.constant(bias)
        with tf.GradientTape() as tape:
            tape.watch(given)
            output, _ = layer(*given, training=True)
            total = tf.reduce_sum(tf.cast(output, "float32") * upstream)
        found = tape.gradient(total, (*given, *(one.value for one in layer.trainable_variables)))
        return [np.asarray(tf.cast(one, "float32")) for one in (output, *found)]

    ours = run(narrow)
    monkeypatch.setattr(fused, "_pays", lambda: False)
    for one, other in zip(ours, run(layer), strict=True):
        assert np.linalg.norm(other) > 0
        assert np.linalg.norm(one - other) <= tolerance * np.linalg.norm(other)


@pytest.mark.parametrize("size", [16, 202])  # halved never, and once
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 1e-2)])
def test_residual_norm(size, dtype, tolerance):
    """The gradient written out, against float64; a row lies far from 0, another has the dropout's noise alone."""
    rng = np.random.default_rng(0)
    x, residual, upstream = (rng.standard_normal((3, 5, size)) for _ in range(3))
    residual[0, 0] += 10
    x[1, 1], residual[1, 1] = 0.5, 0.0
    given = [tf.constant(one, dtype) for one in (x, residual, upstream)]
    norm = keras.layers.LayerNormalization(epsilon=1e-12)
    norm.build((None, None, size))
    norm.set_weights([rng.standard_normal(size), rng.standard_normal(size)])
    dropout = Dropout(0.3)
    dropout.seed_generator.state.assign([3, 5])
    with tf.GradientTape() as tape:
        tape.watch(given[:2])
        result = residual_norm(*given[:2], dropout, norm, True)
    found = tape.gradient(result, (*given[:2], norm.gamma.value, norm.beta.value), given[2])

    x, residual, upstream, gamma, beta = (tf.cast(one, "float64").numpy() for one in (*given, norm.gamma, norm.beta))
    dropout.seed_generator.state.assign([3, 5])
    factors = np.asarray(kept(x.shape, *dropout.seeds(True), 0.3)) / 0.7
    centred = residual + factors * x
    centred -= centred.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    normal, of_normal = centred / deviation, upstream * gamma
    slope = (of_normal * normal).mean(-1, keepdims=True)
    of_residual = (of_normal - of_normal.mean(-1, keepdims=True) - normal * slope) / deviation
    expected = normal * gamma + beta, factors * of_residual, of_residual, upstream * normal, upstream
    for one, exact in zip((result, *found), expected, strict=True):
        exact = exact.sum((0, 1)) if one.shape.rank == 1 else exact
        assert np.linalg.norm(tf.cast(one, "float64") - exact) <= tolerance * np.linalg.norm(exact)
