"""Checkpoints in: each format gives the same canonical tensors and settings, and what does not fit gets a sentence."""

import fnmatch
import json
import sys
import types

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from bert_tf import BertModel, InputError
from bert_tf.checkpoint_values import canonical_name
from bert_tf.checkpoints import model_directory, read_checkpoint
from bert_tf.checkpoints_tf1 import hugging_face_name
from downstream import BertForQuestionAnswering, BertForSequenceClassification
from pretraining import BertForMaskedLM, BertForPreTraining
from tests import numpy_bert
from tests.checkpoint_files import (
    CONFIG,
    dense_tensors,
    encoder_tensors,
    hugging_face_tensors,
    small_config,
    tf1_arrays,
    tf1_name,
    write_hugging_face,
    write_keras_hub,
    write_shards,
    write_tf1,
)
from tests.small_bert import batch, parameters


def assert_same(tensors, expected):
    assert sorted(tensors) == sorted(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(tensors[name], tensor, err_msg=name, strict=True)


def assert_computes(model, hidden_act="gelu"):
    """The encoder equals the NumPy BERT with these parameters and that activation, and not with the other."""
    inputs = batch(small_config())
    config = small_config(hidden_act=hidden_act)
    expected, _ = numpy_bert.bert(parameters(config), config, *inputs.values())
    outputs = model.bert(inputs) if hasattr(model, "bert") else model(inputs)
    for name in ("last_hidden_state", "pooler_output"):
        np.testing.assert_allclose(outputs[name], expected[name], atol=1e-5)
    other = small_config(hidden_act="gelu_new" if hidden_act == "gelu" else "gelu")
    other, _ = numpy_bert.bert(parameters(other), other, *inputs.values())
    assert np.abs(np.asarray(outputs["last_hidden_state"]) - other["last_hidden_state"]).max() > 1e-4


# Hugging Face


def test_a_directory_in_shards_reads_as_one_file(tmp_path):
    tensors = hugging_face_tensors()
    whole = read_checkpoint(write_hugging_face(tmp_path / "whole", "BertForPreTraining", tensors))
    shards = read_checkpoint(write_shards(tmp_path / "shards", "BertForPreTraining", tensors))
    assert_same(whole.tensors, tensors)
    assert_same(shards.tensors, tensors)
    assert shards.kind == "Hugging Face directory"
    assert shards.values == {"architectures": ["BertForPreTraining"], **CONFIG}


def test_a_missing_shard_is_named(tmp_path):
    folder = write_shards(tmp_path / "m", "BertForPreTraining", hugging_face_tensors())
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match=r"names model-00002-of-00002\.safetensors, which is not there; copy every"):
        read_checkpoint(folder)


def test_an_index_without_a_map_stops(tmp_path):
    folder = write_shards(tmp_path / "m", "BertForPreTraining", hugging_face_tensors())
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(InputError, match="has no weight_map"):
        read_checkpoint(folder)


def test_a_tensor_that_two_shards_hold_stops(tmp_path):
    tensors = hugging_face_tensors()
    folder = write_shards(tmp_path / "m", "BertForPreTraining", tensors)
    save_file(tensors, folder / "model-00001-of-00002.safetensors")
    with pytest.raises(InputError, match=r"00002-of-00002.safetensors holds .*, which stands in .* already"):
        read_checkpoint(folder)


def test_a_damaged_file_stops(tmp_path):
    folder = write_hugging_face(tmp_path / "m", "BertModel", encoder_tensors())
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-7])
    with pytest.raises(InputError, match=r"model\.safetensors is damaged .*; restore it or make it again"):
        read_checkpoint(folder)


def test_a_file_without_tensors_stops(tmp_path):
    folder = write_hugging_face(tmp_path / "m", "BertModel", {})
    with pytest.raises(InputError, match=rf"^{folder} holds no tensors of a model; copy"):
        read_checkpoint(folder)


@pytest.mark.parametrize("dtype", ["int8", "bool", "complex64"])
def test_tensors_that_are_no_floats_stop(tmp_path, dtype):
    tensors = encoder_tensors()
    tensors["bert.pooler.dense.weight"] = tensors["bert.pooler.dense.weight"].astype(dtype)
    folder = write_hugging_face(tmp_path / "m", "BertModel", tensors)
    with pytest.raises(InputError, match=rf"^{folder} holds bert\.pooler\.dense\.weight as {dtype}, expected float32"):
        read_checkpoint(folder)


