"""Models saved and opened again: the Hugging Face directory, Keras' own file, and the layers' configurations.

What is in the file is compared with parameters made by Hugging Face name in PyTorch's orientation (`small_bert`), which
the NumPy BERT computes with: a wrong name, a missing transposition or query and key exchanged cannot pass.
"""

import json
import os
import re

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bert_tf import BertConfig, BertModel, InputError
from bert_tf.attention import MultiHeadAttention, RelativePositionBias
from bert_tf.embeddings import BertEmbeddings
from bert_tf.encoder import EncoderBlock, FeedForward
from bert_tf.pretrained import PretrainedModel
from pretraining import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
from tests import small_bert
from tests.autodiff import outputs_of
from tests.small_bert import batch, below, parameters, small_config


def refused(sentence):
    return pytest.raises(InputError, match="^" + re.escape(sentence))


def filled_encoder(config):
    """A BertModel and the parameters in it, by Hugging Face name."""
    p = {name: value for name, value in parameters(config).items() if not name.startswith("cls.")}
    model = BertModel(config)
    small_bert.assign(model, small_bert.encoder_layout(p, config))
    return model, p


def values_of(model):
    return {
        below(model, variable): np.array(keras.ops.convert_to_numpy(variable.value))
        for variable in model.trainable_variables
    }


def assert_same_variables(model, other):
    values, others = values_of(model), values_of(other)
    assert sorted(values) == sorted(others)
    for path, value in values.items():
        np.testing.assert_array_equal(value, others[path], err_msg=path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The directory of a filled encoder, its model and its parameters."""
    folder = tmp_path_factory.mktemp("saved")
    model, p = filled_encoder(small_config())
    model.save_pretrained(folder)
    return folder, model, p


def edited(saved, folder, edit):
    """A copy of the saved directory with the dictionary of its tensors changed by `edit`."""
    tensors = load_file(saved[0] / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_bytes((saved[0] / "config.json").read_bytes())
    return folder


# The Hugging Face directory


@pytest.mark.parametrize("positions", ["absolute", "sinusoidal", "relative"])
def test_encoder_directory(tmp_path, positions):
    """Names and values in the file are Hugging Face's; opened again, every variable and the outputs are the same."""
    config = small_config(position_embedding_type=positions, hidden_act="gelu_new", layer_norm_eps=1e-5)
    model, p = filled_encoder(config)
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    tensors = load_file(tmp_path / "model.safetensors")
    assert sorted(tensors) == sorted(p)
    for name, value in p.items():
        np.testing.assert_array_equal(tensors[name], value.astype("float32"), err_msg=name)
    values = json.loads((tmp_path / "config.json").read_text())
    assert (values["architectures"], values["model_type"]) == (["BertModel"], "bert")
    assert {name: values[name] for name in config.to_dict()} == config.to_dict()

    again = BertModel.from_pretrained(tmp_path)
    assert again.config == config
    assert_same_variables(model, again)
    inputs = batch(config)
    np.testing.assert_array_equal(
        outputs_of(model, inputs)["pooler_output"], outputs_of(again, inputs)["pooler_output"]
    )


@pytest.mark.parametrize("cls", [BertForPreTraining, BertForMaskedLM, BertForNextSentencePrediction])
def test_pretraining_directory(tmp_path, cls):
    config = small_config(type_vocab_size=1)
    p = parameters(config)
    model = cls(config)
    layout = small_bert.pretraining_layout(p, config)
    small_bert.assign(model, {path: layout[path] for path in values_of(model)})
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    expected = {name if name.startswith("cls.") else f"bert.{name}": value for name, value in p.items()}
    unused = {BertForMaskedLM: ("bert.pooler.", "cls.seq"), BertForNextSentencePrediction: ("cls.predictions.",)}
    expected = {name: value for name, value in expected.items() if not name.startswith(unused.get(cls, ()))}
    assert sorted(tensors) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(tensors[name], value.astype("float32"), err_msg=name)
    assert_same_variables(model, cls.from_pretrained(tmp_path))


@pytest.mark.parametrize("cls", [BertModel, BertForPreTraining, BertForMaskedLM])
def test_padding_of_the_vocabulary_is_in_no_directory(tmp_path, cls):
    """The files are byte for byte those of the unpadded model; opened with padding, the words are those of the file."""
    model = cls(small_config())
    model.save_pretrained(tmp_path / "plain")
    padded = cls.from_pretrained(tmp_path / "plain", pad_vocab_size_multiple_of=16)
    (words,) = [value for path, value in values_of(padded).items() if path.endswith("word_embeddings/embeddings")]
    assert words.shape == (64, 24)
    assert not words[61:].any()
    padded.save_pretrained(tmp_path / "padded")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "padded" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    padded.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_variables(padded, again)
    again.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        tmp_path / "plain" / "model.safetensors"
    ).read_bytes()


