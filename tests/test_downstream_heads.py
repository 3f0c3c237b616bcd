"""The three heads: what they compute, what they save, what they refuse (`test_parity_transformers` compares them)."""

import json
import re

import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file

import downstream
from bert_tf import BertConfig, BertModel, InputError
from downstream import BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification

CONFIG = BertConfig(
    vocab_size=29,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=17,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
HEADS = [BertForSequenceClassification, BertForTokenClassification, BertForQuestionAnswering]
LABELS = ("low", "middle", "high")


def batch():
    rng = np.random.default_rng(0)
    lengths = np.array([[11], [4], [7], [1], [9]])
    return {
        "input_ids": rng.integers(0, 29, (5, 11), dtype="int32"),
        "attention_mask": (np.arange(11) < lengths).astype("int32"),
        "token_type_ids": rng.integers(0, 2, (5, 11), dtype="int32"),
    }


def randomize(model, seed=1):
    """Values far from the initial ones in every variable, biases too."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        mean = 1.0 if variable.path.endswith("gamma") else 0.0
        variable.assign((mean + 0.3 * rng.standard_normal(variable.shape)).astype("float32"))
    return model


def values(model):
    return {variable.path: np.array(ops.convert_to_numpy(variable)) for variable in model.weights}


def numpy_of(outputs):
    return {name: np.array(ops.convert_to_numpy(value)) for name, value in outputs.items()}


# ---------------------------------------------------------------------------------------------- what they compute


def test_sequence_classification_reads_the_pooled_first_token():
    model = randomize(BertForSequenceClassification(CONFIG, labels=LABELS))
    pooled = numpy_of(model.bert(batch()))["pooler_output"]
    kernel, bias = (ops.convert_to_numpy(weight) for weight in (model.output_dense.kernel, model.output_dense.bias))
    logits = numpy_of(model(batch()))["logits"]
    assert logits.shape == (5, 3)
    np.testing.assert_allclose(logits, pooled @ kernel + bias, rtol=1e-5, atol=1e-6)


def test_token_classification_reads_every_token():
    model = randomize(BertForTokenClassification(CONFIG, labels=LABELS))
    hidden = numpy_of(model.bert(batch()))["last_hidden_state"]
    kernel, bias = (ops.convert_to_numpy(weight) for weight in (model.output_dense.kernel, model.output_dense.bias))
    logits = numpy_of(model(batch()))["logits"]
    assert logits.shape == (5, 11, 3)
    np.testing.assert_allclose(logits, hidden @ kernel + bias, rtol=1e-5, atol=1e-5)


def test_question_answering_gives_starts_and_ends():
    model = randomize(BertForQuestionAnswering(CONFIG))
    hidden = numpy_of(model.bert(batch()))["last_hidden_state"]
    kernel, bias = (ops.convert_to_numpy(weight) for weight in (model.output_dense.kernel, model.output_dense.bias))
    outputs = numpy_of(model(batch()))
    assert set(outputs) == {"start_logits", "end_logits"}
    np.testing.assert_allclose(outputs["start_logits"], hidden @ kernel[:, 0] + bias[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(outputs["end_logits"], hidden @ kernel[:, 1] + bias[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_padding_changes_nothing(head):
    model = randomize(head(CONFIG))
    inputs = batch()
    shorter = {name: value[1:2, :4] for name, value in inputs.items()}  # row 1 has 4 tokens and 7 of padding
    for name, value in numpy_of(model(inputs)).items():
        row = value[1] if head is BertForSequenceClassification else value[1, :4]
        np.testing.assert_allclose(row, numpy_of(model(shorter))[name][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", HEADS[:2])
@pytest.mark.parametrize(
    ("hidden_dropout", "classifier_dropout", "drops"),
    [(0.0, None, False), (0.5, None, True), (0.5, 0.0, False), (0.0, 0.5, True)],
)
def test_dropout_before_the_dense_layer(head, hidden_dropout, classifier_dropout, drops):
    # The configuration's dropout also acts in the encoder; what the head does is seen on its own dropout layer.
    config = CONFIG.replace(hidden_dropout_prob=hidden_dropout)
    model = head(config, classifier_dropout=classifier_dropout)
    ones = ops.ones((64, 24))
    dropped = ops.convert_to_numpy(model.dropout(ones, training=True))
    assert (np.sum(dropped == 0) > 0) == drops
    model = randomize(head(CONFIG, classifier_dropout=classifier_dropout))  # no dropout in the encoder
    trained, plain = (numpy_of(model(batch(), training=training))["logits"] for training in (True, False))
    changed = np.abs(trained - plain).max() > 1e-4 * np.abs(plain).max()  # rounding changes some 1e-7 of it
    assert changed == (classifier_dropout == 0.5)


@pytest.mark.parametrize(("head", "run_eagerly"), list(zip(HEADS, (False, True, True), strict=True)))
def test_compile_and_fit(head, run_eagerly):  # one of them as a graph: tracing takes seconds
    model = head(CONFIG.replace(num_hidden_layers=1))
    shape = (5, 11) if head is BertForTokenClassification else (5,)
    targets = {name: np.zeros(shape, "int32") for name in model(batch())}
    loss = {name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in targets}
    model.compile(keras.optimizers.Adam(0.01), loss=loss, run_eagerly=run_eagerly)
    history = model.fit(batch(), targets, epochs=5, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]


def test_mixed_precision_keeps_float32_variables():
    model = BertForSequenceClassification(CONFIG, dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(model(batch())["logits"].dtype) == "bfloat16"
    assert {keras.backend.standardize_dtype(weight.dtype) for weight in model.trainable_variables} == {"float32"}


# -------------------------------------------------------------------------------------------------- what they save


@pytest.mark.parametrize(
    ("head", "names"),
    [
        (HEADS[0], {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}),
        (HEADS[1], {"classifier.weight", "classifier.bias"}),
        (HEADS[2], {"qa_outputs.weight", "qa_outputs.bias"}),
    ],
)
def test_saved_and_opened_again(tmp_path, head, names):
    model = randomize(head(CONFIG))
    model.save_pretrained(tmp_path)
    others = {
        name for name in load_file(tmp_path / "model.safetensors") if not name.startswith(("bert.emb", "bert.enc"))
    }
    assert others == names
    again = head.from_pretrained(tmp_path)
    assert again.config == CONFIG
    expected, got = values(model), values(again)
    assert list(got) == list(expected)
    for path in expected:
        np.testing.assert_array_equal(got[path], expected[path])


def test_the_settings_in_config_json(tmp_path):
    model = BertForSequenceClassification(
        CONFIG, labels=LABELS, problem_type="multi_label_classification", classifier_dropout=0.25
    )
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "low", "1": "middle", "2": "high"}
    assert config["label2id"] == {"low": 0, "middle": 1, "high": 2}
    assert (config["problem_type"], config["classifier_dropout"]) == ("multi_label_classification", 0.25)
    again = BertForSequenceClassification.from_pretrained(tmp_path)
    assert again.head_settings == model.head_settings
    assert (again.labels, again.problem_type) == (LABELS, "multi_label_classification")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (["LABEL_0", "LABEL_1"], "single_label_classification")),
        ({"num_labels": 3}, (["LABEL_0", "LABEL_1", "LABEL_2"], "single_label_classification")),
        ({"id2label": {"1": "b", "0": "a"}, "problem_type": None}, (["a", "b"], "single_label_classification")),
        ({"id2label": {"0": "score"}}, (["score"], "regression")),
        ({"id2label": {"0": "a"}, "problem_type": "multi_label_classification"}, (["a"], "multi_label_classification")),
    ],
)
def test_settings_read_as_hugging_face_reads_them(values, expected):
    settings = BertForSequenceClassification.read_head_settings(values)
    assert (settings["labels"], settings["problem_type"]) == expected


def test_keras_saving(tmp_path):
    model = randomize(BertForSequenceClassification(CONFIG, labels=LABELS, classifier_dropout=0.1))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.labels == LABELS
    np.testing.assert_array_equal(numpy_of(again(batch()))["logits"], numpy_of(model(batch()))["logits"])


def test_a_fresh_head_on_a_bare_encoder(tmp_path):
    encoder = randomize(BertModel(CONFIG))
    encoder.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=re.escape("2 tensors are missing: classifier.weight, classifier.bias")):
        BertForSequenceClassification.from_pretrained(tmp_path)
    model = BertForSequenceClassification.from_pretrained(tmp_path, allow_missing_head=True, labels=LABELS)
    np.testing.assert_array_equal(
        numpy_of(model.bert(batch()))["pooler_output"], numpy_of(encoder(batch()))["pooler_output"]
    )
    assert model.output_dense.kernel.shape == (24, 3)


# ------------------------------------------------------------------------------------------------ what they refuse


@pytest.mark.parametrize("labels", [(), ("a", "a"), (0, 1)])
def test_bad_labels(labels):
    message = f"labels must be different strings, at least one, got {list(labels)}"
    with pytest.raises(InputError, match=re.escape(message)):
        BertForTokenClassification(CONFIG, labels=labels)


def test_bad_settings():
    with pytest.raises(
        InputError, match=r"^problem_type must be one of single_label_classification, .*, got 'ranking'$"
    ):
        BertForSequenceClassification(CONFIG, problem_type="ranking")
    with pytest.raises(InputError, match=re.escape("classifier_dropout must be a number in [0, 1), got 1.0")):
        BertForSequenceClassification(CONFIG, classifier_dropout=1.0)
    message = "id2label in config.json must number its labels from 0 on, got the numbers ['1', '2']"
    with pytest.raises(InputError, match=re.escape(message)):
        BertForSequenceClassification.read_head_settings({"id2label": {"1": "a", "2": "b"}})


def test_the_package_has_these_names_alone():
    names = {name for name in downstream.__all__ if getattr(downstream, name)}
    assert names == {head.__name__ for head in HEADS} | {"BertForExtractiveSummarization"}
    with pytest.raises(AttributeError, match="module 'downstream' has no attribute 'BertForRanking'"):
        downstream.BertForRanking  # noqa: B018