def test_eight_bit_floats_stop(tmp_path):
    """Written by hand, as NumPy's writer has no such type."""
    folder = write_hugging_face(tmp_path / "m", "BertModel", {})
    header = b'{"bert.pooler.dense.bias":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(InputError, match=r"model\.safetensors holds float8_e4m3fn numbers, expected float32, float64"):
        read_checkpoint(folder)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_floats_keep_their_bits_and_the_model_computes_in_float32(tmp_path, dtype):
    half = {name: tensor.astype(dtype) for name, tensor in encoder_tensors().items()}
    folder = write_hugging_face(tmp_path / "m", "BertModel", half)
    assert_same(read_checkpoint(folder).tensors, half)
    model = BertModel.from_pretrained(folder)
    name = "encoder.layer.2.intermediate.dense.weight"
    written = model.weight_table()[name].read()
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written, half[f"bert.{name}"].astype(np.float32))


def test_a_bare_encoder_and_the_old_spelling_of_layer_norm_read_alike(tmp_path):
    old = {
        name.removeprefix("bert.")
        .replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in encoder_tensors().items()
    }
    assert "embeddings.LayerNorm.gamma" in old
    checkpoint = read_checkpoint(write_hugging_face(tmp_path / "m", "BertModel", old))
    assert_same(checkpoint.tensors, encoder_tensors())
    assert_computes(BertModel.from_pretrained(tmp_path / "m"))
    assert canonical_name("classifier.weight") == "classifier.weight"


def test_buffers_and_tied_copies_are_passed_over(tmp_path):
    tensors = hugging_face_tensors()
    more = tensors | {
        "bert.embeddings.position_ids": np.arange(19)[None],
        "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"],
        "cls.predictions.decoder.bias": tensors["cls.predictions.bias"],
    }
    checkpoint = read_checkpoint(write_hugging_face(tmp_path / "m", "BertForPreTraining", more))
    assert_same(checkpoint.tensors, tensors)
    assert sorted(checkpoint.passed_over) == sorted(set(more) - set(tensors))


def test_a_bias_that_only_the_decoder_has_is_the_bias(tmp_path):
    tensors = hugging_face_tensors()
    renamed = tensors | {"cls.predictions.decoder.bias": tensors["cls.predictions.bias"]}
    del renamed["cls.predictions.bias"]
    checkpoint = read_checkpoint(write_hugging_face(tmp_path / "m", "BertForPreTraining", renamed))
    assert_same(checkpoint.tensors, tensors)


def test_an_untied_decoder_stops(tmp_path):
    tensors = hugging_face_tensors()
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"] + 1
    folder = write_hugging_face(tmp_path / "m", "BertForPreTraining", tensors)
    with pytest.raises(InputError, match=r"cls\.predictions\.decoder\.weight differs from bert\.embeddings\.word"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "here"),
    [("gelu_python", "gelu"), ("gelu_fast", "gelu_new"), ("gelu_pytorch_tanh", "gelu_new"), ("swish", "silu")],
)
def test_other_names_of_an_activation(tmp_path, name, here):
    folder = write_hugging_face(tmp_path / "m", "BertModel", encoder_tensors(), hidden_act=name)
    assert BertModel.from_pretrained(folder).config.hidden_act == here


def test_settings_of_the_file_reach_the_model(tmp_path):
    tensors = hugging_face_tensors(type_vocab_size=1) | dense_tensors("classifier", 3)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("cls.")}
    values = {"type_vocab_size": 1, "layer_norm_eps": 1e-3, "hidden_act": "gelu_new"}
    folder = write_hugging_face(
        tmp_path / "m", "BertForSequenceClassification", tensors, id2label={"0": "x", "1": "y", "2": "z"}, **values
    )
    model = BertForSequenceClassification.from_pretrained(folder)
    assert model.labels == ("x", "y", "z")
    config = small_config(**values)
    inputs = batch(config)
    expected, _ = numpy_bert.bert(parameters(config), config, *inputs.values())
    logits = expected["pooler_output"] @ tensors["classifier.weight"].T + tensors["classifier.bias"]
    np.testing.assert_allclose(model(inputs)["logits"], logits, atol=1e-5)


# Loading is all or explained


def test_a_stray_tensor_beside_a_head_is_listed(tmp_path):
    tensors = encoder_tensors() | dense_tensors("classifier", 2)
    tensors["classifier.extra.weight"] = np.zeros(3, "float32")
    folder = write_hugging_face(tmp_path / "m", "BertForSequenceClassification", tensors)
    with pytest.raises(InputError, match=r"1 tensors are unexpected: classifier\.extra\.weight"):
        BertForSequenceClassification.from_pretrained(folder)
    BertModel.from_pretrained(folder)  # without that head they are another model's


