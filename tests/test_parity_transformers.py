"""The same numbers as `transformers` (PyTorch), in both directions: hidden states, logits, gradients, files.

Every parameter is random and non-default: no bias is 0, no LayerNorm 1. Needs the `parity` extra.
"""

import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
transformers = pytest.importorskip("transformers")

import downstream  # noqa: E402
import pretraining  # noqa: E402
from bert_tf import BertModel  # noqa: E402
from tests.autodiff import dot, outputs_and_gradients  # noqa: E402
from tests.gradients_by_name import gradient_errors  # noqa: E402

pytestmark = pytest.mark.parity

BASE_WIDTH = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
NARROW = {"hidden_size": 96, "num_attention_heads": 6, "intermediate_size": 176}
OURS = {
    "BertModel": BertModel,
    "BertForPreTraining": pretraining.BertForPreTraining,
    "BertForMaskedLM": pretraining.BertForMaskedLM,
    "BertForNextSentencePrediction": pretraining.BertForNextSentencePrediction,
    "BertForSequenceClassification": downstream.BertForSequenceClassification,
    "BertForTokenClassification": downstream.BertForTokenClassification,
    "BertForQuestionAnswering": downstream.BertForQuestionAnswering,
}
HEADS = [name for name in OURS if name != "BertModel"]
LOGITS = ("prediction_logits", "logits", "seq_relationship_logits", "start_logits", "end_logits")


