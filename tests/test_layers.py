"""Each layer's outputs and gradients against the NumPy BERT, under the backend in force.

`test_jax_backend.py` runs this module again on JAX. The tolerance is 1e-5 of the norm: float32 has 6e-8 of precision,
and a layer adds up some tens of terms.
"""

import keras
import numpy as np
import pytest
from keras import ops

from bert_tf.attention import MultiHeadAttention, RelativePositionBias
from bert_tf.embeddings import BertEmbeddings, sinusoids
from bert_tf.encoder import ACTIVATIONS, EncoderBlock, FeedForward
from tests import numpy_bert, small_bert
from tests.autodiff import assert_all_close, assert_close, dot, outputs_and_gradients, outputs_of
from tests.small_bert import BATCH, LENGTH, parameters, small_config

EXACT = 1e-5
HIDDEN, HEADS, INNER, EPS = 24, 4, 40, 1e-12
BLOCK = "encoder.layer.1"


def float32(shape, seed, std=1.0):
    """Random float64 numbers that float32 holds exactly."""
    values = np.random.default_rng(seed).standard_normal(shape) * std
    return values.astype("float32").astype("float64")


def mask_bias():
    mask = np.arange(LENGTH) < np.array(small_bert.VISIBLE)[:, None]
    return np.where(mask, 0.0, -1e9).astype("float32")[:, None, None, :]  # (B, 1, 1, S)


def built(layer, values):
    layer.build()
    small_bert.assign(layer, values)
    return layer


# Self-attention


def attention_layer(p, **options):
    layer = MultiHeadAttention(HEADS, HIDDEN, name="attention", **options)
    return built(layer, small_bert.attention_layout(p, f"{BLOCK}.attention"))


@pytest.mark.parametrize("training", [False, True])  # in training it runs through `bert_tf.fused`
def test_attention(training):
    """Masked keys and a bias for each head and pair together; gradients of the bias and through the probabilities."""
    p, grads = parameters(small_config()), numpy_bert.new_grads()
    x, bias = float32((BATCH, LENGTH, HIDDEN), 1), float32((BATCH, HEADS, LENGTH, LENGTH), 2) + mask_bias()
    bias = bias.astype("float32").astype("float64")
    d_output, d_probabilities = float32(x.shape, 3), float32(bias.shape, 4)
    expected, backward = numpy_bert.self_attention(p, f"{BLOCK}.attention", x, bias, HEADS)
    dx, d_bias = backward(d_output, d_probabilities, grads)

    outputs, of_variables, of_inputs = outputs_and_gradients(
        attention_layer(p, dropout_prob=0.0), (x, bias), dot((d_output, d_probabilities)), training=training
    )
    assert_close(outputs[0], expected[0], EXACT, "output")
    assert_close(outputs[1], expected[1], EXACT, "probabilities")
    assert_all_close(of_variables, small_bert.attention_layout(grads, f"{BLOCK}.attention"), EXACT)
    assert_close(of_inputs[0], dx, EXACT, "gradient of hidden")
    assert_close(of_inputs[1], d_bias, EXACT, "gradient of bias")


def test_masked_keys_have_probability_zero():
    p = parameters(small_config())
    _, probabilities = outputs_of(
        attention_layer(p), float32((BATCH, LENGTH, HIDDEN), 1).astype("float32"), mask_bias()
    )
    for row, visible in enumerate(small_bert.VISIBLE):
        assert (probabilities[row, :, :, visible:] == 0).all()
        assert (probabilities[row, :, :, :visible] > 0).all()
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_no_visible_key_gives_no_nan(training):
    """Row 2 sees nothing: its outputs and all gradients are finite, and the other rows do not notice."""
    p = parameters(small_config())
    layer = attention_layer(p, dropout_prob=0.0)
    x, bias = float32((BATCH, LENGTH, HIDDEN), 1), mask_bias()
    blind = bias.copy()
    blind[2] = -1e9
    d_output, d_probabilities = float32(x.shape, 3), float32((BATCH, HEADS, LENGTH, LENGTH), 4)
    outputs, of_variables, of_inputs = outputs_and_gradients(
        layer, (x, blind), dot((d_output, d_probabilities)), training=training
    )
    for values in (*outputs, *of_variables.values(), *of_inputs):
        assert np.isfinite(values).all()
    np.testing.assert_allclose(outputs[1][2], 1 / LENGTH, atol=1e-6)
    expected, _ = numpy_bert.self_attention(p, f"{BLOCK}.attention", x, bias, HEADS)
    others = [0, 1, 3, 4]
    assert_close(outputs[0][others], expected[0][others], EXACT, "output of the other rows")


