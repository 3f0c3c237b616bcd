"""The MLM and NSP heads and the pretraining loss against the NumPy BERT; under the backend in force.

`test_jax_backend.py` runs this module again on JAX, but for the tests marked `once`.
"""

import keras
import numpy as np
import pytest
from keras import ops

from bert_tf import InputError
from pretraining import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
from pretraining.objective import PretrainingObjective, cross_entropies, hits
from tests import numpy_bert, small_bert
from tests.autodiff import assert_all_close, assert_close, dot, outputs_and_gradients, outputs_of
from tests.small_bert import BATCH, LENGTH, PREDICTIONS, VISIBLE, batch, parameters, small_config

EXACT, BFLOAT16 = 1e-5, 2e-2


def pretraining_batch(config):
    """`batch` with 7 predictions a row: positions among the real tokens, some of weight 0, and next-sentence labels."""
    rng = np.random.default_rng(11)
    positions = np.stack([rng.integers(0, visible, PREDICTIONS) for visible in VISIBLE]).astype("int32")
    weights = (rng.random((BATCH, PREDICTIONS)) < 0.6).astype("float32")
    assert 0 < weights.sum() < weights.size
    return batch(config) | {
        "masked_lm_positions": positions,
        "masked_lm_ids": rng.integers(0, config.vocab_size, (BATCH, PREDICTIONS), dtype="int32"),
        "masked_lm_weights": weights,
        "next_sentence_labels": np.array([0, 1, 1, 0, 1], "int32"),
        "next_sentence_weights": np.array([1, 1, 0, 1, 1], "float32"),
    }


def numpy_pretraining(p, config, data, next_sentence=True):
    """Logits of both heads, both losses, and the gradients of their sum."""
    grads = numpy_bert.new_grads()
    outputs, backward = numpy_bert.bert(p, config, **{name: data[name] for name in batch(config)})
    logits, mlm_backward = numpy_bert.mlm_head(p, config, outputs["last_hidden_state"], data["masked_lm_positions"])
    weights = data["masked_lm_weights"].astype("float64")
    mlm_loss, d_logits = numpy_bert.masked_cross_entropy(logits, data["masked_lm_ids"], weights)
    next_logits, nsp_backward = numpy_bert.nsp_head(p, outputs["pooler_output"])
    weights = data["next_sentence_weights"].astype("float64")
    nsp_loss, d_next = numpy_bert.masked_cross_entropy(next_logits, data["next_sentence_labels"], weights)
    if not next_sentence:
        d_next = np.zeros_like(d_next)
    backward(mlm_backward(d_logits, grads), nsp_backward(d_next, grads), grads)
    return {"prediction_logits": logits, "seq_relationship_logits": next_logits}, (mlm_loss, nsp_loss), grads


def filled(model, p):
    values = small_bert.pretraining_layout(p, model.config)
    if isinstance(model, BertForMaskedLM):
        values = {path: v for path, v in values.items() if not path.startswith(("bert/pooler/", "next_sentence/"))}
    small_bert.assign(model, values)
    return model


def value(figures, name):
    total, weight = (float(ops.convert_to_numpy(part)) for part in figures[name])
    return total / weight


@pytest.mark.parametrize(
    ("positions", "act", "types", "dtype", "tolerance"),
    [
        ("absolute", "gelu", 2, "float32", EXACT),
        pytest.param("relative", "gelu_new", 1, "float32", EXACT, marks=pytest.mark.once),
        pytest.param("absolute", "gelu", 2, "mixed_bfloat16", BFLOAT16, marks=pytest.mark.once),
    ],
)
def test_pretraining_step_equals_numpy(positions, act, types, dtype, tolerance):
    """Logits, both losses, and the gradient of every variable; the word embeddings get theirs from both their uses."""
    config = small_config(position_embedding_type=positions, hidden_act=act, type_vocab_size=types)
    p = parameters(config) if dtype == "float32" else small_bert.bfloat16_parameters(config)
    data = pretraining_batch(config)
    expected, (mlm_loss, nsp_loss), grads = numpy_pretraining(p, config, data)

    model, objective = filled(BertForPreTraining(config, dtype=dtype), p), PretrainingObjective()
    weights = objective.weights(data)
    outputs, of_variables, _ = outputs_and_gradients(
        model, (objective.inputs(data),), lambda outputs: objective.loss(objective.figures(outputs, data), weights)
    )
    assert sorted(outputs) == sorted(expected)
    for name in expected:
        assert_close(outputs[name], expected[name], tolerance, name)
    figures = objective.figures({name: x.astype("float32") for name, x in outputs.items()}, data)
    assert value(figures, "mlm_loss") == pytest.approx(mlm_loss, rel=tolerance)
    assert value(figures, "nsp_loss") == pytest.approx(nsp_loss, rel=tolerance)
    assert_all_close(of_variables, small_bert.pretraining_layout(grads, config), tolerance)


