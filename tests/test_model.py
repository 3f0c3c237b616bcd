"""BertModel against the NumPy BERT, and what must hold for any encoder; under the backend in force.

`test_jax_backend.py` runs this module again on JAX, but for the tests marked `once`.
"""

import keras
import numpy as np
import pytest

from bert_tf import BertModel
from tests import numpy_bert, small_bert
from tests.autodiff import assert_all_close, assert_close, dot, outputs_and_gradients, outputs_of
from tests.small_bert import BATCH, LENGTH, VISIBLE, batch, below, parameters, small_config

EXACT, BFLOAT16 = 1e-5, 2e-2  # of the norm; float32 has 24 bits of mantissa, bfloat16 has 8


def filled(config, p, **options):
    """A BertModel with the parameters `p`, whose names are Hugging Face's."""
    model = BertModel(config, **options)
    values = small_bert.encoder_layout(p, config)
    if model.pooler is None:
        values = {path: value for path, value in values.items() if not path.startswith("pooler/")}
    small_bert.assign(model, values)
    return model


def check_against_numpy(config, p, tolerance, **options):
    """Both outputs, and the gradient of every variable for random gradients of both outputs."""
    inputs = batch(config)
    rng = np.random.default_rng(7)
    cotangents = {
        "last_hidden_state": rng.standard_normal((BATCH, LENGTH, config.hidden_size)).astype("float32"),
        "pooler_output": rng.standard_normal((BATCH, config.hidden_size)).astype("float32"),
    }
    expected, backward = numpy_bert.bert(p, config, **inputs)
    grads = backward(*(cotangent.astype("float64") for cotangent in cotangents.values()))
    outputs, of_variables, _ = outputs_and_gradients(filled(config, p, **options), (inputs,), dot(cotangents))
    assert sorted(outputs) == sorted(cotangents)
    for name in cotangents:
        assert_close(outputs[name], expected[name], tolerance, name)
    assert_all_close(of_variables, small_bert.encoder_layout(grads, config), tolerance)


@pytest.mark.parametrize(
    ("positions", "act", "types", "eps"),
    [
        ("absolute", "gelu", 2, 1e-12),
        ("absolute", "gelu_new", 1, 1e-12),
        ("sinusoidal", "gelu", 1, 1e-5),
        ("relative", "gelu_new", 2, 1e-12),
    ],
)
def test_equals_numpy_in_float32(positions, act, types, eps):
    config = small_config(position_embedding_type=positions, hidden_act=act, type_vocab_size=types, layer_norm_eps=eps)
    check_against_numpy(config, parameters(config), EXACT)


@pytest.mark.parametrize(
    ("positions", "act"), [("absolute", "gelu"), pytest.param("relative", "gelu_new", marks=pytest.mark.once)]
)
def test_equals_numpy_in_mixed_bfloat16(positions, act):
    config = small_config(position_embedding_type=positions, hidden_act=act)
    check_against_numpy(config, small_bert.bfloat16_parameters(config), BFLOAT16, dtype="mixed_bfloat16")


def test_hidden_states_and_attentions():
    """Every layer's output and probabilities, in order; nothing of them unless asked."""
    config = small_config(position_embedding_type="relative")
    p, inputs = parameters(config), batch(config)
    outputs = outputs_of(filled(config, p), inputs, output_hidden_states=True, output_attentions=True)
    expected, _ = numpy_bert.bert(p, config, **inputs)
    assert sorted(outputs) == ["attentions", "hidden_states", "last_hidden_state", "pooler_output"]
    assert (len(outputs["hidden_states"]), len(outputs["attentions"])) == (4, 3)
    for name in ("hidden_states", "attentions"):
        for index, (actual, reference) in enumerate(zip(outputs[name], expected[name], strict=True)):
            assert_close(actual, reference, EXACT, f"{name}[{index}]")
    for probabilities in outputs["attentions"]:
        np.testing.assert_allclose(probabilities.sum(-1), 1.0, atol=1e-6)
    assert (outputs["hidden_states"][-1] == outputs["last_hidden_state"]).all()


@pytest.mark.once
def test_without_pooler():
    config = small_config()
    p, inputs = parameters(config), batch(config)
    model = filled(config, p, add_pooling_layer=False)
    outputs = outputs_of(model, inputs)
    assert list(outputs) == ["last_hidden_state"]
    assert_close(outputs["last_hidden_state"], numpy_bert.bert(p, config, **inputs)[0]["last_hidden_state"], EXACT, "")
    assert not [variable.path for variable in model.variables if "pooler" in variable.path]