def random_torch_model(architecture, seed=0, **values):
    settings = {
        "vocab_size": 997,
        "num_hidden_layers": 3,
        "max_position_embeddings": 64,
        "num_labels": 2 if architecture == "BertForQuestionAnswering" else 5,
    }
    config = transformers.BertConfig(**(settings | NARROW | values))
    model = getattr(transformers, architecture)(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            kernel = parameter.ndim == 2 and "embeddings" not in name
            # A kernel keeps the size of its input; the rest moves well away from 0 and 1.
            scale = parameter.shape[-1] ** -0.5 if kernel else 0.3
            parameter.copy_(noise * scale + (1.0 if name.endswith("LayerNorm.weight") else 0.0))
    return model


def ragged_batch(config, seed=0, visible=(41, 7, 30, 1, 18)):
    """Int32 arrays (rows, tokens); row i shows its first `visible[i]` tokens.

    No id is 0: PyTorch's embedding of `padding_idx` 0 takes no gradient from its look-ups, even of a visible token.
    """
    rng = np.random.default_rng(seed)
    shape = len(visible), max(visible)
    return {
        "input_ids": rng.integers(1, config.vocab_size, shape).astype("int32"),
        "attention_mask": (np.arange(shape[1]) < np.array(visible)[:, None]).astype("int32"),
        "token_type_ids": rng.integers(0, config.type_vocab_size, shape).astype("int32"),
    }


def for_torch(inputs):
    return {name: torch.tensor(value, dtype=torch.long) for name, value in inputs.items()}


def named_logits(architecture, outputs):
    """The logits of transformers' output under our names."""
    if architecture == "BertForMaskedLM":
        return {"prediction_logits": outputs.logits}
    if architecture == "BertForNextSentencePrediction":
        return {"seq_relationship_logits": outputs.logits}
    return {name: outputs[name] for name in LOGITS if name in outputs}


def loss_weights(logits, attention_mask, seed):
    """The loss is Σ weight × logit: every logit at a visible token matters."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, values in logits.items():
        weights[name] = rng.normal(size=tuple(values.shape)).astype("float32")
        if values.shape[:2] == attention_mask.shape:
            weights[name] *= attention_mask.reshape(*attention_mask.shape, *[1] * (values.ndim - 2))
    return weights


def largest_difference(ours, theirs, mask=None):
    difference = np.abs(np.asarray(ours) - theirs.detach().numpy())
    return float((difference if mask is None else difference[mask.astype(bool)]).max())


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new"])
@pytest.mark.parametrize("type_vocab_size", [1, 2])
def test_hidden_states_of_every_layer_at_base_width(tmp_path, hidden_act, type_vocab_size, record_property):
    theirs = random_torch_model(
        "BertModel", num_hidden_layers=12, hidden_act=hidden_act, type_vocab_size=type_vocab_size, **BASE_WIDTH
    )
    theirs.save_pretrained(tmp_path)
    ours = BertModel.from_pretrained(tmp_path)
    inputs = ragged_batch(ours.config)
    with torch.no_grad():
        expected = theirs(**for_torch(inputs), output_hidden_states=True)
    outputs = ours(inputs, output_hidden_states=True)
    assert len(outputs["hidden_states"]) == len(expected.hidden_states) == 13
    differences = [
        largest_difference(a, b, inputs["attention_mask"])
        for a, b in zip(outputs["hidden_states"], expected.hidden_states, strict=True)
    ]
    differences.append(largest_difference(outputs["pooler_output"], expected.pooler_output))
    record_property("largest", max(differences))
    print(f"hidden states, {hidden_act}, {type_vocab_size} segments: {max(differences):.2e}")
    assert max(differences) <= 1e-5


@pytest.mark.parametrize(("hidden_act", "type_vocab_size"), [("gelu", 2), ("gelu_new", 1)])
@pytest.mark.parametrize("architecture", HEADS)
def test_logits_of_every_head(tmp_path, architecture, hidden_act, type_vocab_size):
    theirs = random_torch_model(architecture, hidden_act=hidden_act, type_vocab_size=type_vocab_size, **BASE_WIDTH)
    theirs.save_pretrained(tmp_path)
    ours = OURS[architecture].from_pretrained(tmp_path)
    inputs = ragged_batch(ours.config)
    with torch.no_grad():
        expected = theirs(**for_torch(inputs))
    outputs = ours(inputs)
    expected = named_logits(architecture, expected)
    assert sorted(outputs) == sorted(expected)
    for name in expected:
        mask = inputs["attention_mask"] if expected[name].shape[:2] == (5, 41) else None
        difference = largest_difference(outputs[name], expected[name], mask)
        print(f"{architecture} {name}, {hidden_act}: {difference:.2e}")
        assert difference <= 1e-4


@pytest.mark.parametrize(("hidden_act", "type_vocab_size"), [("gelu", 2), ("gelu_new", 1)])
@pytest.mark.parametrize("architecture", HEADS)
def test_gradients_of_the_loss_for_every_parameter(tmp_path, architecture, hidden_act, type_vocab_size):
    theirs = random_torch_model(architecture, hidden_act=hidden_act, type_vocab_size=type_vocab_size, **BASE_WIDTH)
    theirs.save_pretrained(tmp_path)
    ours = OURS[architecture].from_pretrained(tmp_path)
    inputs = ragged_batch(ours.config)
    logits = named_logits(architecture, theirs(**for_torch(inputs)))
    weights = loss_weights(logits, inputs["attention_mask"], seed=5)
    sum((logits[name] * torch.tensor(weight)).sum() for name, weight in weights.items()).backward()

    _, gradients, _ = outputs_and_gradients(ours, (inputs,), dot(weights))
    reference = {name: parameter.grad.numpy() for name, parameter in theirs.named_parameters()}
    errors = gradient_errors(ours, gradients, reference)
    worst = max(errors, key=errors.get)
    print(f"gradients, {architecture}, {hidden_act}: {errors[worst]:.1e} ({worst})")
    assert errors[worst] <= 1e-4


@pytest.mark.parametrize("architecture", OURS)
def test_transformers_opens_ours_with_no_missing_and_no_unexpected_key(tmp_path, architecture):
    theirs = random_torch_model(architecture)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = OURS[architecture].from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    again, report = getattr(transformers, architecture).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    before, after = theirs.state_dict(), again.state_dict()
    assert sorted(before) == sorted(after)
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
    before, after = theirs.config.to_dict(), again.config.to_dict()
    described = ("_name_or_path", "architectures", "transformers_version", "dtype")
    if architecture not in ("BertForSequenceClassification", "BertForTokenClassification"):
        described += ("id2label", "label2id")  # labels of a model that gives none
    for name in set(before) - set(described):
        assert after[name] == before[name] or (name, after[name]) == ("problem_type", "single_label_classification"), (
            name
        )
    inputs = for_torch(ragged_batch(ours.config))
    with torch.no_grad():
        first, second = theirs(**inputs), again.eval()(**inputs)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_vocabulary_padding_is_gone_when_transformers_opens_it(tmp_path):
    theirs = random_torch_model("BertForPreTraining")
    theirs.save_pretrained(tmp_path / "theirs")
    ours = OURS["BertForPreTraining"].from_pretrained(tmp_path / "theirs", pad_vocab_size_multiple_of=64)
    assert ours.bert.embeddings.word_embeddings.embeddings.shape == (1024, 96)  # 997 words
    inputs = ragged_batch(ours.config)
    with torch.no_grad():
        expected = named_logits("BertForPreTraining", theirs(**for_torch(inputs)))
    outputs = ours(inputs)
    assert (
        largest_difference(outputs["prediction_logits"], expected["prediction_logits"], inputs["attention_mask"]) < 1e-4
    )
    ours.save_pretrained(tmp_path / "ours")
    again, report = transformers.BertForPreTraining.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    assert again.config.vocab_size == 997
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in theirs.state_dict().items())


@pytest.mark.parametrize("architecture", ["BertForPreTraining", "BertForMaskedLM"])
def test_tied_embeddings_stay_tied(tmp_path, architecture):
    theirs = random_torch_model(architecture)
    theirs.save_pretrained(tmp_path / "theirs")
    OURS[architecture].from_pretrained(tmp_path / "theirs").save_pretrained(tmp_path / "ours")
    again = getattr(transformers, architecture).from_pretrained(tmp_path / "ours")
    words = again.bert.embeddings.word_embeddings.weight
    assert again.cls.predictions.decoder.weight.data_ptr() == words.data_ptr()
    assert again.cls.predictions.decoder.bias.data_ptr() == again.cls.predictions.bias.data_ptr()
    assert torch.equal(words, theirs.bert.embeddings.word_embeddings.weight)