def test_masked_lm_alone_equals_numpy():
    """No pooler, no NSP: the same MLM logits, and gradients of the MLM loss alone."""
    config = small_config(hidden_act="gelu_new")
    p, data = parameters(config), pretraining_batch(config)
    expected, (mlm_loss, _), grads = numpy_pretraining(p, config, data, next_sentence=False)
    model, objective = filled(BertForMaskedLM(config), p), PretrainingObjective(next_sentence=False)
    weights = objective.weights(data)
    assert list(weights) == ["mlm_loss"]
    outputs, of_variables, _ = outputs_and_gradients(
        model, (objective.inputs(data),), lambda outputs: objective.loss(objective.figures(outputs, data), weights)
    )
    assert list(outputs) == ["prediction_logits"]
    assert_close(outputs["prediction_logits"], expected["prediction_logits"], EXACT, "prediction_logits")
    figures = objective.figures(outputs, data)
    assert sorted(figures) == ["mlm_accuracy", "mlm_loss"]
    assert value(figures, "mlm_loss") == pytest.approx(mlm_loss, rel=EXACT)
    layout = small_bert.pretraining_layout(grads, config)
    assert_all_close(of_variables, {path: layout[path] for path in of_variables}, EXACT)
    assert {path for path in layout if path not in of_variables} == {
        "bert/pooler/kernel", "bert/pooler/bias", "next_sentence/kernel", "next_sentence/bias"
    }  # fmt: skip


def test_next_sentence_alone_equals_numpy():
    """No MLM head: the same NSP logits, and gradients of the NSP loss alone."""
    config = small_config(type_vocab_size=1)
    p, data = parameters(config), pretraining_batch(config)
    data["masked_lm_weights"][0, 0] = 1.0
    grads = numpy_bert.new_grads()
    outputs, backward = numpy_bert.bert(p, config, **{name: data[name] for name in batch(config)})
    logits, nsp_backward = numpy_bert.nsp_head(p, outputs["pooler_output"])
    cotangent = np.random.default_rng(2).standard_normal((BATCH, 2)).astype("float32")
    backward(np.zeros_like(outputs["last_hidden_state"]), nsp_backward(cotangent, grads), grads)

    model = BertForNextSentencePrediction(config)
    layout = small_bert.pretraining_layout(p, config)
    small_bert.assign(model, {path: v for path, v in layout.items() if not path.startswith("masked_lm/")})
    outputs, of_variables, _ = outputs_and_gradients(
        model, (batch(config),), dot({"seq_relationship_logits": cotangent})
    )
    assert list(outputs) == ["seq_relationship_logits"]
    assert_close(outputs["seq_relationship_logits"], logits, EXACT, "seq_relationship_logits")
    expected = small_bert.pretraining_layout(grads | {name: np.zeros(1) for name in p if "predictions" in name}, config)
    assert_all_close(of_variables, {path: expected[path] for path in of_variables}, EXACT)
    with pytest.raises(InputError, match="a BERT has no input 'masked_lm_positions'"):
        model(batch(config) | {"masked_lm_positions": data["masked_lm_positions"]})


def test_rows_that_pad_the_vocabulary_change_nothing():
    """61 words in 64 rows, the last three with values that would win every softmax: they are never seen."""
    config = small_config()
    p, data = parameters(config), pretraining_batch(config)
    expected, (mlm_loss, _), grads = numpy_pretraining(p, config, data)
    values = small_bert.pretraining_layout(p, config)
    words = "bert/embeddings/word_embeddings/embeddings"
    values[words] = np.pad(values[words], ((0, 3), (0, 0)), constant_values=100.0)
    bias = "masked_lm/output_bias"
    values[bias] = np.pad(values[bias], (0, 3), constant_values=100.0)
    model, objective = BertForPreTraining(config, pad_vocab_size_multiple_of=8), PretrainingObjective()
    small_bert.assign(model, values)

    weights = objective.weights(data)
    outputs, of_variables, _ = outputs_and_gradients(
        model, (objective.inputs(data),), lambda outputs: objective.loss(objective.figures(outputs, data), weights)
    )
    for name in expected:
        assert_close(outputs[name], expected[name], EXACT, name)
    figures = objective.figures(outputs, data)
    assert value(figures, "mlm_loss") == pytest.approx(mlm_loss, rel=EXACT)
    for path in (words, bias):
        assert len(of_variables[path]) == 64
        assert not of_variables[path][61:].any()
        of_variables[path] = of_variables[path][:61]
    assert_all_close(of_variables, small_bert.pretraining_layout(grads, config), EXACT)
    with pytest.raises(InputError, match=r"input_ids holds 61 at \(0, 0\), expected ids from 0 to 60"):
        model({"input_ids": np.array([[61]], "int32")})