def test_encoder_out_of_a_pretrained_model(tmp_path):
    """The tensors of the heads are left; an encoder without pooler leaves that one too."""
    config = small_config()
    model = BertForPreTraining(config)
    small_bert.assign(model, small_bert.pretraining_layout(parameters(config), config))
    model.save_pretrained(tmp_path)
    assert_same_variables(model.bert, BertModel.from_pretrained(tmp_path))
    bare = BertModel.from_pretrained(tmp_path, add_pooling_layer=False)
    assert bare.pooler is None
    for path, value in values_of(bare).items():
        np.testing.assert_array_equal(value, values_of(model.bert)[path], err_msg=path)


def test_weight_table_holds_every_parameter_once(saved):
    _, model, _ = saved
    places = model.weight_table().values()
    assert sum(int(np.prod(place.shape)) for place in places) == model.count_params()
    spots = [(place.variable.path, place.third) for place in places]
    assert len(set(spots)) == len(spots)
    assert {place.variable.path for place in places} == {variable.path for variable in model.trainable_variables}


def test_options_of_opening(saved):
    """Another dropout, another precision: the weights are the same."""
    folder, model, _ = saved
    again = BertModel.from_pretrained(
        folder, dtype="mixed_bfloat16", config_changes={"hidden_dropout_prob": 0.0}, add_pooling_layer=True
    )
    assert again.config == model.config.replace(hidden_dropout_prob=0.0)
    assert again.dtype_policy.name == "mixed_bfloat16"
    assert again.blocks[0].feed_forward.intermediate.compute_dtype == "bfloat16"
    assert_same_variables(model, again)
    with refused("replace() has the unknown key 'hidden_dropout'; the nearest known key is 'hidden_dropout_prob'"):
        BertModel.from_pretrained(folder, config_changes={"hidden_dropout": 0.0})


def test_half_precision_file(tmp_path, saved):
    """bfloat16 keeps 8 bits: each value is the nearest of them. Another type is refused."""
    _, model, p = saved
    model.save_pretrained(tmp_path, dtype="bfloat16")
    again = values_of(BertModel.from_pretrained(tmp_path))
    for path, value in small_bert.encoder_layout(p, model.config).items():
        np.testing.assert_allclose(again[path], value, rtol=2**-8)
    with refused("dtype must be one of float32, float16, bfloat16, got 'int8'"):
        model.save_pretrained(tmp_path, dtype="int8")


# What does not fit is listed, all of it


def test_missing_tensors(tmp_path, saved):
    gone = ("embeddings.LayerNorm.bias", "encoder.layer.1.attention.self.key.weight", "pooler.dense.bias")
    folder = edited(saved, tmp_path, lambda tensors: [tensors.pop(name) for name in gone])
    with refused(
        f"{folder} does not fit BertModel: 3 tensors are missing: bert.embeddings.LayerNorm.bias, "
        "bert.encoder.layer.1.attention.self.key.weight, bert.pooler.dense.bias"
    ):
        BertModel.from_pretrained(folder)


