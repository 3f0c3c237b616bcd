"""A preset that KerasHub saved gives KerasHub's outputs here. Needs `keras-nlp`, which the `parity` extra installs."""

import numpy as np
import pytest

keras_nlp = pytest.importorskip("keras_nlp")

from bert_tf import BertModel, BertTokenizer  # noqa: E402
from bert_tf.__main__ import main  # noqa: E402
from bert_tf.foreign_tokenizers import read_tokenizer  # noqa: E402
from downstream import BertForSequenceClassification  # noqa: E402
from pretraining import BertForMaskedLM  # noqa: E402
from tests.checkpoint_files import SIZES, VOCABULARY, small_config  # noqa: E402
from tests.small_bert import batch  # noqa: E402

pytestmark = pytest.mark.parity


def randomize(model, seed=0):
    """Every weight random and none at its initial value."""
    rng = np.random.default_rng(seed)
    for weight in model.trainable_variables:
        values = rng.normal(1.0 if "gamma" in weight.path else 0.0, 0.25, weight.shape)
        weight.assign(values.astype("float32"))


@pytest.fixture
def backbone():
    backbone = keras_nlp.models.BertBackbone(
        vocabulary_size=SIZES["vocab_size"],
        num_layers=SIZES["num_hidden_layers"],
        num_heads=SIZES["num_attention_heads"],
        hidden_dim=SIZES["hidden_size"],
        intermediate_dim=SIZES["intermediate_size"],
        max_sequence_length=SIZES["max_position_embeddings"],
    )
    randomize(backbone)
    return backbone


def preprocessor_of(kind):
    tokenizer = keras_nlp.models.BertTokenizer(vocabulary=VOCABULARY, lowercase=True)
    return kind(tokenizer, sequence_length=11)


def two_names():
    """One batch under the names of both packages."""
    ours = batch(small_config())
    names = {"input_ids": "token_ids", "attention_mask": "padding_mask", "token_type_ids": "segment_ids"}
    return ours, {names[name]: value for name, value in ours.items()}


def test_a_backbone(tmp_path, backbone):
    backbone.save_to_preset(str(tmp_path))
    ours, theirs = two_names()
    outputs, expected = BertModel.from_pretrained(tmp_path)(ours), backbone(theirs)
    visible = ours["attention_mask"].astype(bool)
    difference = np.asarray(outputs["last_hidden_state"]) - np.asarray(expected["sequence_output"])
    assert np.abs(difference[visible]).max() <= 1e-5
    np.testing.assert_allclose(outputs["pooler_output"], expected["pooled_output"], atol=1e-5)
    print(f"KerasHub backbone: {np.abs(difference[visible]).max():.1e}")


def test_a_classifier(tmp_path, backbone):
    task = keras_nlp.models.BertTextClassifier(
        backbone, num_classes=3, preprocessor=preprocessor_of(keras_nlp.models.BertTextClassifierPreprocessor)
    )
    randomize(task, seed=1)
    task.save_to_preset(str(tmp_path))
    ours, theirs = two_names()
    model = BertForSequenceClassification.from_pretrained(tmp_path)
    expected = np.asarray(task(theirs))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(model(ours)["logits"], expected, atol=1e-5)


def test_a_masked_lm_differs_by_the_activation_and_the_epsilon_of_its_head_alone(tmp_path, backbone):
    task = keras_nlp.models.BertMaskedLM(
        backbone, preprocessor=preprocessor_of(keras_nlp.models.BertMaskedLMPreprocessor)
    )
    randomize(task, seed=2)
    task.save_to_preset(str(tmp_path))
    ours, theirs = two_names()
    positions = np.tile(np.arange(4, dtype="int32"), (5, 1))
    model = BertForMaskedLM.from_pretrained(tmp_path)
    expected = np.asarray(task(theirs | {"mask_positions": positions}))
    outputs = np.asarray(model(ours | {"masked_lm_positions": positions})["prediction_logits"])
    difference = np.abs(outputs - expected).max()
    print(f"KerasHub masked LM: {difference:.1e}")
    assert difference < 5e-3

    # The same head with its own activation and epsilon is theirs.
    model.masked_lm.hidden_act = "gelu"
    model.masked_lm.layer_norm.epsilon = 1e-5
    outputs = np.asarray(model(ours | {"masked_lm_positions": positions})["prediction_logits"])
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_its_tokenizer_and_the_directory_that_convert_makes(tmp_path, backbone):
    task = keras_nlp.models.BertTextClassifier(
        backbone, num_classes=2, preprocessor=preprocessor_of(keras_nlp.models.BertTextClassifierPreprocessor)
    )
    task.save_to_preset(str(tmp_path / "preset"))
    files = read_tokenizer(tmp_path / "preset")
    assert list(files.vocabulary.tokens) == VOCABULARY
    assert (files.settings["do_lower_case"], files.settings["strip_accents"]) == (True, False)
    assert main(["convert", "--from", str(tmp_path / "preset"), "--to", str(tmp_path / "ours")]) == 0
    texts = ["The cat sat on a mat!", "a dog, it ran far"]
    theirs = np.asarray(task.preprocessor(texts)["token_ids"])
    ours = BertTokenizer.from_pretrained(tmp_path / "ours")(texts, max_length=11, padding="max_length")
    np.testing.assert_array_equal(ours["input_ids"], theirs)
