"""`bert-finetune predict` and `evaluate` with a random classifier: files in, answers out, refusals."""

import json

import numpy as np
import pytest

from bert_tf.errors import InputError
from downstream.__main__ import main
from downstream.batches import make_batch
from downstream.examples import read_examples
from downstream.features import tokenize
from downstream.forward import compile_forward
from downstream.predict import FineTuned, jsonl_rows, read_logits, tsv_rows
from downstream.tasks import Task
from tests.downstream_toys import opinions, write_toy_classifier, write_tsv


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a random classifier, opened once for the tests that read its logits."""
    path = tmp_path_factory.mktemp("classifier")
    write_toy_classifier(path)
    return path


@pytest.fixture(scope="module")
def opened(folder):
    return FineTuned.open(folder)


def refused(capsys, words, message):
    """The command ends with status 2 and, after what it read, one sentence."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    *read, last = capsys.readouterr().err.splitlines(keepends=True)
    assert all("truncated to" in line for line in read)
    assert last == f"bert-finetune: error: {message}\n"


def test_predictions_answer_each_row_in_its_order(folder, opened, tmp_path, capsys):
    # Each answer is that of the model on the text alone.
    texts = [text for text, _ in opinions(23, seed=9)]
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"sentence": text}) + "\n" for text in texts))
    words = ["predict", "--model", folder, "--input", source, "--output", tmp_path / "answers.tsv", "--batch-size", 5]
    assert main([str(word) for word in words]) == 0
    assert f"{source}: 23 examples, 0 truncated to 40 tokens" in capsys.readouterr().err
    table = [line.split("\t") for line in (tmp_path / "answers.tsv").read_text().splitlines()]
    assert table[0] == ["line", "label", "p(neg)", "p(mid)", "p(pos)"]
    for number, (text, row) in enumerate(zip(texts, table[1:], strict=True), start=1):
        logits = np.array(opened.model(opened.tokenizer(text))["logits"])[0]
        assert row[:2] == [str(number), ("neg", "mid", "pos")[logits.argmax()]]
        assert [float(cell) for cell in row[2:]] == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=2e-5)


def test_batches_change_no_logits(opened, tmp_path):
    # One by one, without any padding, or 7 at a time among others of other lengths.
    source = write_tsv(tmp_path / "texts.tsv", ["sentence", "label"], opinions(30, seed=3))
    features = opened.tokenize(read_examples(source, opened.task))
    forward = compile_forward(opened.model)
    together = read_logits(forward, features, np.array([9, 22]), 7)
    assert np.ptp(together[:, 0]) > 0.1  # they differ, so that a mistaken row is seen
    for index in range(len(features)):
        alone = make_batch(features, np.array([index]), features.lengths[index : index + 1], 1)
        assert alone["attention_mask"].all()
        np.testing.assert_allclose(np.asarray(forward(alone)["logits"])[0], together[index], rtol=1e-4, atol=1e-5)


def test_truncated_texts_are_counted(opened, tmp_path):
    # Of 5, 6, 7 and 9 words, with [CLS] and [SEP] 7, 8, 9 and 11 tokens: two are longer than 8.
    source = write_tsv(tmp_path / "texts.tsv", ["sentence"], [(" ".join(["film"] * n),) for n in (5, 6, 7, 9)])
    examples = read_examples(source, opened.task, with_labels=False)
    features, truncated = tokenize(examples, opened.tokenizer, 8, pad_token_id=0)
    assert features.lengths.tolist() == [7, 8, 8, 8]
    assert truncated == 2


def test_answers_of_one_label():
    task = Task(text="t", labels=("low", "high"))
    logits = np.array([[0.0, np.log(3)], [np.log(4), 0]], "float32")  # probabilities 1/4 3/4 and 4/5 1/5
    assert list(tsv_rows(task, [2, 5], logits)) == [
        "line\tlabel\tp(low)\tp(high)",
        "2\thigh\t0.250000\t0.750000",
        "5\tlow\t0.800000\t0.200000",
    ]
    assert [json.loads(line) for line in jsonl_rows(task, [2, 5], logits)] == [
        {"line": 2, "label": "high", "probabilities": {"low": 0.25, "high": 0.75}},
        {"line": 5, "label": "low", "probabilities": {"low": 0.8, "high": 0.2}},
    ]


