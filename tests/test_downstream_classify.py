"""`bert-finetune classify`, `predict` and `evaluate`: learning, exact continuation, files, refusals."""

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
from safetensors.numpy import load_file

import downstream.batches
from bert_tf import InputError
from bert_tf.checkpoints import read_checkpoint
from downstream.__main__ import main
from downstream.heads import BertForSequenceClassification
from downstream.metrics import METRICS
from downstream.starting_model import open_starting_model
from downstream.train import Recipe, usual_learning_rate
from tests.downstream_toys import VOCABULARY, opinions, write_toy_model, write_tsv

HEADER = ["sentence", "label"]
SINGLE = "single_label_classification"
EPOCHS, STEPS_PER_EPOCH = 3, 25  # 400 examples, 16 a batch
RECIPE = ["--epochs", EPOCHS, "--batch-size", 16, "--learning-rate", 4e-3, "--max-shapes", 2, "--save-every", 7]
RECIPE += ["--max-seq-length", 40]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A folder with the toy model and three files of opinions."""
    folder = tmp_path_factory.mktemp("toy")
    write_toy_model(folder / "encoder")
    for seed, (split, count) in enumerate({"train": 400, "validation": 90, "test": 61}.items()):
        write_tsv(folder / f"{split}.tsv", HEADER, opinions(count, seed))
    return folder


def command(toy, output, *more):
    files = [word for split in ("train", "validation", "test") for word in (f"--{split}", toy / f"{split}.tsv")]
    words = ["classify", "--model", toy / "encoder", *files, "--text", "sentence", "--label", "label"]
    return [str(word) for word in [*words, "--output", output, *RECIPE, *more]]


@pytest.fixture(scope="module")
def finished(toy):
    """(the directory of an uninterrupted run, what it printed)."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(command(toy, toy / "finished")) == 0
    return toy / "finished", printed.getvalue()


def results_of(run):
    return json.loads((run / "results.json").read_text())


