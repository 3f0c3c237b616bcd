"""What `transformers` saved and computed once (tests/make_golden_files.py), without it: every head, every gradient."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import downstream
import pretraining
from tests.autodiff import dot, outputs_and_gradients
from tests.gradients_by_name import gradient_errors

GOLDEN = Path(__file__).parent / "golden"
TINY = {
    "vocab_size": 23,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 17,
    "num_labels": 3,
}
# Both activations and both numbers of segments occur.
MODELS = {
    "BertForPreTraining": {"hidden_act": "gelu"},
    "BertForMaskedLM": {"hidden_act": "gelu_new"},
    "BertForSequenceClassification": {"hidden_act": "gelu_new", "layer_norm_eps": 1e-3},
    "BertForTokenClassification": {"hidden_act": "gelu", "type_vocab_size": 1},
    "BertForQuestionAnswering": {"hidden_act": "gelu_new", "num_labels": 2},
    "BertForNextSentencePrediction": {"hidden_act": "gelu"},
}
CLASSES = {
    "BertForPreTraining": pretraining.BertForPreTraining,
    "BertForMaskedLM": pretraining.BertForMaskedLM,
    "BertForNextSentencePrediction": pretraining.BertForNextSentencePrediction,
    "BertForSequenceClassification": downstream.BertForSequenceClassification,
    "BertForTokenClassification": downstream.BertForTokenClassification,
    "BertForQuestionAnswering": downstream.BertForQuestionAnswering,
}


@pytest.mark.parametrize("architecture", CLASSES)
def test_hidden_states_logits_and_gradients(architecture):
    expected = np.load(GOLDEN / architecture / "expected.npz")
    model = CLASSES[architecture].from_pretrained(GOLDEN / architecture)
    inputs = {name: expected[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    weights = under(expected, "weight/")
    outputs, gradients, _ = outputs_and_gradients(model, (inputs,), dot(weights))
    hidden_states = model.bert(inputs, output_hidden_states=True)["hidden_states"]
    outputs |= {f"hidden_state_{index}": np.asarray(hidden) for index, hidden in enumerate(hidden_states)}
    reference = under(expected, "output/")
    assert sorted(outputs) == sorted(reference)
    visible = inputs["attention_mask"].astype(bool)
    for name, values in reference.items():
        per_token = values.shape[:2] == visible.shape
        difference = np.abs(outputs[name] - values)
        assert (difference[visible] if per_token else difference).max() <= 1e-5, name
    assert max(gradient_errors(model, gradients, under(expected, "gradient/")).values()) <= 1e-4


@pytest.mark.parametrize("architecture", CLASSES)
def test_saved_again_every_tensor_is_bitwise_equal(tmp_path, architecture):
    CLASSES[architecture].from_pretrained(GOLDEN / architecture).save_pretrained(tmp_path)
    before, after = (load_file(folder / "model.safetensors") for folder in (GOLDEN / architecture, tmp_path))
    assert sorted(before) == sorted(after)
    assert all(after[name].tobytes() == tensor.tobytes() for name, tensor in before.items())


def test_both_activations_and_both_numbers_of_segments_are_there():
    settings = [{"hidden_act": "gelu", "type_vocab_size": 2} | changes for changes in MODELS.values()]
    for name in ("hidden_act", "type_vocab_size"):
        assert len({setting[name] for setting in settings}) == 2


def under(expected, prefix):
    return {name.removeprefix(prefix): expected[name] for name in expected.files if name.startswith(prefix)}
