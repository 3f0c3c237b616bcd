"""`bert-finetune squad` and `tag`: losses, learning, exact continuation, what a run leaves, refusals."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file

import downstream.batches
from bert_tf import BertTokenizer
from downstream import BertForQuestionAnswering, BertForTokenClassification
from downstream.__main__ import main
from downstream.conll import read_conll
from downstream.entities import find_entities, score_entities
from downstream.squad_evaluate import evaluate_predictions
from downstream.token_objectives import IGNORED, SpanObjective, TagObjective
from tests.downstream_toys import BAD, GOOD, PLAIN, toy_config, write_toy_model
from tests.squad_files import opinions_asked, write_squad

# ------------------------------------------------------------------------------------------------------------- losses


def test_the_loss_of_spans_by_hand():
    # Logits (0, log 3, log 4): the softmax is (1, 3, 4)/8. Of four rows the third has an end beyond the row, which does
    # not count, and the last only fills the batch.
    row = [0.0, np.log(3), np.log(4)]
    logits = ops.convert_to_tensor(np.array([row] * 4, "float32"))
    batch = {
        "input_ids": np.zeros((4, 3), "int32"),
        "start_positions": np.array([0, 1, 2, 0], "int32"),
        "end_positions": np.array([1, 2, 3, 0], "int32"),
        "example_weights": np.array([1, 1, 1, 0], "float32"),
    }
    total, weight = SpanObjective().figures({"start_logits": logits, "end_logits": logits}, batch)["loss"]
    assert float(total) == pytest.approx(-np.log([1 / 8, 3 / 8, 4 / 8, 3 / 8, 4 / 8]).sum(), rel=1e-6)
    assert float(weight) == float(SpanObjective().weights(batch)["loss"]) == 5.0


def test_the_loss_of_tags_by_hand():
    # The second token has no label and the second row only fills the batch: -log 3/8 and -log 4/8 are left, of which
    # the most probable label, 2, is right once.
    logits = ops.convert_to_tensor(np.array([[[0.0, np.log(3), np.log(4)]] * 3] * 2, "float32"))
    batch = {
        "labels": np.array([[1, IGNORED, 2], [0, 0, 0]], "int32"),
        "example_weights": np.array([1, 0], "float32"),
    }
    figures = TagObjective().figures({"logits": logits}, batch)
    assert float(figures["loss"][0]) == pytest.approx(-np.log(3 / 8) - np.log(4 / 8), rel=1e-6)
    assert [float(part) for part in figures["accuracy"]] == [1.0, 2.0]
    assert float(figures["loss"][1]) == float(TagObjective().weights(batch)["loss"]) == 2.0


@pytest.mark.parity
def test_the_losses_are_those_of_transformers(tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    rng = np.random.default_rng(0)
    inputs = {"input_ids": rng.integers(5, 30, (4, 9), dtype="int32"), "token_type_ids": np.zeros((4, 9), "int32")}
    inputs["attention_mask"] = (np.arange(9) < np.array([9, 5, 7, 9])[:, None]).astype("int32")
    # One window has both positions beyond it, one has none: [CLS].
    positions = {"start_positions": np.array([2, 0, 9, 4]), "end_positions": np.array([3, 0, 11, 8])}
    labels = {"labels": np.where(rng.random((4, 9)) < 0.5, rng.integers(0, 3, (4, 9)), IGNORED)}
    for ours, objective, targets in (
        (BertForQuestionAnswering(toy_config()), SpanObjective(), positions),
        (BertForTokenClassification(toy_config(), labels=("O", "B-X", "I-X")), TagObjective(), labels),
    ):
        ours.save_pretrained(tmp_path)
        theirs = getattr(transformers, type(ours).__name__).from_pretrained(tmp_path).eval()
        values = {name: torch.tensor(value, dtype=torch.long) for name, value in (inputs | targets).items()}
        batch = inputs | {name: value.astype("int32") for name, value in targets.items()}
        figures = objective.figures(ours(inputs), batch | {"example_weights": np.ones(4, "float32")})
        assert float(figures["loss"][0] / figures["loss"][1]) == pytest.approx(theirs(**values).loss.item(), rel=1e-5)


# --------------------------------------------------------------------------------------------------------------- runs

RECIPE = ["--batch-size", 16, "--learning-rate", 4e-3, "--save-every", 7, "--max-shapes", 2]
SQUAD_OPTIONS = ["--max-seq-length", 24, "--doc-stride", 8, "--max-query-length", 6, "--n-best", 3]


def names(count, seed):
    """Sentences [(word, tag), …]: 3 to 20 plain words, and runs of one to three GOOD (X) or BAD (Y) ones among them."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        rows = []
        for _ in range(rng.integers(1, 4)):
            rows += [(str(word), "O") for word in rng.choice(PLAIN, rng.integers(1, 7))]
            kind, words = ("X", GOOD) if rng.random() < 0.5 else ("Y", BAD)
            chosen = rng.choice(words, rng.integers(1, 4))
            rows += [(str(word), f"{'I' if place else 'B'}-{kind}") for place, word in enumerate(chosen)]
        yield rows