def test_a_head_of_another_size_starts_fresh_only_when_allowed(tmp_path):
    tensors = encoder_tensors() | dense_tensors("classifier", 2)
    folder = write_hugging_face(tmp_path / "m", "BertForSequenceClassification", tensors)
    with pytest.raises(InputError, match=r"classifier\.weight is \(2, 24\), expected \(3, 24\).*; pass allow_missing"):
        BertForSequenceClassification.from_pretrained(folder, labels=["x", "y", "z"])
    model = BertForSequenceClassification.from_pretrained(folder, labels=["x", "y", "z"], allow_missing_head=True)
    assert model.weight_table()["classifier.weight"].shape == (3, 24)
    assert_computes(model)


# Google's TF1


def test_tf1_names():
    for name in hugging_face_tensors():
        assert hugging_face_name(tf1_name(name)) == name
    assert hugging_face_name("cls/squad/output_weights") == "qa_outputs.weight"
    assert hugging_face_name("output_bias") == "classifier.bias"
    assert hugging_face_name("something/else") == "something.else"


def test_a_tf1_checkpoint_reads_whole(tmp_path):
    tensors = hugging_face_tensors()
    folder = write_tf1(tmp_path / "m", tf1_arrays(tensors))
    checkpoint = read_checkpoint(folder)
    assert_same(checkpoint.tensors, tensors)
    assert checkpoint.config_path == folder / "bert_config.json"
    assert len(checkpoint.passed_over) == 2 * len(tensors) + 1  # two slots each, and global_step
    assert_computes(BertForPreTraining.from_pretrained(folder))
    assert_computes(BertForPreTraining.from_pretrained(folder, config_changes={"hidden_act": "gelu_new"}), "gelu_new")


def test_heads_of_fine_tuned_tf1_checkpoints(tmp_path):
    encoder = tf1_arrays(encoder_tensors())
    three, two = dense_tensors("classifier", 3), dense_tensors("qa_outputs", 2)
    folder = write_tf1(
        tmp_path / "c",
        encoder | {"output_weights": three["classifier.weight"], "output_bias": three["classifier.bias"]},
    )
    model = BertForSequenceClassification.from_pretrained(folder)
    assert model.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    np.testing.assert_array_equal(model.weight_table()["classifier.weight"].read(), three["classifier.weight"])
    squad = {
        f"cls/squad/output_{part}": two[f"qa_outputs.{ours}"]
        for part, ours in (("weights", "weight"), ("bias", "bias"))
    }
    model = BertForQuestionAnswering.from_pretrained(write_tf1(tmp_path / "q", encoder | squad))
    np.testing.assert_array_equal(model.weight_table()["qa_outputs.bias"].read(), two["qa_outputs.bias"])


def test_a_variable_that_bert_does_not_have_is_listed(tmp_path):
    folder = write_tf1(tmp_path / "m", tf1_arrays(hugging_face_tensors()) | {"bert/extra/kernel": np.zeros((2, 3))})
    with pytest.raises(InputError, match=r"1 tensors are unexpected: bert\.extra\.weight"):
        BertForPreTraining.from_pretrained(folder)


def test_one_of_several_tf1_checkpoints(tmp_path):
    old = hugging_face_tensors(seed=8)
    write_tf1(tmp_path / "m", tf1_arrays(old), prefix="model.ckpt-5")
    folder = write_tf1(tmp_path / "m", tf1_arrays(hugging_face_tensors()), prefix="model.ckpt-10")
    with pytest.raises(
        InputError, match=r"holds 2 checkpoints \(model\.ckpt-10, model\.ckpt-5\); give the one to read"
    ):
        read_checkpoint(folder)
    assert_same(read_checkpoint(folder / "model.ckpt-5").tensors, old)
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "/elsewhere/model.ckpt-10"\nall_model_checkpoint_paths: "x"\n'
    )
    assert_same(read_checkpoint(folder).tensors, hugging_face_tensors())


def test_a_tf1_checkpoint_that_is_not_whole_stops(tmp_path):
    folder = write_tf1(tmp_path / "m", tf1_arrays(hugging_face_tensors()))
    (folder / "bert_model.ckpt.data-00000-of-00001").unlink()
    with pytest.raises(InputError, match=r"bert_model\.ckpt is damaged or not whole .*; copy its \.index and \.data"):
        read_checkpoint(folder)


def test_a_tf1_checkpoint_without_configuration_stops(tmp_path):
    folder = write_tf1(tmp_path / "m", tf1_arrays(hugging_face_tensors()))
    (folder / "bert_config.json").unlink()
    with pytest.raises(InputError, match=r"bert_config\.json does not exist"):
        read_checkpoint(folder)