def refused(capsys, words, message):
    """The command ends with status 2 and one sentence."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    assert capsys.readouterr().err == f"bert-finetune: error: {message}\n"


# -------------------------------------------------------------------------------------------------------- learning


def test_a_separable_task_is_learnt(finished):
    results = results_of(finished[0])
    assert results["metrics"]["test_accuracy"] >= 0.95
    assert results["baselines"]["test_majority_accuracy"] < 0.7
    assert results["labels"] == ["neg", "pos"]
    assert results["steps"] == EPOCHS * STEPS_PER_EPOCH
    assert results["best_step"] in (25, 50, 75)


def test_the_best_epoch_is_the_one_kept(finished):
    run, _ = finished
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    accuracies = {line["step"]: line["validation_accuracy"] for line in lines if "validation_accuracy" in line}
    assert list(accuracies) == [25, 50, 75]
    results = results_of(run)
    assert results["metrics"]["validation_accuracy"] == max(accuracies.values())
    assert accuracies[results["best_step"]] == max(accuracies.values())


def test_everything_is_told_before_the_first_step(finished):
    plan = finished[1].split("step ")[0]
    assert re.search(r"train: +400 examples, 0 truncated to 40 tokens\n +neg \d+, pos \d+\n", plan)
    assert re.search(r"validation: +90 examples, 0 truncated to 40 tokens, \d+ also in the training file", plan)
    assert re.search(
        r"model: +[\d,]+ parameters, [\d,]+ of them trained; begun fresh: classifier.weight, classifier.bias\n", plan
    )
    assert re.search(r"batches: +25 an epoch of 16 examples, padded to \d+, 22 tokens, \d+\.\d% of them real", plan)
    assert "75 steps = 3 epochs, peak rate 4.00e-03 after 7 steps, float32; best by validation accuracy" in plan
    assert "validation_majority_accuracy" in plan
    assert "test_naive_bayes_accuracy" in plan


def test_a_finished_run_says_so_and_does_nothing(toy, finished, capsys):
    run, _ = finished
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert main(command(toy, run)) == 0
    assert "holds a finished run; nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_what_the_run_leaves(finished):
    run, _ = finished
    assert {path.name for path in (run / "model").iterdir()} == {
        "config.json",
        "model.safetensors",
        "task.json",
        "tokenizer_config.json",
        "vocab.txt",
    }
    for name in ("learning_curve.png", "confusion_matrix.png", "reliability.png"):
        assert (run / name).read_bytes().startswith(b"\x89PNG"), name
    assert json.loads((run / "model" / "task.json").read_text())["text"] == "sentence"


def test_pairs_are_read_in_their_order(tmp_path):
    # "first" if the good word stands in the first text, "second" if in the second: without the order, by chance.
    rng = np.random.default_rng(0)
    good, bad, plain = VOCABULARY[5:7], VOCABULARY[9:11], VOCABULARY[13:]

    def rows(count):
        for _ in range(count):
            texts = [f"{rng.choice(good)} {rng.choice(plain)}", f"{rng.choice(bad)} {rng.choice(plain)}"]
            label = rng.choice(["first", "second"])
            yield [*(texts if label == "first" else texts[::-1]), label]

    for split, count in (("train", 480), ("validation", 64)):
        write_tsv(tmp_path / f"{split}.tsv", ["a", "b", "which"], list(rows(count)))
    write_toy_model(tmp_path / "encoder", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    words = ["classify", "--model", tmp_path / "encoder", "--train", tmp_path / "train.tsv", "--validation"]
    words += [tmp_path / "validation.tsv", "--text", "a", "--text-pair", "b", "--label", "which", "--epochs", 4]
    words += ["--output", tmp_path / "run", "--learning-rate", 4e-3, "--max-shapes", 1, "--max-seq-length", 40]
    assert main([str(word) for word in words]) == 0
    results = results_of(tmp_path / "run")
    assert results["metrics"]["validation_accuracy"] >= 0.95
    assert results["baselines"]["validation_naive_bayes_accuracy"] < 0.7
    words = ["evaluate", "--model", tmp_path / "run", "--data", tmp_path / "validation.tsv", "--text", "b"]
    words += ["--text-pair", "a", "--output", tmp_path / "swapped.json"]
    assert main([str(word) for word in words]) == 0
    assert json.loads((tmp_path / "swapped.json").read_text())["metrics"]["accuracy"] <= 0.05


# ---------------------------------------------------------------------------------------------------- continuation


def assert_same_run(run, other):
    """The same weights to the bit, the same figures, the same results."""
    expected, got = (load_file(one / "model" / "model.safetensors") for one in (other, run))
    assert set(got) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    lines = [
        [{k: v for k, v in json.loads(line).items() if k != "tokens_per_second"} for line in path.open()]
        for path in (other / "metrics.jsonl", run / "metrics.jsonl")
    ]
    assert lines[0] == lines[1]
    assert results_of(run) == results_of(other)
    states = [sorted(one.glob("checkpoints/*/state.safetensors"))[-1].read_bytes() for one in (run, other)]
    assert states[0] == states[1]  # the last weights, moments and dropout seeds


KILLED = """
import os, signal, sys
import bert_tf.training_loop
from downstream.__main__ import main
save = bert_tf.training_loop.save_training_checkpoint
def save_or_die(folder, step, *rest):
    if step == 28:
        os.kill(os.getpid(), signal.SIGKILL)
    save(folder, step, *rest)