@pytest.mark.once
@pytest.mark.parametrize("positions", ["absolute", "relative"])
def test_padding_changes_nothing(positions):
    """Other ids and segments at the padding, and five more padded columns: the real positions stay as they were."""
    config = small_config(position_embedding_type=positions)
    p, inputs = parameters(config), batch(config)
    model = filled(config, p)
    rng = np.random.default_rng(9)
    other = {
        "input_ids": rng.integers(0, config.vocab_size, (BATCH, LENGTH + 5), dtype="int32"),
        "attention_mask": np.zeros((BATCH, LENGTH + 5), "int32"),
        "token_type_ids": rng.integers(0, 2, (BATCH, LENGTH + 5), dtype="int32"),
    }
    for row, visible in enumerate(VISIBLE):
        for name in inputs:
            other[name][row, :visible] = inputs[name][row, :visible]
    first, second = outputs_of(model, inputs), outputs_of(model, other)
    for row, visible in enumerate(VISIBLE):
        a, b = first["last_hidden_state"][row, :visible], second["last_hidden_state"][row, :visible]
        assert_close(b, a, 1e-6, f"row {row}")
    assert_close(second["pooler_output"], first["pooler_output"], 1e-6, "pooler_output")
    last = first["last_hidden_state"][1, VISIBLE[1] :], second["last_hidden_state"][1, VISIBLE[1] : LENGTH]
    assert np.abs(last[0] - last[1]).max() > 0.1  # the padded ids did change


@pytest.mark.once
def test_default_mask_and_segments():
    config = small_config()
    model = filled(config, parameters(config))
    ids = batch(config)["input_ids"]
    plain = outputs_of(model, {"input_ids": ids})["pooler_output"]
    full = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    np.testing.assert_array_equal(plain, outputs_of(model, full)["pooler_output"])
    assert np.abs(plain - outputs_of(model, batch(config))["pooler_output"]).max() > 0.01


@pytest.mark.parametrize(
    "dtype",
    ["float32", *(pytest.param(dtype, marks=pytest.mark.once) for dtype in ("mixed_bfloat16", "mixed_float16"))],
)
def test_a_row_of_padding_gives_no_nan(dtype):
    """float16 ends at 65504: the score of a masked key, -1e9, would be -inf there, and a row of them NaN."""
    config = small_config(num_hidden_layers=1, position_embedding_type="relative")
    inputs = batch(config)
    inputs["attention_mask"][2] = 0
    model = filled(config, parameters(config), dtype=dtype)
    cotangent = np.ones((BATCH, LENGTH, config.hidden_size), "float32") / 64
    outputs, gradients, _ = outputs_and_gradients(
        model, (inputs,), dot({"last_hidden_state": cotangent}), output_attentions=True
    )
    for name, value in {"hidden": outputs["last_hidden_state"], "attention": outputs["attentions"][0]}.items():
        assert np.isfinite(value).all(), name
    for name, value in gradients.items():
        assert np.isfinite(value).all(), name
    for row, visible in enumerate(VISIBLE):
        if row != 2:
            assert (outputs["attentions"][0][row, ..., visible:] == 0).all()