def write_conll_toy(path, count, seed):
    path.write_text("\n".join("".join(f"{word}\t{tag}\n" for word, tag in rows) for rows in names(count, seed)))
    return path


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    write_toy_model(folder / "encoder")
    for seed, (split, count) in enumerate({"train": 320, "validation": 60, "test": 40}.items()):
        write_squad(folder / f"{split}.json", opinions_asked(count, seed, version_2=True), version_2=True)
        write_conll_toy(folder / f"{split}.conll", count, seed)
    return folder


def command(toy, task, output, *more):
    suffix = "json" if task == "squad" else "conll"
    files = ["--train", toy / f"train.{suffix}", "--validation", toy / f"validation.{suffix}"]
    own = ["--version-2", "--epochs", 8, *SQUAD_OPTIONS]
    if task == "tag":
        own = ["--test", toy / "test.conll", "--epochs", 3, "--max-seq-length", 16]
    words = [task, "--model", toy / "encoder", *files, "--output", output, *own, *RECIPE, *more]
    return [str(word) for word in words]


@pytest.fixture(scope="module", params=["squad", "tag"])
def finished(request, toy):
    """(the task, the directory of an uninterrupted run, what it printed)."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(command(toy, request.param, toy / request.param)) == 0
    return request.param, toy / request.param, printed.getvalue()


def results_of(run):
    return json.loads((run / "results.json").read_text())


def test_a_task_is_learnt_and_its_best_epoch_kept(finished):
    task, run, _ = finished
    results = results_of(run)
    chosen = "validation_best_f1" if task == "squad" else "validation_f1"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    values = {line["step"]: line[chosen] for line in lines if chosen in line}
    assert len(values) == (8 if task == "squad" else 3)
    assert results["metrics"][chosen] == max(values.values()) == values[results["best_step"]]
    if task == "squad":
        # About half of the questions have no answer: who never answers has about 50.
        assert results["metrics"]["validation_best_f1"] >= 70
        assert results["metrics"]["validation_HasAns_total"] + results["metrics"]["validation_NoAns_total"] == 60
    else:
        assert results["metrics"]["test_f1"] >= 0.8  # a tagger that finds nothing has 0
        assert results["baselines"]["test_most_frequent_tag_f1"] < 0.6
        assert results["labels"] == ["O", "B-X", "I-X", "B-Y", "I-Y"]
        assert results["types"]["test"]["X"]["f1"] >= 0.8


def test_what_is_told_and_left(finished):
    task, run, printed = finished
    plan = printed.split("step ")[0]
    left = {path.name for path in run.iterdir()}
    assert left >= {"config.json", "metrics.jsonl", "results.json", "learning_curve.png", "model", "tensorboard"}
    head = "qa_outputs" if task == "squad" else "classifier"
    assert re.search(
        rf"model: +[\d,]+ parameters, [\d,]+ of them trained; begun fresh: {head}.weight, {head}.bias\n", plan
    )
    if task == "squad":
        assert re.search(r"train: +320 questions about 320 contexts, \d+ without an answer\n", plan)
        assert re.search(
            r" +[\d,]+ windows of at most 24 tokens, \d+ with the whole answer; 0 questions cut to 6", plan
        )
        assert re.search(
            r"validation: +60 questions about 60 contexts, \d+ without an answer, 0 also in the train", plan
        )
        assert left >= {"predictions.json", "n_best.json", "null_odds.json"}
    else:
        assert re.search(r"train: +320 sentences, [\d,]+ words\n", plan)
        assert re.search(r" +\d+ sentences longer than 16 tokens, cut into windows; 0 words of no token", plan)
        assert re.search(r" +IOB2: X \d+, Y \d+\n", plan)
        assert "validation_most_frequent_tag_f1" in plan
    assert set(BertTokenizer.from_pretrained(run / "model").vocab) >= {"good", "[CLS]"}


def test_the_files_of_predictions_have_the_figures_of_the_run(finished, toy):
    task, run, _ = finished
    metrics = results_of(run)["metrics"]
    if task == "squad":
        figures = evaluate_predictions(toy / "validation.json", run / "predictions.json", run / "null_odds.json")
        assert figures["f1"] == pytest.approx(metrics["validation_best_f1"])
        best = json.loads((run / "n_best.json").read_text())
        assert all(sum(one["probability"] for one in kept) == pytest.approx(1) for kept in best.values())
        contexts = {qas[0][0]: context for context, qas in opinions_asked(60, 1, version_2=True)}
        assert all(one["text"] in contexts[name] for name, kept in best.items() for one in kept)
    else:
        sentences = read_conll(run / "test.conll", tag_column=3)
        true = read_conll(run / "test.conll", tag_column=2)
        assert true.words == read_conll(toy / "test.conll").words
        rates, _ = score_entities(*([find_entities(tags) for tags in one.tags] for one in (true, sentences)))
        assert rates == {name: metrics[f"test_{name}"] for name in rates}


def test_predict_gives_what_the_run_found(finished, toy, tmp_path, capsys):
    task, run, _ = finished
    if task == "squad":
        asked = opinions_asked(60, 1, version_2=True)  # without answers, and nothing said about them
        data = [{"context": text, "qas": [{"id": a, "question": b} for a, b, _ in qas]} for text, qas in asked]
        questions = tmp_path / "questions.json"
        questions.write_text(json.dumps({"data": [{"paragraphs": data}]}))
        words = ["predict", "--task", task, "--model", run, "--input", questions, "--output", tmp_path / "out.json"]
        assert main([str(word) for word in words]) == 0
        assert json.loads((tmp_path / "out.json").read_text()) == json.loads((run / "predictions.json").read_text())
    else:
        words = ["predict", "--task", task, "--model", run / "model", "--input", toy / "test.conll", "--output"]
        words.append(tmp_path / "out.conll")
        assert main([str(word) for word in words]) == 0
        assert (tmp_path / "out.conll").read_bytes() == (run / "test.conll").read_bytes()
        told = capsys.readouterr().out
        assert re.search(r"40 sentences, \d+ words; \d+ sentences cut into windows, 0 words of no token", told)
    other = "tag" if task == "squad" else "squad"
    message = (
        f"{run / 'model'} has no task.json of the task {other}; give a model that bert-finetune {other} has trained"
    )
    refused(capsys, ["predict", "--task", other, "--model", run, "--input", "x", "--output", "y"], message)
    source = words[words.index("--input") + 1]
    read = source.read_bytes()
    refused(capsys, [*words[:-1], source], f"--output is the input {source}; choose another file")
    assert source.read_bytes() == read
    refused(capsys, [*words, "--batch-size", 0], "batch_size must be at least 1, got 0")
    message = f"--task {task} reads as its model was trained; it takes no columns and no length"
    refused(capsys, [*words, "--text", "t"], message)
    refused(capsys, [*words, "--task", "qa"], "--task must be classification, squad, tag or summarize, got 'qa'")


def test_a_finished_run_says_so_and_does_nothing(finished, toy, capsys):
    task, run, _ = finished
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert main(command(toy, task, run)) == 0
    assert "holds a finished run; nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_stopped_run_ends_with_the_same_bits(finished, toy, monkeypatch, capsys):
    task, run, _ = finished
    output = toy / f"stopped-{task}"

    def make_and_stop(*arguments):  # the batch of step 24 is made: the step is finished, a checkpoint written
        made.append(1)
        if len(made) == 24:
            os.kill(os.getpid(), signal.SIGTERM)
        return make_batch(*arguments)

    make_batch, made = downstream.batches.make_batch, []
    with monkeypatch.context() as patched:
        patched.setattr(downstream.batches, "make_batch", make_and_stop)
        with pytest.raises(SystemExit) as stopped:
            main(command(toy, task, output))
    assert stopped.value.code == 75
    assert "Stopped at step 24" in capsys.readouterr().err
    assert main(command(toy, task, output)) == 0
    assert "Continuing after step 24." in capsys.readouterr().out
    expected, got = (load_file(one / "model" / "model.safetensors") for one in (run, output))
    assert set(got) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    states = [sorted(one.glob("checkpoints/*/state.safetensors"))[-1].read_bytes() for one in (run, output)]
    assert states[0] == states[1]
    assert results_of(output) == results_of(run)


def test_jax_gives_the_same_losses(finished, toy, tmp_path):
    # From a model that has its head already, without dropout: nothing random is left but the order, which is the same.
    task, run, _ = finished
    suffix = "json" if task == "squad" else "conll"
    words = ["--model", run, "--dropout", 0.0, "--epochs", 1, "--max-shapes", 1, "--train", toy / f"test.{suffix}"]
    assert main(command(toy, task, tmp_path / "tensorflow", *words)) == 0
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "KERAS_BACKEND": "jax"}
    words = [sys.executable, "-m", "downstream", *command(toy, task, tmp_path / "jax", *words)]
    subprocess.run(words, env=environment, check=True)
    expected, got = (
        [
            [line.get(name) for name in ("loss", "validation_loss", "validation_f1")]
            for line in map(json.loads, path.open())
        ]
        for path in (tmp_path / "tensorflow" / "metrics.jsonl", tmp_path / "jax" / "metrics.jsonl")
    )
    assert len(expected) >= 3
    np.testing.assert_allclose(np.array(got, float), np.array(expected, float), rtol=2e-3, atol=1e-5)


# ----------------------------------------------------------------------------------------------------------- refusals


def refused(capsys, words, message):
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    assert capsys.readouterr().err == f"bert-finetune: error: {message}\n"


def test_what_squad_refuses(toy, tmp_path, capsys):
    words = command(toy, "squad", tmp_path / "run")
    refused(
        capsys,
        [*words, "--max-seq-length", 41],
        f"max_seq_length 41 is beyond max_position_embeddings 40 of {toy / 'encoder'}; choose at most 40",
    )
    without = [word for word in words if word != "--version-2"]
    first = next(name for _, [(name, _, answers)] in opinions_asked(320, 0, version_2=True) if not answers)
    message = "has no answer; pass --version-2 for data in which questions may have none"
    refused(capsys, without, f"{toy / 'train.json'}, question {first} {message}")
    assert not (tmp_path / "run").exists()


def test_what_tag_refuses(toy, finished, tmp_path, capsys):
    words = command(toy, "tag", tmp_path / "run")
    refused(capsys, [*words, "--scheme", "IOB3"], "the scheme must be one of IOB2, IOB1, BIOES, got 'IOB3'")
    message = "max_seq_length must be at least 3 ([CLS], a token, [SEP]), got 2"
    refused(capsys, [*words, "--max-seq-length", 2], message)
    bad = tmp_path / "bad.conll"
    bad.write_text("good\tO\nbad\tB-Z\n")
    message = "unknown type 'Z'; the training file has X, Y; correct the tag, or train with this type"
    refused(capsys, [*words, "--test", bad], f"{bad}, line 2: {message}")
    bad.write_text("good\tO\nbad\tI-X\n")
    message = (
        "the tag 'I-X' after 'O' does not fit IOB2, in which it would be 'B-X'; correct the tag, or give the scheme"
    )
    refused(capsys, [*words, "--validation", bad], f"{bad}, line 2: {message} of the file with --scheme")
    task, run, _ = finished
    if task == "tag":
        bad.write_text("good\tO\nbad\tB-X\n")
        refused(
            capsys,
            [*words, "--train", bad, "--validation", bad, "--test", bad, "--model", run],
            f"{run / 'model'} has a head for the labels O, B-X, I-X, B-Y, I-Y, the training file has O, B-X, I-X; pass "
            "--new-head to begin with a fresh one",
        )
    assert not (tmp_path / "run").exists()