def test_missing_pooler(tmp_path, saved):
    """Allowed when asked for: the pooler is fresh, everything else is read."""
    folder = edited(
        saved, tmp_path, lambda tensors: [tensors.pop(f"pooler.dense.{part}") for part in ("weight", "bias")]
    )
    with refused(
        f"{folder} does not fit BertModel: 2 tensors are missing: bert.pooler.dense.weight, bert.pooler.dense.bias; "
        "pass allow_missing_head=True to begin with a fresh head"
    ):
        BertModel.from_pretrained(folder)
    again, before = values_of(BertModel.from_pretrained(folder, allow_missing_head=True)), values_of(saved[1])
    for path, value in again.items():
        assert np.array_equal(value, before[path]) != path.startswith("pooler/"), path


def test_missing_encoder_tensor_is_never_allowed(tmp_path, saved):
    folder = edited(saved, tmp_path, lambda tensors: tensors.pop("encoder.layer.0.output.dense.bias"))
    with refused(f"{folder} does not fit BertModel: 1 tensors are missing: bert.encoder.layer.0.output.dense.bias"):
        BertModel.from_pretrained(folder, allow_missing_head=True)


def test_unexpected_tensors(tmp_path, saved):
    def edit(tensors):
        tensors["encoder.layer.3.output.dense.bias"] = np.zeros(24, "float32")
        tensors["encoder.layer.0.adapter.weight"] = np.zeros(3, "float32")

    folder = edited(saved, tmp_path, edit)
    with pytest.raises(InputError, match="does not fit BertModel: 2 tensors are unexpected: ") as caught:
        BertModel.from_pretrained(folder)
    assert "bert.encoder.layer.3.output.dense.bias" in str(caught.value)
    assert "bert.encoder.layer.0.adapter.weight" in str(caught.value)


def test_every_trouble_at_once(tmp_path, saved):
    def edit(tensors):
        tensors["embeddings.word_embeddings.weight"] = np.zeros((60, 24), "float32")
        name = "encoder.layer.2.intermediate.dense.weight"
        tensors[name] = np.ascontiguousarray(tensors[name].T)
        tensors["encoder.layer.2.output.dense.bia"] = tensors.pop("encoder.layer.2.output.dense.bias")

    folder = edited(saved, tmp_path, edit)
    with refused(
        f"{folder} does not fit BertModel: 1 tensors are missing: bert.encoder.layer.2.output.dense.bias; "
        "1 tensors are unexpected: bert.encoder.layer.2.output.dense.bia; "
        "2 tensors are misshapen: bert.embeddings.word_embeddings.weight is (60, 24), expected (61, 24), "
        "bert.encoder.layer.2.intermediate.dense.weight is (24, 40), expected (40, 24)"
    ):
        BertModel.from_pretrained(folder)


@pytest.mark.parametrize("damage", ["cut", "header", "empty"])
def test_damaged_file(tmp_path, saved, damage):
    folder = edited(saved, tmp_path, lambda tensors: None)
    content = bytearray((folder / "model.safetensors").read_bytes())
    if damage == "header":
        content[10] ^= 0xFF
    (folder / "model.safetensors").write_bytes({"cut": content[:-100], "header": content, "empty": b""}[damage])
    with refused(f"{folder / 'model.safetensors'} is damaged ("):
        BertModel.from_pretrained(folder)


def test_full_disk_keeps_the_saved_model(tmp_path, saved, monkeypatch):
    folder = edited(saved, tmp_path, lambda tensors: None)
    before = (folder / "model.safetensors").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with refused(f"cannot write {folder / 'model.safetensors'}: No space left on device"):
        BertModel(small_config()).save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == before