@pytest.mark.once
def test_compute_dtype_of_the_outputs():
    """bfloat16 outputs, float32 variables and probabilities."""
    model = BertModel(small_config(num_hidden_layers=1), dtype="mixed_bfloat16")
    outputs = model(batch(model.config), output_attentions=True)
    assert keras.backend.standardize_dtype(outputs["last_hidden_state"].dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(outputs["pooler_output"].dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(outputs["attentions"][0].dtype) == "float32"
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}


# Dropout


def test_no_dropout_at_inference():
    config = small_config(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    p, inputs = parameters(config), batch(config)
    outputs = outputs_of(filled(config, p), inputs)["last_hidden_state"]
    assert_close(outputs, numpy_bert.bert(p, config, **inputs)[0]["last_hidden_state"], EXACT, "last_hidden_state")


def test_hidden_dropout_in_training():
    """Half of the embeddings' output is 0, the rest doubled; another half at the next call."""
    config = small_config(num_hidden_layers=1, hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.0)
    inputs = batch(config)
    model = filled(config, parameters(config))
    plain = outputs_of(model, inputs, output_hidden_states=True)["hidden_states"]
    first, second = (
        outputs_of(model, inputs, training=True, output_hidden_states=True)["hidden_states"] for _ in range(2)
    )
    kept = first[0] != 0
    assert abs(kept.mean() - 0.5) < 0.07  # 1320 values: 5 standard deviations of 0.5 / √1320
    assert_close(first[0][kept], 2 * plain[0][kept], EXACT, "embeddings")
    other_kept = second[0] != 0
    assert abs((kept == other_kept).mean() - 0.5) < 0.07  # two independent halves agree on half
    assert np.abs(first[1] - plain[1]).max() > 0.1


@pytest.mark.parametrize("place", ["attention_dropout", "feed_forward_dropout"])
def test_dropout_in_a_block(place):
    """Each of the block's two hidden dropouts acts: with all others at 0, two calls in training differ."""
    config = small_config(num_hidden_layers=1, hidden_dropout_prob=0.4, attention_probs_dropout_prob=0.0)
    inputs = batch(config)
    model = filled(config, parameters(config))
    for layer in (model.embeddings.dropout, model.blocks[0].attention_dropout, model.blocks[0].feed_forward_dropout):
        assert layer.rate == 0.4
        layer.rate = 0.0
    plain, again = (outputs_of(model, inputs, training=True) for _ in range(2))
    np.testing.assert_array_equal(plain["last_hidden_state"], again["last_hidden_state"])
    getattr(model.blocks[0], place).rate = 0.4
    first, second = (outputs_of(model, inputs, training=True) for _ in range(2))
    assert np.abs(first["last_hidden_state"] - plain["last_hidden_state"]).max() > 0.1
    assert np.abs(first["last_hidden_state"] - second["last_hidden_state"]).max() > 0.1


def test_attention_dropout_in_training():
    """It acts on the probabilities (those returned are from before it) and leaves the embeddings alone."""
    config = small_config(num_hidden_layers=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5)
    inputs = batch(config)
    model = filled(config, parameters(config))
    plain, first, second = (
        outputs_of(model, inputs, training=training, output_hidden_states=True, output_attentions=True)
        for training in (False, True, True)
    )
    assert_close(first["hidden_states"][0], plain["hidden_states"][0], 1e-6, "embeddings")
    assert_close(first["attentions"][0], plain["attentions"][0], 1e-6, "attentions")
    assert np.abs(first["last_hidden_state"] - plain["last_hidden_state"]).max() > 0.1
    assert np.abs(first["last_hidden_state"] - second["last_hidden_state"]).max() > 0.1


# Fresh weights


@pytest.mark.parametrize("positions", ["absolute", pytest.param("relative", marks=pytest.mark.once)])
def test_initial_values(positions):
    """Kernels and tables: a normal distribution cut at two standard deviations, each drawn anew.

    The cut leaves a standard deviation of √(1 - 4 φ(2) / (2 Φ(2) - 1)) = 0.8796 of the nominal one. Biases and betas
    begin at 0, gammas at 1.
    """
    config = small_config(position_embedding_type=positions, initializer_range=0.05)
    model = BertModel(config)
    values = {below(model, v): keras.ops.convert_to_numpy(v.value) for v in model.trainable_variables}
    random = {path: value for path, value in values.items() if path.endswith(("kernel", "embeddings"))}
    assert (
        len(random) == 4 * config.num_hidden_layers + 4
    )  # qkv and 3 dense a block; 3 tables (or 2 and a bias), pooler
    for path, value in random.items():
        bound = 5 * 0.05 / np.sqrt(value.size)
        assert abs(value.mean()) < bound, path
        assert abs(value.std() - 0.8796 * 0.05) < bound, path
        assert np.abs(value).max() <= 2 * 0.05 + 1e-7, path
    for path, value in values.items():
        if path not in random:
            assert (value == (1.0 if path.endswith("gamma") else 0.0)).all(), path
    starts = {value.ravel()[:20].tobytes() for value in random.values()}
    assert len(starts) == len(random)
    kernel = values["layer_0/attention/qkv/kernel"]
    assert not np.array_equal(kernel[:, :24], kernel[:, 24:48])


@pytest.mark.once
def test_two_models_differ():
    first, second = (BertModel(small_config(num_hidden_layers=1)) for _ in range(2))
    for a, b in zip(first.trainable_variables, second.trainable_variables, strict=True):
        same = np.array_equal(keras.ops.convert_to_numpy(a.value), keras.ops.convert_to_numpy(b.value))
        assert same == a.path.endswith(("bias", "beta", "gamma")), a.path