def test_fused_kernel_equals_three_layers():
    """The kernel of `qkv`, cut in three, applied by three `Dense` layers and attended with einsum."""
    p = parameters(small_config())
    layer = attention_layer(p)
    x, bias = float32((BATCH, LENGTH, HIDDEN), 1).astype("float32"), mask_bias()
    kernel, kernel_bias = (ops.convert_to_numpy(v.value) for v in (layer.qkv.kernel, layer.qkv.bias))
    parts = []
    for third in range(3):
        columns = slice(third * HIDDEN, (third + 1) * HIDDEN)
        dense = keras.layers.Dense(HIDDEN)
        dense.build((None, None, HIDDEN))
        dense.kernel.assign(kernel[:, columns])
        dense.bias.assign(kernel_bias[columns])
        parts.append(np.array(ops.convert_to_numpy(dense(x))).reshape(BATCH, LENGTH, HEADS, HIDDEN // HEADS))
    query, key, value = parts
    scores = np.einsum("bqnd,bknd->bnqk", query, key) / np.sqrt(HIDDEN / HEADS) + bias
    context = np.einsum("bnqk,bknd->bqnd", numpy_bert.softmax(scores), value).reshape(BATCH, LENGTH, HIDDEN)
    expected = ops.convert_to_numpy(layer.output_dense(context))
    assert_close(outputs_of(layer, x, bias)[0], expected, 1e-6, "fused")


# Relative bias


@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (12, 9), (4, 2), (8, 16), (64, 256)])
def test_relative_buckets(buckets, furthest):
    """T5's formula over 300 positions, in whole-number arithmetic: no rounding of a logarithm moves a boundary."""
    length = 300
    table = ops.convert_to_numpy(RelativePositionBias(HEADS, buckets, furthest).buckets(length))
    expected = {d: numpy_bert.t5_bucket(d, buckets, furthest) for d in range(1 - length, length)}
    assert table.tolist() == [[expected[key - query] for key in range(length)] for query in range(length)]
    assert set(expected.values()) == set(range(buckets)) - {buckets // 2}  # distance 0 is never "after"


def test_relative_bias():
    config = small_config(position_embedding_type="relative")
    name = "encoder.relative_attention_bias.weight"
    p, grads = parameters(config), numpy_bert.new_grads()
    layer = built(RelativePositionBias(HEADS, 12, 9, name="relative_bias"), {"embeddings": p[name]})
    d_bias = float32((1, HEADS, LENGTH, LENGTH), 1)
    expected, backward = numpy_bert.relative_bias(p, name, LENGTH, 12, 9)
    backward(d_bias, grads)
    bias, of_variables, _ = outputs_and_gradients(layer, (), dot(d_bias), length=LENGTH)
    assert_close(bias, expected, EXACT, "bias")
    assert_all_close(of_variables, {"embeddings": grads[name]}, EXACT)


# Feed-forward, block, embeddings


def test_activation_names():
    assert sorted(ACTIVATIONS) == sorted(numpy_bert.ACTIVATIONS)


@pytest.mark.parametrize(
    ("act", "training"), [*((act, False) for act in ("gelu", "gelu_new", "relu", "silu", "tanh")), ("gelu", True)]
)
def test_feed_forward(act, training):
    p, grads = parameters(small_config()), numpy_bert.new_grads()
    layer = FeedForward(HIDDEN, INNER, act, name="feed_forward")
    built(layer, small_bert.feed_forward_layout(p, BLOCK))
    x, dy = float32((BATCH, LENGTH, HIDDEN), 1, std=1.5), float32((BATCH, LENGTH, HIDDEN), 2)
    expected, backward = numpy_bert.feed_forward(p, BLOCK, x, act)
    dx = backward(dy, grads)
    output, of_variables, of_inputs = outputs_and_gradients(layer, (x,), dot(dy), training=training)
    assert_close(output, expected, EXACT, "output")
    assert_all_close(of_variables, small_bert.feed_forward_layout(grads, BLOCK), EXACT)
    assert_close(of_inputs[0], dx, EXACT, "gradient of hidden")


def test_the_two_gelus_differ():
    """They differ by at most 5e-4, near |x| = 2.7: far above the tolerance, so no test can take one for the other."""
    x = np.linspace(-6, 6, 1201).astype("float32")
    exact, tanh_form = (ops.convert_to_numpy(ACTIVATIONS[name](x)) for name in ("gelu", "gelu_new"))
    assert 3e-4 < np.abs(exact - tanh_form).max() < 6e-4
    assert_close(exact, numpy_bert.gelu(x.astype("float64"))[0], EXACT, "gelu")
    assert_close(tanh_form, numpy_bert.gelu_new(x.astype("float64"))[0], EXACT, "gelu_new")


@pytest.mark.parametrize(("act", "training"), [("gelu", False), ("gelu_new", False), ("gelu", True)])
def test_encoder_block(act, training):
    p, grads = parameters(small_config()), numpy_bert.new_grads()
    layer = built(EncoderBlock(HIDDEN, HEADS, INNER, act, 0.0, 0.0, name="block"), small_bert.block_layout(p, BLOCK))
    x, bias = float32((BATCH, LENGTH, HIDDEN), 1), mask_bias()
    d_output, d_probabilities = float32(x.shape, 2), float32((BATCH, HEADS, LENGTH, LENGTH), 3)
    expected, backward = numpy_bert.block(p, BLOCK, x, bias, HEADS, act, EPS)
    dx, d_bias = backward(d_output, d_probabilities, grads)
    outputs, of_variables, of_inputs = outputs_and_gradients(
        layer, (x, bias), dot((d_output, d_probabilities)), training=training
    )
    assert_close(outputs[0], expected[0], EXACT, "output")
    assert_close(outputs[1], expected[1], EXACT, "probabilities")
    assert_all_close(of_variables, small_bert.block_layout(grads, BLOCK), EXACT)
    assert_close(of_inputs[0], dx, EXACT, "gradient of hidden")
    assert_close(of_inputs[1], d_bias.sum((1, 2), keepdims=True), EXACT, "gradient of bias")


@pytest.mark.parametrize(("positions", "types"), [("absolute", 2), ("absolute", 1), ("sinusoidal", 2), ("relative", 1)])
def test_embeddings(positions, types):
    config = small_config(position_embedding_type=positions, type_vocab_size=types)
    p, grads = parameters(config), numpy_bert.new_grads()
    layer = BertEmbeddings(61, HIDDEN, 19, types, position_embedding_type=positions, name="embeddings")
    built(layer, small_bert.embeddings_layout(p))
    inputs = small_bert.batch(config)
    dy = float32((BATCH, LENGTH, HIDDEN), 1)
    expected, backward = numpy_bert.embeddings(p, inputs["input_ids"], inputs["token_type_ids"], EPS, positions)
    backward(dy, grads)
    output, of_variables, _ = outputs_and_gradients(layer, (inputs["input_ids"], inputs["token_type_ids"]), dot(dy))
    assert_close(output, expected, EXACT, "output")
    assert_all_close(of_variables, small_bert.embeddings_layout(grads), EXACT)


def test_sinusoids_by_hand():
    """Width 4: columns 0 and 1 turn at the rate 1, columns 2 and 3 at 10000^(-2/4) = 1/100."""
    expected = [[np.sin(p), np.cos(p), np.sin(p / 100), np.cos(p / 100)] for p in range(7)]
    np.testing.assert_allclose(sinusoids(7, 4), expected, atol=1e-7)
    assert sinusoids(1, 6).tolist() == [[0, 1, 0, 1, 0, 1]]
    far = [[numpy_bert.sinusoid(500, column, 24) for column in range(24)]]
    np.testing.assert_allclose(sinusoids(512, 24)[500:501], far, atol=1e-7)


@pytest.mark.parametrize("eps", [1e-12, 1e-3])
def test_layer_norm_epsilon_is_the_one_given(eps):
    """On input of standard deviation 0.03 (variance 9e-4) the two differ by a third."""
    config = small_config()
    p = {name: value / 30 if "_embeddings" in name else value for name, value in parameters(config).items()}
    p = {name: value.astype("float32").astype("float64") for name, value in p.items()}
    layer = BertEmbeddings(61, HIDDEN, 19, 2, layer_norm_eps=eps, name="embeddings")
    built(layer, small_bert.embeddings_layout(p))
    inputs = small_bert.batch(config)
    ids = inputs["input_ids"], inputs["token_type_ids"]
    output = outputs_of(layer, *ids)
    assert_close(output, numpy_bert.embeddings(p, *ids, eps, "absolute")[0], EXACT, "output")
    other = 1e-3 if eps == 1e-12 else 1e-12
    assert np.linalg.norm(output - numpy_bert.embeddings(p, *ids, other, "absolute")[0]) > 0.1 * np.linalg.norm(output)