def test_a_quantized_model_is_not_saved_as_if_it_were_float(tmp_path):
    """Keras keeps int8 kernels and scales; without the scales the kernels would say nothing."""
    model = BertModel(small_config(num_hidden_layers=1))
    inputs = batch(model.config)
    before = outputs_of(model, inputs)["pooler_output"]
    with pytest.warns(UserWarning, match="does not have a `quantize` method"):
        model.quantize("int8")
    after = outputs_of(model, inputs)["pooler_output"]
    assert np.linalg.norm(after - before) < 0.05 * np.linalg.norm(before)
    with refused(
        "bert/embeddings/word_embeddings/embeddings is int8: a quantized model cannot be saved in this format"
    ):
        model.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"attention/qkv is quantized \(int8\) and cannot be trained; train it, then"):
        model(inputs, training=True)


def test_a_model_takes_a_configuration():
    with refused("BertModel takes a BertConfig, got dict"):
        BertModel({"hidden_size": 24})
    with refused("BertForPreTraining takes a BertConfig, got str"):
        BertForPreTraining("bert-tiny")
    with pytest.raises(TypeError, match=r"abstract class PretrainedModel .*weight_table"):
        PretrainedModel(small_config())


# Keras' own file


@pytest.mark.parametrize("positions", ["absolute", "relative"])
def test_keras_file(tmp_path, positions):
    model, _ = filled_encoder(small_config(position_embedding_type=positions))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert (type(again), again.config) == (BertModel, model.config)
    assert_same_variables(model, again)


def test_keras_file_of_a_pretraining_model(tmp_path):
    """With the precision and the optimizer too."""
    config = small_config(num_hidden_layers=1)
    model = BertForPreTraining(config, dtype="mixed_bfloat16")
    small_bert.assign(model, small_bert.pretraining_layout(parameters(config), config))
    model.compile(optimizer="adam", loss={"seq_relationship_logits": "mse"})
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.dtype_policy.name == "mixed_bfloat16"
    assert again.bert.blocks[0].attention.qkv.compute_dtype == "bfloat16"
    assert isinstance(again.optimizer, keras.optimizers.Adam)
    assert_same_variables(model, again)


def test_keras_file_without_pooler(tmp_path):
    model = BertModel(small_config(num_hidden_layers=1), add_pooling_layer=False, name="mine")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert (again.name, again.pooler) == ("mine", None)
    assert_same_variables(model, again)


def test_keras_weights(tmp_path):
    model, _ = filled_encoder(small_config())
    model.save_weights(tmp_path / "model.weights.h5")
    again = BertModel(BertConfig.from_dict(model.config.to_dict()))
    again.load_weights(tmp_path / "model.weights.h5")
    assert_same_variables(model, again)


# Configurations of layers

LAYERS = {
    "attention": lambda **policy: MultiHeadAttention(3, 24, 0.3, 0.05, **policy),
    "relative": lambda **policy: RelativePositionBias(3, 12, 9, 0.05, **policy),
    "feed_forward": lambda **policy: FeedForward(24, 40, "gelu_new", 0.05, **policy),
    "block": lambda **policy: EncoderBlock(24, 3, 40, "silu", 0.3, 0.2, 0.05, 1e-5, **policy),
    "embeddings": lambda **policy: BertEmbeddings(61, 24, 19, 1, 0.3, 0.05, 1e-5, "sinusoidal", 8, **policy),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_config_round_trip(name):
    """A layer made again from its configuration has the same settings and the same variables."""
    layer = LAYERS[name](dtype="mixed_bfloat16", name="one")
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.dtype_policy.name == "mixed_bfloat16"
    layer.build()
    again.build()
    shapes, shapes_again = ({below(x, v): v.shape for v in x.trainable_variables} for x in (layer, again))
    assert shapes_again == shapes
    settings = {key: value for key, value in layer.get_config().items() if key not in ("name", "trainable", "dtype")}
    assert all(getattr(layer, key) == value for key, value in settings.items())
    assert len(settings) >= 4
