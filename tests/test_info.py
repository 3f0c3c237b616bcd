"""`bert-tf info`: counts worked out by hand, and the file that each setting came from."""

import json
import subprocess
import sys

import ml_dtypes
import pytest

from bert_tf.__main__ import main
from bert_tf.info import describe
from tests.checkpoint_files import (
    VOCABULARY,
    dense_tensors,
    encoder_tensors,
    hugging_face_tensors,
    tf1_arrays,
    write_hugging_face,
    write_keras_hub,
    write_tf1,
)

# H 24, I 40, V 61, 19 positions, 2 segments, 3 layers.
EMBEDDINGS = (61 + 19 + 2) * 24 + 2 * 24
LAYER = 4 * (24 * 24 + 24) + (24 * 40 + 40) + (40 * 24 + 24) + 2 * 2 * 24
POOLER = 24 * 24 + 24
PREDICTIONS = 24 * 24 + 24 + 2 * 24 + 61  # the decoder's kernel is the word embeddings
PARAMETERS = {"embeddings": EMBEDDINGS, "encoder": 3 * LAYER, "pooler": POOLER}
PRETRAINING = PARAMETERS | {"masked language model head": PREDICTIONS, "next sentence head": 2 * 24 + 2}


def test_a_hugging_face_directory(tmp_path):
    folder = write_hugging_face(tmp_path / "m", "BertForPreTraining", hugging_face_tensors())
    description = describe(folder)
    assert description["format"] == "Hugging Face directory"
    assert description["architecture"] == "BertForPreTraining"
    assert description["parameters"] == PRETRAINING
    assert description["stored_as"] == {"float32": sum(PRETRAINING.values())}
    assert description["bytes"] == 4 * sum(PRETRAINING.values())
    assert description["settings"]["num_attention_heads"] == [3, "config.json"]
    assert description["settings"]["pad_token_id"] == [0, "default"]
    assert "relative_attention_num_buckets" not in description["settings"]
    assert description["tokenizer"]["do_lower_case"] == [True, "tokenizer_config.json"]
    assert description["tokenizer"]["strip_accents"] == [None, "default"]
    assert description["tokenizer"]["model_max_length"] == [19, "config.json"]
    pieces = sum(token.startswith("##") for token in VOCABULARY)
    assert pieces == 4
    unused = sum("unused" in token for token in VOCABULARY)
    assert description["vocabulary"] == {"tokens": 61, "continuing a word": pieces, "unused": unused}
    assert description["passed_over"] == []


def test_labels_and_half_floats(tmp_path):
    tensors = encoder_tensors() | dense_tensors("classifier", 11)
    tensors = {name: tensor.astype(ml_dtypes.bfloat16) for name, tensor in tensors.items()}
    names = {
        str(index): f"label {index}" for index in (*range(1, 11), 0)
    }  # in the order of their numbers, not of the file
    description = describe(write_hugging_face(tmp_path / "m", "BertForSequenceClassification", tensors, id2label=names))
    assert description["labels"] == [f"label {index}" for index in range(11)]
    assert description["parameters"] == PARAMETERS | {"classification head": 11 * 24 + 11}
    assert description["stored_as"] == {"bfloat16": sum(PARAMETERS.values()) + 11 * 25}


def test_a_tf1_checkpoint(tmp_path):
    folder = write_tf1(tmp_path / "m", tf1_arrays(hugging_face_tensors()))
    description = describe(folder)
    assert (description["format"], description["architecture"]) == ("TF1 checkpoint", None)
    assert description["parameters"] == PRETRAINING
    assert description["settings"]["hidden_act"] == ["gelu", "bert_config.json"]
    assert description["settings"]["layer_norm_eps"] == [1e-12, "default"]
    assert description["tokenizer"]["do_lower_case"] == [True, "vocab.txt: no token has capitals"]
    assert "global_step" in description["passed_over"]
    assert describe(folder / "bert_model.ckpt")["tokenizer"] == description["tokenizer"]


@pytest.mark.parametrize("word", ["Cat", "##E", "É"])
def test_a_tf1_vocabulary_with_capitals_is_cased(tmp_path, word):
    tokens = [*VOCABULARY[:-1], word]
    folder = write_tf1(tmp_path / "m", tf1_arrays(hugging_face_tensors()), tokens=tokens)
    assert describe(folder)["tokenizer"]["do_lower_case"] == [False, "vocab.txt: tokens have capitals"]