@pytest.mark.parametrize("multiple", [0, 2.0])
def test_a_multiple_that_is_none_stops(multiple):
    with pytest.raises(
        InputError, match=f"pad_vocab_size_multiple_of must be an integer of at least 1, got {multiple}"
    ):
        BertForMaskedLM(small_config(num_hidden_layers=1), pad_vocab_size_multiple_of=multiple)


def test_without_positions_every_token_is_scored():
    config = small_config()
    p, data = parameters(config), pretraining_batch(config)
    everywhere = np.tile(np.arange(LENGTH), (BATCH, 1))
    expected, _, _ = numpy_pretraining(
        p, config, data | {"masked_lm_positions": everywhere, "masked_lm_ids": everywhere,
                           "masked_lm_weights": np.ones((BATCH, LENGTH))}
    )  # fmt: skip
    outputs = outputs_of(filled(BertForPreTraining(config), p), batch(config))
    assert outputs["prediction_logits"].shape == (5, 11, 61)
    assert_close(outputs["prediction_logits"], expected["prediction_logits"], EXACT, "prediction_logits")


def test_layer_norm_epsilon_of_the_head():
    """It is the encoder's: with a transform as small as 1e-3 an epsilon of 1e-3 or 1e-12 is seen."""
    config = small_config(num_hidden_layers=1, layer_norm_eps=1e-5)
    p, data = parameters(config), pretraining_batch(config)
    for part in ("weight", "bias"):
        p[f"cls.predictions.transform.dense.{part}"] /= 256  # still float32 numbers
    expected, _, _ = numpy_pretraining(p, config, data)
    model = filled(BertForPreTraining(config), p)
    outputs = outputs_of(model, PretrainingObjective().inputs(data))
    assert_close(outputs["prediction_logits"], expected["prediction_logits"], EXACT, "prediction_logits")
    other, _, _ = numpy_pretraining(p, config.replace(layer_norm_eps=1e-12), data)
    difference = np.linalg.norm(other["prediction_logits"] - expected["prediction_logits"])
    assert difference > 0.01 * np.linalg.norm(expected["prediction_logits"])


def test_the_decoder_is_the_word_embeddings():
    """Tied: the model has no second (vocabulary, hidden) matrix, and a change of the table changes the logits."""
    config = small_config(num_hidden_layers=1)
    model = filled(BertForPreTraining(config), parameters(config))
    assert [v.path for v in model.variables if v.shape == (61, 24)] == ["bert/embeddings/word_embeddings/embeddings"]
    inputs = batch(config)
    inputs["input_ids"] = np.where(inputs["input_ids"] == 60, 3, inputs["input_ids"])  # word 60 is not in the input
    before = outputs_of(model, inputs)["prediction_logits"]
    table = model.bert.embeddings.word_embeddings.embeddings
    changed = np.array(ops.convert_to_numpy(table.value))
    changed[60] += 1.0
    table.assign(changed)
    after = outputs_of(model, inputs)["prediction_logits"]
    np.testing.assert_array_equal(after[..., :60], before[..., :60])
    assert np.abs(after[..., 60] - before[..., 60]).min() > 1e-4


def test_uniform_logits_give_the_log_of_the_number_of_words():
    """-log(1/61) at every prediction, whatever the labels; -log(1/2) for the pair."""
    config = small_config()
    data = pretraining_batch(config)
    outputs = {
        "prediction_logits": np.full((BATCH, PREDICTIONS, 61), 3.0, "float32"),
        "seq_relationship_logits": np.zeros((BATCH, 2), "float32"),
    }
    figures = PretrainingObjective().figures(outputs, data)
    assert value(figures, "mlm_loss") == pytest.approx(np.log(61), rel=1e-6)
    assert value(figures, "nsp_loss") == pytest.approx(np.log(2), rel=1e-6)


def test_figures_by_hand():
    """Two predictions count, one is right: accuracy 1/2. Logits (0, ln 3) for label 1: probability 3/4."""
    logits = np.log(np.array([[[1.0, 3.0], [1.0, 3.0], [4.0, 1.0]]], "float32"))
    labels, weights = np.array([[1, 0, 1]], "int32"), np.array([[1.0, 1.0, 0.0]], "float32")
    data = {"masked_lm_ids": labels, "masked_lm_weights": weights}
    figures = PretrainingObjective(next_sentence=False).figures({"prediction_logits": logits}, data)
    assert value(figures, "mlm_accuracy") == 0.5
    assert value(figures, "mlm_loss") == pytest.approx((np.log(4 / 3) + np.log(4)) / 2, rel=1e-6)
    assert ops.convert_to_numpy(hits(logits, labels)).tolist() == [[1, 0, 0]]
    np.testing.assert_allclose(
        ops.convert_to_numpy(cross_entropies(logits, labels)), [np.log([4 / 3, 4, 5])], rtol=1e-6
    )