def test_a_tf1_checkpoint_without_tensorflow(tmp_path, monkeypatch):
    folder = write_tf1(tmp_path / "m", tf1_arrays(hugging_face_tensors()))
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # import tensorflow raises ImportError
    with pytest.raises(InputError, match=r"which tensorflow reads, and tensorflow is not installed; convert it where"):
        read_checkpoint(folder)


# KerasHub


def test_a_keras_hub_backbone(tmp_path):
    checkpoint = read_checkpoint(write_keras_hub(tmp_path / "m", encoder_tensors()))
    assert_same(checkpoint.tensors, encoder_tensors())
    assert checkpoint.values["attention_probs_dropout_prob"] == 0.1
    assert_computes(BertModel.from_pretrained(tmp_path / "m"), "gelu_new")


def test_a_keras_hub_classifier(tmp_path):
    head = dense_tensors("classifier", 3)
    arrays = {"dense/vars/0": head["classifier.weight"].T, "dense/vars/1": head["classifier.bias"]}
    task = {"class_name": "BertTextClassifier", "config": {"num_classes": 3}}
    checkpoint = read_checkpoint(write_keras_hub(tmp_path / "m", encoder_tensors(), arrays, task))
    assert_same(checkpoint.tensors, encoder_tensors() | head)
    assert len(BertForSequenceClassification.from_pretrained(tmp_path / "m").labels) == 3


def test_a_keras_hub_masked_lm(tmp_path):
    tensors = {name: tensor for name, tensor in hugging_face_tensors().items() if "seq_relationship" not in name}
    name = "cls.predictions.transform"
    arrays = {
        "masked_lm_head/_intermediate_dense/vars/0": tensors[f"{name}.dense.weight"].T,
        "masked_lm_head/_intermediate_dense/vars/1": tensors[f"{name}.dense.bias"],
        "masked_lm_head/_intermediate_layer_norm/vars/0": tensors[f"{name}.LayerNorm.weight"],
        "masked_lm_head/_intermediate_layer_norm/vars/1": tensors[f"{name}.LayerNorm.bias"],
        "masked_lm_head/vars/0": tensors["cls.predictions.bias"],
    }
    checkpoint = read_checkpoint(write_keras_hub(tmp_path / "m", tensors, arrays, {"class_name": "BertMaskedLM"}))
    assert_same(checkpoint.tensors, tensors)
    BertForMaskedLM.from_pretrained(tmp_path / "m")


def test_arrays_of_a_preset_that_bert_does_not_have_are_listed(tmp_path):
    arrays = {"odd/vars/0": np.zeros(2, "float32")}
    write_keras_hub(tmp_path / "m", encoder_tensors(), arrays, {"class_name": "OtherTask"})
    with pytest.raises(InputError, match="1 tensors are unexpected: OtherTask/odd/vars/0"):
        BertModel.from_pretrained(tmp_path / "m")


def test_a_preset_of_another_architecture_stops(tmp_path):
    folder = write_keras_hub(tmp_path / "m", encoder_tensors())
    (folder / "config.json").write_text(json.dumps({"class_name": "GemmaBackbone", "config": {}}))
    with pytest.raises(InputError, match="is a preset of 'GemmaBackbone', expected a BertBackbone"):
        read_checkpoint(folder)


@pytest.mark.parametrize("name", ["num_heads", "dropout"])
def test_a_preset_that_lacks_a_setting_stops(tmp_path, name):
    folder = write_keras_hub(tmp_path / "m", encoder_tensors())
    saved = json.loads((folder / "config.json").read_text())
    del saved["config"][name]
    (folder / "config.json").write_text(json.dumps(saved))
    with pytest.raises(InputError, match=rf"config\.json lacks {name} in its config; save the preset again"):
        read_checkpoint(folder)
    (folder / "config.json").write_text('{"class_name": "BertBackbone"}')
    with pytest.raises(InputError, match=r"lacks vocabulary_size, .*, num_segments, dropout in its config"):
        read_checkpoint(folder)


def test_a_preset_whose_task_lacks_its_classes_stops(tmp_path):
    folder = write_keras_hub(tmp_path / "m", encoder_tensors(), {}, {"class_name": "BertTextClassifier", "config": {}})
    with pytest.raises(InputError, match=r"task\.json lacks num_classes in its config"):
        read_checkpoint(folder)
    (folder / "task.json").write_text("{}")
    assert_same(read_checkpoint(folder).tensors, encoder_tensors())


