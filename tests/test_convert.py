"""`bert-tf convert`: directory in, directory out, every tensor bitwise equal and the settings equal in meaning."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from bert_tf import BertConfig, BertTokenizer
from bert_tf.__main__ import main
from tests.checkpoint_files import (
    VOCABULARY,
    dense_tensors,
    encoder_tensors,
    hugging_face_tensors,
    tf1_arrays,
    write_hugging_face,
    write_keras_hub,
    write_shards,
    write_tf1,
)


def convert(source, output, *options):
    assert main(["convert", "--from", str(source), "--to", str(output), *options]) == 0
    config = json.loads((output / "config.json").read_text(encoding="utf-8"))
    return load_file(output / "model.safetensors"), config


def assert_bitwise_equal(tensors, expected):
    assert sorted(tensors) == sorted(expected)
    for name, tensor in expected.items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].tobytes() == np.ascontiguousarray(tensor).tobytes(), name


HEADS = {
    "BertModel": lambda: encoder_tensors(),
    "BertForPreTraining": lambda: hugging_face_tensors(),
    "BertForMaskedLM": lambda: without(hugging_face_tensors(), "pooler", "seq_relationship"),
    "BertForNextSentencePrediction": lambda: without(hugging_face_tensors(), "predictions"),
    "BertForSequenceClassification": lambda: encoder_tensors() | dense_tensors("classifier", 2),
    "BertForTokenClassification": lambda: without(encoder_tensors(), "pooler") | dense_tensors("classifier", 2),
    "BertForQuestionAnswering": lambda: without(encoder_tensors(), "pooler") | dense_tensors("qa_outputs", 2),
}


def without(tensors, *parts):
    return {name: tensor for name, tensor in tensors.items() if not any(part in name for part in parts)}


@pytest.mark.parametrize("architecture", HEADS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_head_keeps_its_bits(tmp_path, architecture, dtype):
    numpy_type = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    tensors = {name: tensor.astype(numpy_type) for name, tensor in HEADS[architecture]().items()}
    source = write_hugging_face(tmp_path / "in", architecture, tensors, layer_norm_eps=1e-7, hidden_act="gelu_new")
    written, config = convert(source, tmp_path / "out")
    if architecture == "BertModel":
        written = {f"bert.{name}": tensor for name, tensor in written.items()}  # a bare encoder has no prefix
    assert_bitwise_equal(written, tensors)
    before = BertConfig.from_json_file(source / "config.json")
    assert BertConfig.from_json_file(tmp_path / "out" / "config.json") == before
    assert (config["architectures"], config["dtype"]) == ([architecture], dtype)


def test_labels_and_problem_type_are_kept(tmp_path):
    names = {"0": "nein", "1": "ja", "2": "vielleicht – ?"}
    values = {"id2label": names, "problem_type": "multi_label_classification", "classifier_dropout": 0.25}
    tensors = encoder_tensors() | dense_tensors("classifier", 3)
    source = write_hugging_face(tmp_path / "in", "BertForSequenceClassification", tensors, **values)
    (source / "task.json").write_text('{"text": "premise", "text_pair": "hypothesis"}')
    _, config = convert(source, tmp_path / "out")
    assert {name: config[name] for name in values} == values
    assert config["label2id"] == {"nein": 0, "ja": 1, "vielleicht – ?": 2}
    assert json.loads((tmp_path / "out" / "task.json").read_text())["text_pair"] == "hypothesis"


def test_the_tokenizer_goes_along(tmp_path):
    source = write_hugging_face(tmp_path / "in", "BertModel", encoder_tensors())
    settings = {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False, "model_max_length": 17}
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    convert(source, tmp_path / "out")
    before, after = (BertTokenizer.from_pretrained(folder) for folder in (source, tmp_path / "out"))
    assert after.vocab == before.vocab == tuple(VOCABULARY)
    assert after.settings == before.settings
    assert after.settings["strip_accents"] is True


def test_without_vocabulary_the_model_goes_alone_and_it_is_said(tmp_path, capsys):
    source = write_hugging_face(tmp_path / "in", "BertModel", encoder_tensors())
    (source / "vocab.txt").unlink()
    convert(source, tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["config.json", "model.safetensors"]
    assert "has no vocabulary; the tokenizer is to be added" in capsys.readouterr().out


def test_shards_become_one_file(tmp_path):
    written, _ = convert(write_shards(tmp_path / "in", "BertForPreTraining", hugging_face_tensors()), tmp_path / "out")
    assert_bitwise_equal(written, hugging_face_tensors())


def test_another_dtype(tmp_path):
    source = write_hugging_face(tmp_path / "in", "BertForPreTraining", hugging_face_tensors())
    written, config = convert(source, tmp_path / "out", "--dtype", "bfloat16")
    expected = {name: tensor.astype(ml_dtypes.bfloat16) for name, tensor in hugging_face_tensors().items()}
    assert_bitwise_equal(written, expected)
    assert config["dtype"] == "bfloat16"


def test_a_file_of_two_types_becomes_float32(tmp_path):
    tensors = encoder_tensors()
    name = "bert.embeddings.word_embeddings.weight"
    mixed = tensors | {name: tensors[name].astype("float16")}
    written, config = convert(write_hugging_face(tmp_path / "in", "BertModel", mixed), tmp_path / "out")
    assert config["dtype"] == "float32"
    assert {tensor.dtype.name for tensor in written.values()} == {"float32"}
    np.testing.assert_array_equal(written["embeddings.word_embeddings.weight"], mixed[name].astype("float32"))


def test_a_tf1_checkpoint(tmp_path, capsys):
    source = write_tf1(tmp_path / "in", tf1_arrays(hugging_face_tensors()), tokens=[*VOCABULARY[:-1], "Cased"])
    written, config = convert(source, tmp_path / "out")
    assert_bitwise_equal(written, hugging_face_tensors())
    assert (config["architectures"], config["hidden_act"]) == (["BertForPreTraining"], "gelu")
    assert config["layer_norm_eps"] == 1e-12
    assert BertTokenizer.from_pretrained(tmp_path / "out").settings["do_lower_case"] is False
    count = sum(tensor.size for tensor in hugging_face_tensors().values())
    assert (
        capsys.readouterr().out == f"Wrote {tmp_path / 'out'}: BertForPreTraining, {count:,} parameters as float32.\n"
    )


def test_the_activation_can_be_corrected(tmp_path):
    source = write_tf1(tmp_path / "in", tf1_arrays(hugging_face_tensors()))
    _, config = convert(source, tmp_path / "out", "--hidden-act", "gelu_new")
    assert config["hidden_act"] == "gelu_new"


def test_a_keras_hub_preset(tmp_path):
    source = write_keras_hub(tmp_path / "in", encoder_tensors())
    written, config = convert(source, tmp_path / "out")
    assert_bitwise_equal({f"bert.{name}": tensor for name, tensor in written.items()}, encoder_tensors())
    assert (config["architectures"], config["hidden_act"]) == (["BertModel"], "gelu_new")
    assert BertTokenizer.from_pretrained(tmp_path / "out").settings["strip_accents"] is False


@pytest.mark.parametrize("architecture", ["BertForMaskedLM", "BertForNextSentencePrediction"])
def test_a_checkpoint_named_for_one_head_that_holds_both_keeps_both(tmp_path, architecture):
    source = write_hugging_face(tmp_path / "in", architecture, hugging_face_tensors())
    written, config = convert(source, tmp_path / "out")
    assert_bitwise_equal(written, hugging_face_tensors())
    assert config["architectures"] == ["BertForPreTraining"]


def test_what_has_no_place_is_named(tmp_path, capsys):
    tensors = without(hugging_face_tensors(), "seq_relationship")
    written, _ = convert(write_hugging_face(tmp_path / "in", "BertForMaskedLM", tensors), tmp_path / "out")
    assert_bitwise_equal(written, without(tensors, "pooler"))
    said = "Left out, since a BertForMaskedLM has no place for them: bert.pooler.dense.bias, bert.pooler.dense.weight."
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("architecture", [name for name in HEADS if name != "BertForTokenClassification"])
def test_without_a_name_the_heads_decide(tmp_path, architecture):
    """All but the token head, whose tensors have the names of the sequence head's."""
    source = write_hugging_face(tmp_path / "in", architecture, HEADS[architecture]())
    config = json.loads((source / "config.json").read_text())
    del config["architectures"]
    (source / "config.json").write_text(json.dumps(config))
    _, config = convert(source, tmp_path / "out")
    assert config["architectures"] == [architecture]


def test_an_encoder_without_pooler(tmp_path):
    source = write_hugging_face(tmp_path / "in", "BertModel", without(encoder_tensors(), "pooler"))
    written, _ = convert(source, tmp_path / "out")
    assert not any("pooler" in name for name in written)


def test_the_output_must_be_new(tmp_path, capsys):
    source = write_hugging_face(tmp_path / "in", "BertModel", encoder_tensors())
    for output in (source, source / "config.json"):
        assert main(["convert", "--from", str(source), "--to", str(output)]) == 2
        assert "exists and is not an empty folder; give a new one to write" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    convert(source, tmp_path / "out")
    with pytest.raises(SystemExit):
        main(["convert", "--from", str(source), "--to", str(tmp_path / "o"), "--dtype", "int8"])


def test_a_damaged_checkpoint_leaves_nothing(tmp_path, capsys):
    tensors = encoder_tensors()
    del tensors["bert.encoder.layer.2.output.dense.bias"]
    source = write_hugging_face(tmp_path / "in", "BertModel", tensors)
    assert main(["convert", "--from", str(source), "--to", str(tmp_path / "out")]) == 2
    assert "1 tensors are missing: bert.encoder.layer.2.output.dense.bias" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