def test_the_loss_is_float32():
    """bfloat16 logits 8 and 0 with label 0: log(1 + e^-8) = 3.3535e-4, which bfloat16 arithmetic would lose."""
    logits = ops.cast(np.array([[8.0, 0.0]], "float32"), "bfloat16")
    loss = cross_entropies(logits, np.array([0], "int32"))
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(ops.convert_to_numpy(loss)[0]) == pytest.approx(np.log1p(np.exp(-8.0)), rel=1e-3)


class CrossEntropies(keras.layers.Layer):
    def build(self, *shapes):
        """No variables."""

    def call(self, logits, labels):
        return cross_entropies(logits, labels)


def test_cross_entropies_and_their_gradient():
    """Against float64, upstream · (softmax - one-hot); logits above 100, whose exponentials float32 does not hold."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((3, 5, 61)) * np.array([1.0, 20.0, 60.0])[:, None, None]
    labels, upstream = rng.integers(0, 61, (3, 5)).astype("int32"), rng.standard_normal((3, 5))
    layer = CrossEntropies()
    layer.build()
    given, _, (gradient,) = outputs_and_gradients(layer, (logits.astype("f"), labels), dot(upstream))
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    softmax = exponentials / exponentials.sum(axis=-1, keepdims=True)
    one_hot = np.eye(61)[labels]
    expected = np.log(exponentials.sum(axis=-1)) + logits.max(axis=-1) - (logits * one_hot).sum(axis=-1)
    assert logits.max() > 100
    assert_close(given, expected, 1e-6, "cross entropies")
    assert_close(gradient, upstream[..., None] * (softmax - one_hot), EXACT, "gradient")


@pytest.mark.once
@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_that_is_none_of_the_classes_gives_nan(label):
    """And so an update that is not made, instead of one towards another word."""
    assert np.isnan(cross_entropies(np.zeros((1, 4), "float32"), np.array([label])))


@pytest.mark.once
def test_fit_learns_one_batch():
    """Keras' own compile and fit: every variable moves in one step, and one repeated batch is learnt."""
    keras.utils.set_random_seed(3)
    config = small_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_hidden_layers=1)
    data = pretraining_batch(config)
    inputs = PretrainingObjective().inputs(data)
    model = filled(BertForPreTraining(config), parameters(config))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        optimizer=keras.optimizers.Adam(3e-3),
        loss={"prediction_logits": loss, "seq_relationship_logits": loss},
    )
    labels = {"prediction_logits": data["masked_lm_ids"], "seq_relationship_logits": data["next_sentence_labels"]}
    steps = {name: np.tile(values, (60, *[1] * (values.ndim - 1))) for name, values in (inputs | labels).items()}
    before = [ops.convert_to_numpy(v.value).copy() for v in model.trainable_variables]
    first = model.fit(inputs, labels, verbose=0).history["loss"][0]  # before the step, as Keras reports it
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert not np.array_equal(ops.convert_to_numpy(variable.value), old), variable.path
    repeated, repeated_labels = ({name: steps[name] for name in names} for names in (inputs, labels))
    model.fit(repeated, repeated_labels, batch_size=BATCH, shuffle=False, epochs=2, verbose=0)
    last = model.fit(inputs, labels, verbose=0).history["loss"][0]
    # A position drawn twice in a row can have two labels: what is left is the entropy of those.
    assert first > np.log(61)
    assert last < 0.3 * first


def test_misspelt_input_stops():
    model = BertForPreTraining(small_config(num_hidden_layers=1))
    inputs = batch(model.config)
    with pytest.raises(InputError, match="a BERT has no input 'masked_lm_position'; the nearest name is"):
        model(inputs | {"masked_lm_position": np.zeros((BATCH, PREDICTIONS), "int32")})
    with pytest.raises(InputError, match="a BERT takes a dictionary with the key 'input_ids', got "):
        model(inputs["input_ids"])


def test_gradient_of_the_logits_alone():
    """NSP logits with a random gradient: the MLM head gets none, the encoder does."""
    config = small_config(num_hidden_layers=1)
    model = filled(BertForPreTraining(config), parameters(config))
    cotangent = np.random.default_rng(0).standard_normal((BATCH, 2)).astype("float32")
    _, gradients, _ = outputs_and_gradients(model, (batch(config),), dot({"seq_relationship_logits": cotangent}))
    for path, gradient in gradients.items():
        assert (np.abs(gradient).max() == 0) == path.startswith("masked_lm/"), path