bert_tf.training_loop.save_training_checkpoint = save_or_die
main(sys.argv[1:])
"""


def test_a_run_killed_and_stopped_ends_with_the_same_bits(toy, finished, monkeypatch, capsys):
    output = toy / "interrupted"

    # 1. SIGKILL after the first epoch, 25 steps: its model is written, the checkpoint that knows of it, that of step
    # 28, is not; there is that of step 21 = 3 x 7.
    process = subprocess.run([sys.executable, "-c", KILLED, *command(toy, output)], env=environment())
    assert process.returncode == -signal.SIGKILL
    assert (output / "model" / "model.safetensors").exists()
    assert not (output / "results.json").exists()

    # 2. SIGTERM while the batch of step 60 is made: the step is finished, a checkpoint written.
    def make_and_stop(features, *rest):
        made.append(len(features) == 400)  # a batch of the training file
        if sum(made) == 60 - 21:
            os.kill(os.getpid(), signal.SIGTERM)
        return make_batch(features, *rest)

    make_batch, made = downstream.batches.make_batch, []
    with monkeypatch.context() as patched:
        patched.setattr(downstream.batches, "make_batch", make_and_stop)
        with pytest.raises(SystemExit) as stopped:
            main(command(toy, output))
    assert stopped.value.code == 75
    told = capsys.readouterr()
    assert "Continuing after step 21." in told.out
    assert "Stopped at step 60 as asked; the same command continues." in told.err

    # 3. To the end: the same weights, figures and results as the run that nothing interrupted.
    assert main(command(toy, output)) == 0
    assert "Continuing after step 60." in capsys.readouterr().out
    expected, got = (load_file(run / "model" / "model.safetensors") for run in (finished[0], output))
    assert set(got) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    states = [sorted(run.glob("checkpoints/*/state.safetensors"))[-1].read_bytes() for run in (finished[0], output)]
    assert states[0] == states[1]  # the last weights, moments and dropout seeds
    expected, got = (
        [{k: v for k, v in json.loads(line).items() if k != "tokens_per_second"} for line in path.open()]
        for path in (finished[0] / "metrics.jsonl", output / "metrics.jsonl")
    )
    assert got == expected
    assert results_of(output) == results_of(finished[0])


def environment(**changes):
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | changes


def test_jax_gives_the_same_losses(toy, finished, tmp_path):
    # From a model that has its head already, without dropout: nothing random is left but the order, which is the same.
    words = ["--model", finished[0], "--dropout", 0.0, "--epochs", 1, "--max-shapes", 1, "--train", toy / "test.tsv"]
    assert main(command(toy, tmp_path / "tensorflow", *words)) == 0
    words = [sys.executable, "-m", "downstream", *command(toy, tmp_path / "jax", *words)]
    # Compiling is nearly all of the time here.
    subprocess.run(words, env=environment(KERAS_BACKEND="jax", JAX_DISABLE_MOST_OPTIMIZATIONS="1"), check=True)
    expected, got = (
        [
            [line.get(name) for name in ("loss", "learning_rate", "validation_loss")]
            for line in map(json.loads, path.open())
        ]
        for path in (tmp_path / "tensorflow" / "metrics.jsonl", tmp_path / "jax" / "metrics.jsonl")
    )
    assert len(expected) == 5  # four steps and a validation
    np.testing.assert_allclose(np.array(got, float), np.array(expected, float), rtol=1e-3, atol=1e-5)


# ------------------------------------------------------------------------------------------------------ evaluation


def test_evaluate_gives_what_training_measured(toy, finished, tmp_path, capsys):
    run, _ = finished
    words = ["evaluate", "--model", run, "--data", toy / "test.tsv", "--output", tmp_path / "figures.json"]
    assert main([str(word) for word in words]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    trained = results_of(run)["metrics"]
    assert figures["metrics"] == {name: trained[f"test_{name}"] for name in METRICS[SINGLE]}
    assert figures["examples"] == 61
    assert sum(figures["label_counts"].values()) == 61
    assert (tmp_path / "figures.json").read_text() in capsys.readouterr().out


@pytest.mark.parametrize("problem_type", ["multi_label_classification", "regression"])
def test_several_labels_and_numbers(toy, tmp_path, problem_type):
    # Labels: which of "good" and "bad" a text has; number: their difference.
    def rows(count, seed):
        rng = np.random.default_rng(seed)
        for _ in range(count):
            held = rng.random(2) < 0.5
            words = [word for word, here in zip(("good", "bad"), held, strict=True) if here]
            cell = "+".join(words) if problem_type.startswith("multi") else str(float(held[0]) - float(held[1]))
            yield [" ".join([*rng.choice(VOCABULARY[13:], 3), *words]), cell]

    for seed, (split, count) in enumerate({"train": 320, "validation": 64}.items()):
        write_tsv(tmp_path / f"{split}.tsv", ["text", "label"], list(rows(count, seed)))
    words = ["classify", "--model", toy / "encoder", "--train", tmp_path / "train.tsv", "--validation"]
    words += [tmp_path / "validation.tsv", "--text", "text", "--label", "label", "--output", tmp_path / "run"]
    words += ["--problem-type", problem_type, "--label-separator", "+", "--epochs", 4, "--learning-rate", 4e-3]
    words += ["--max-seq-length", 40, "--max-shapes", 1]
    assert main([str(word) for word in words]) == 0
    results = results_of(tmp_path / "run")
    assert results["baselines"] == {}
    metric = "micro_f1" if problem_type.startswith("multi") else "pearson_spearman"
    assert results["metrics"][f"validation_{metric}"] >= 0.9


# -------------------------------------------------------------------------------------------------------- refusals


def test_an_output_of_another_run(toy, finished, capsys):
    words = command(toy, finished[0], "--seed", 5)
    message = (
        f"{finished[0]} belongs to another run (seed 0 there, 5 now); choose another --output or repeat its settings"
    )
    refused(capsys, words, message)


def test_bad_data_names_file_and_line_and_claims_no_output(toy, tmp_path, capsys):
    bad = write_tsv(tmp_path / "bad.tsv", HEADER, [("good film", "pos"), ("a film", "neutral")])
    words = command(toy, tmp_path / "run", "--validation", bad)
    message = "unknown label 'neutral'; the labels are neg, pos; correct the row, or train with this label"
    refused(capsys, words, f"{bad}, line 3: {message}")
    assert not (tmp_path / "run").exists()


def test_labels_that_do_not_match_the_model(toy, finished, tmp_path, capsys):
    data = write_tsv(tmp_path / "data.tsv", HEADER, [(text, label.upper()) for text, label in opinions(64, 1)])
    files = ["--train", data, "--validation", data, "--test", data]
    words = command(toy, tmp_path / "run", *files, "--model", finished[0])
    refused(
        capsys,
        words,
        f"{finished[0] / 'model'} has a head for the labels neg, pos, the training file has NEG, POS; pass --new-head "
        "to begin with a fresh one",
    )
    for new_head in (True, None):
        model, fresh = open_starting_model(
            BertForSequenceClassification,
            read_checkpoint(finished[0]),
            Recipe(),
            40,
            new_head=new_head,
            labels=("NEG", "POS"),
        )
        assert fresh == ["classifier.weight", "classifier.bias"]
        assert model.labels == ("NEG", "POS")
    _, fresh = open_starting_model(
        BertForSequenceClassification, read_checkpoint(finished[0]), Recipe(), 40, new_head=None, labels=("neg", "pos")
    )
    assert fresh == []
    old = load_file(finished[0] / "model" / "model.safetensors")
    np.testing.assert_array_equal(model.weight_table()["bert.pooler.dense.bias"].read(), old["bert.pooler.dense.bias"])
    assert not np.array_equal(model.weight_table()["classifier.weight"].read(), old["classifier.weight"])


def test_a_model_that_cannot_take_it(toy, finished, tmp_path, capsys):
    message = f"max_seq_length 41 is beyond max_position_embeddings 40 of {toy / 'encoder'}; choose at most 40"
    refused(capsys, command(toy, tmp_path / "run", "--max-seq-length", 41), message)
    write_toy_model(tmp_path / "small", vocab_size=20)
    refused(
        capsys,
        command(toy, tmp_path / "run", "--model", tmp_path / "small"),
        f"the vocabulary in {tmp_path / 'small'} has {len(VOCABULARY)} tokens, the model 20 embeddings; give the model "
        "its own vocabulary",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"accumulation": 0}, "accumulation must be at least 1, got 0"),
        ({"accumulation": 3}, "batch_size must be a multiple of accumulation, got 32 and 3"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"warmup_share": 1.0}, "warmup_share must be in [0, 1), got 1.0"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
        ({"clip_norm": 0.0}, "clip_norm must be above 0, got 0.0"),
        ({"max_shapes": 0}, "max_shapes must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be in [0, 1), got 1.0"),
        ({"layer_decay": 1.1}, "layer_decay must be in (0, 1], got 1.1"),
        ({"freeze_layers": -1}, "freeze_layers must be at least 0, got -1"),
        ({"reinit_layers": -1}, "reinit_layers must be at least 0, got -1"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"precision": "int8"}, "precision must be one of float32, bfloat16, float16, got 'int8'"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"save_every": 0}, "save_every must be at least 1, got 0"),
    ],
)
def test_bad_recipes(changes, message):
    with pytest.raises(InputError, match=re.escape(message) + "$"):
        Recipe(**changes)


def test_the_usual_rate_is_larger_for_narrow_models():
    assert usual_learning_rate(768) == usual_learning_rate(384) == 5e-5  # BERT-base: Devlin et al. 2018, appendix A.3
    assert usual_learning_rate(256) == pytest.approx(1.5e-4)
    assert usual_learning_rate(128) == pytest.approx(3e-4)  # BERT-tiny: google-research/bert, README