def test_a_damaged_preset_stops(tmp_path):
    folder = write_keras_hub(tmp_path / "m", encoder_tensors())
    (folder / "model.weights.h5").write_bytes(b"no h5")
    with pytest.raises(InputError, match=r"model\.weights\.h5 is damaged"):
        read_checkpoint(folder)


# What is not a checkpoint, and names that are fetched

OTHER_WEIGHTS = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "rust_model.ot")


@pytest.mark.parametrize(
    ("name", "what", "option"),
    [
        ("pytorch_model.bin", "a pickle", ""),
        ("tf_model.h5", "the weights of a TensorFlow model of transformers 4", ", from_tf=True"),
        ("flax_model.msgpack", "the weights of a Flax model", ", from_flax=True"),
    ],
)
def test_weights_that_stay_closed(tmp_path, name, what, option):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=rf"holds {name}, {what}.*{option}\)\.save_pretrained\(\"NEW_FOLDER\"\)"):
        read_checkpoint(tmp_path)


def test_a_folder_without_checkpoint_and_no_folder(tmp_path):
    with pytest.raises(InputError, match=r"holds no checkpoint; expected config\.json with model\.safetensors"):
        read_checkpoint(tmp_path)
    with pytest.raises(InputError, match=r"no model directory at .*/nowhere; expected a folder"):
        read_checkpoint(tmp_path / "nowhere")


def test_the_output_of_a_run_is_its_model(tmp_path):
    write_hugging_face(tmp_path / "run" / "model", "BertModel", encoder_tensors())
    (tmp_path / "run" / "config.json").write_text('{"steps": 10}')
    assert model_directory(tmp_path / "run") == tmp_path / "run" / "model"
    assert_same(read_checkpoint(tmp_path / "run").tensors, encoder_tensors())


@pytest.mark.parametrize(
    ("name", "revision"), [("owner/some-bert", None), ("some-bert", None), ("owner/some-bert@v1.2", "v1.2")]
)
def test_a_hub_id_is_fetched_through_huggingface_hub(tmp_path, monkeypatch, name, revision):
    write_hugging_face(tmp_path / "snapshot", "BertModel", encoder_tensors())

    def snapshot_download(repository, revision=None, allow_patterns=None):
        asked.append((repository, revision, "*.safetensors" in allow_patterns))
        assert not any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns for name in OTHER_WEIGHTS)
        return str(tmp_path / "snapshot")

    asked = []
    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    monkeypatch.chdir(tmp_path)
    assert_same(read_checkpoint(name).tensors, encoder_tensors())
    assert asked == [(name.partition("@")[0], revision, True)]


def test_a_hub_repository_without_readable_weights(tmp_path, monkeypatch):
    (tmp_path / "snapshot").mkdir()
    hub = types.SimpleNamespace(snapshot_download=lambda *_, **__: str(tmp_path / "snapshot"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"owner/bert on the Hugging Face hub has no model\.safetensors"):
        read_checkpoint("owner/bert")


def test_a_local_folder_comes_before_the_hub(tmp_path, monkeypatch):
    write_hugging_face(tmp_path / "owner" / "some-bert", "BertModel", encoder_tensors())
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    assert_same(read_checkpoint("owner/some-bert").tensors, encoder_tensors())


def test_a_name_that_the_hub_does_not_have(tmp_path, monkeypatch):
    def snapshot_download(*_, **__):
        raise OSError("\n404: no such repository\nmore lines")

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"no model directory at owner/bert, and fetching it as a Hugging Face hub id fa.*404"
    ):
        read_checkpoint("owner/bert")


def test_without_huggingface_hub_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"at owner/bert, .*hub id the package huggingface_hub is needed.*bert-tf\[hub\]"
    ):
        read_checkpoint("owner/bert")


def test_a_keras_hub_preset_is_fetched_once_through_keras_nlp(tmp_path, monkeypatch):
    class Part:
        def __init__(self, name):
            self.name = name

        @classmethod
        def from_preset(cls, name):
            fetched.append((cls.__name__, name))
            return cls(name)

        def save_to_preset(self, folder):
            write_keras_hub(tmp_path.__class__(folder), encoder_tensors())

    class Classifier(Part):
        @classmethod
        def from_preset(cls, name):
            raise TypeError("missing num_classes")

    fetched = []
    models = types.SimpleNamespace(BertTextClassifier=Classifier, BertBackbone=Part, BertTokenizer=Part)
    monkeypatch.setitem(sys.modules, "keras_nlp", types.SimpleNamespace(models=models))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert_same(read_checkpoint("bert_tiny_en_uncased").tensors, encoder_tensors())
    assert fetched == [("Part", "bert_tiny_en_uncased")] * 2  # backbone and tokenizer, in the first of two readings