def test_answers_of_several_labels():
    task = Task(text="t", labels=("a", "b"), problem_type="multi_label_classification", label_separator="|")
    logits = np.log(np.array([[3.0, 4], [0.25, 1 / 3]], "float32"))  # probabilities 3/4 4/5 and 1/5 1/4
    assert list(tsv_rows(task, [2, 3], logits))[1:] == ["2\ta|b\t0.750000\t0.800000", "3\t\t0.200000\t0.250000"]
    assert [json.loads(line) for line in jsonl_rows(task, [2, 3], logits)] == [
        {"line": 2, "labels": ["a", "b"], "probabilities": {"a": 0.75, "b": 0.8}},
        {"line": 3, "labels": [], "probabilities": {"a": 0.2, "b": 0.25}},
    ]


def test_answers_of_regression():
    task = Task(text="t", labels=("LABEL_0",), problem_type="regression")
    logits = np.array([[2.5], [-0.125]], "float32")
    assert list(tsv_rows(task, [2, 3], logits)) == ["line\tvalue", "2\t2.5", "3\t-0.125"]
    assert list(jsonl_rows(task, [2, 3], logits)) == ['{"line": 2, "value": 2.5}', '{"line": 3, "value": -0.125}']


# -------------------------------------------------------------------------------------------------------- refusals


def test_evaluation_refuses_an_unknown_label(folder, tmp_path, capsys):
    bad = write_tsv(tmp_path / "bad.tsv", ["sentence", "label"], [("good film", "pos"), ("good film", "positive")])
    message = "unknown label 'positive'; the labels are neg, mid, pos; correct the row, or train with this label"
    refused(capsys, ["evaluate", "--model", folder, "--data", bad], f"{bad}, line 3: {message}")


def test_evaluation_refuses_a_file_without_labels(folder, tmp_path, capsys):
    bad = write_tsv(tmp_path / "bad.tsv", ["sentence"], [("good film",)])
    message = (
        f"{bad} has no column 'label'; its columns are 'sentence'; without labels a file can be answered by predict, "
        "but nothing is learnt from it or measured"
    )
    refused(capsys, ["evaluate", "--model", folder, "--data", bad], message)


def test_bad_arguments(folder, tmp_path, capsys):
    texts = write_tsv(tmp_path / "texts.tsv", ["sentence", "label"], opinions(3, seed=1))
    words = ["predict", "--model", folder, "--input", texts]
    bad = tmp_path / "a.csv"
    refused(capsys, [*words, "--output", bad], f"--output must end in .tsv or .jsonl, got {bad}")
    refused(capsys, [*words, "--output", texts], f"--output is the input {texts}; choose another file")
    assert texts.exists()
    message = "batch_size must be at least 1, got 0"
    refused(capsys, [*words, "--output", tmp_path / "a.tsv", "--batch-size", 0], message)
    message = f"max_seq_length 41 is beyond max_position_embeddings 40 of {folder}; choose at most 40"
    refused(capsys, [*words, "--output", tmp_path / "a.tsv", "--max-seq-length", 41], message)


def test_a_model_without_its_task(folder, tmp_path, capsys):
    texts = write_tsv(tmp_path / "texts.tsv", ["sentence", "label"], opinions(3, seed=1))
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        (bare / name).write_bytes((folder / name).read_bytes())
    words = ["evaluate", "--model", bare, "--data", texts]
    refused(capsys, words, f"{bare} has no task.json to name the column of the text; name it with --text")
    words += ["--text", "sentence", "--max-seq-length", 40]
    refused(capsys, words, f"the task of {bare} names no column of labels; name it with --label")


def test_the_backends_that_predict(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "torch")
    message = "prediction runs on the Keras backends tensorflow and jax, got torch; set KERAS_BACKEND to one of them"
    with pytest.raises(InputError, match=message):
        compile_forward(None)


def test_help_says_what_the_files_are(capsys):
    for name in ("classify", "predict", "evaluate"):
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        told = " ".join(capsys.readouterr().out.split())
        assert "no quoting at all" in told
        assert "stops the command with its file and line" in told