@pytest.mark.parametrize("word", ["<S>", "[Mine]", "ß", "東"])
def test_a_tf1_vocabulary_without_capitals_is_not(tmp_path, word):
    tokens = [*VOCABULARY[:-1], word]
    folder = write_tf1(tmp_path / "m", tf1_arrays(hugging_face_tensors()), tokens=tokens)
    assert describe(folder)["tokenizer"]["do_lower_case"][0] is True


def test_a_keras_hub_preset(tmp_path):
    description = describe(write_keras_hub(tmp_path / "m", encoder_tensors(), lowercase=False))
    assert description["format"] == "KerasHub preset"
    assert description["parameters"] == PARAMETERS
    assert description["settings"]["hidden_act"] == ["gelu_new", "bert_backbone.py"]
    assert description["settings"]["hidden_size"] == [24, "config.json"]
    assert description["tokenizer"]["do_lower_case"] == [False, "tokenizer.json"]
    assert description["tokenizer"]["strip_accents"] == [False, "tokenizer.json"]
    assert description["tokenizer"]["model_max_length"] == [19, "config.json"]
    assert description["vocabulary"]["tokens"] == 61


def test_it_needs_neither_keras_nor_tensorflow(tmp_path):
    folder = write_hugging_face(tmp_path / "m", "BertForPreTraining", hugging_face_tensors())
    program = (
        "import sys; from bert_tf.info import describe; describe(sys.argv[1]); "
        "sys.exit(bool({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program, str(folder)], check=False).returncode == 0


def test_no_vocabulary_is_said(tmp_path):
    folder = write_hugging_face(tmp_path / "m", "BertModel", encoder_tensors())
    (folder / "vocab.txt").unlink()
    description = describe(folder)
    assert description["tokenizer"] == {}
    assert "vocab.txt" in description["vocabulary"]["missing"]
    assert main(["info", str(folder)]) == 0


def test_a_tensor_of_no_part_is_counted(tmp_path):
    tensors = encoder_tensors() | dense_tensors("odd", 1)
    assert describe(write_hugging_face(tmp_path / "m", "BertModel", tensors))["parameters"]["other"] == 25


def test_the_command_prints_what_was_found(tmp_path, capsys):
    folder = write_tf1(tmp_path / "m", tf1_arrays(hugging_face_tensors()))
    assert main(["info", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{folder}: TF1 checkpoint"
    assert "architecture  not named" in lines
    assert f"parameters    {sum(PRETRAINING.values()):,} (0.1 MiB; {sum(PRETRAINING.values()):,} float32)" in lines
    assert f"  encoder                     {3 * LAYER:>13,}  3 layers of {LAYER:,}" in lines
    assert any(line.split() == ["layer_norm_eps", "1e-12", "default"] for line in lines)
    assert any(line.split()[:2] == ["do_lower_case", "True"] for line in lines)
    assert lines[-1].startswith("not of the model: ")
    assert main(["info", "--json", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(describe(folder)))


def test_the_command_refuses_what_is_no_checkpoint(tmp_path, capsys):
    assert main(["info", str(tmp_path)]) == 2
    assert "holds no checkpoint" in capsys.readouterr().err
    folder = write_hugging_face(tmp_path / "m", "BertModel", encoder_tensors(), hidden_sise=3)
    assert main(["info", str(folder)]) == 2
    assert "has the unknown key 'hidden_sise'; the nearest known key is 'hidden_size'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ({"0": "a", "one": "b"}, "{'one': 'b'}"),
        ({"0": "a", "1": 7}, "{'1': 7}"),
        (["a", "b"], "['a', 'b']"),
    ],
)
def test_labels_that_are_no_names_by_number(tmp_path, capsys, labels, shown):
    folder = write_hugging_face(tmp_path / "m", "BertModel", encoder_tensors(), id2label=labels)
    assert main(["info", str(folder)]) == 2
    expected = f'config.json: id2label must be names by number such as {{"0": "no", "1": "yes"}}, got {shown}\n'
    assert capsys.readouterr().err.endswith(expected)


def test_bfloat16_is_read_where_nothing_else_imports_it(tmp_path):
    """NumPy has that type only by `ml_dtypes`, which this process has imported already."""
    tensors = {name: tensor.astype(ml_dtypes.bfloat16) for name, tensor in encoder_tensors().items()}
    folder = write_hugging_face(tmp_path / "m", "BertModel", tensors)
    printed = subprocess.run(
        [sys.executable, "-m", "bert_tf", "info", str(folder)], capture_output=True, text=True, check=False
    )
    assert (printed.returncode, printed.stderr) == (0, "")
    assert "bfloat16" in printed.stdout
