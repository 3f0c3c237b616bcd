"""What a pretraining run can be asked for: phases, budgets, another start, a plan alone, a way past bad steps."""

import itertools
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from bert_tf.__main__ import main as extend
from pretraining.__main__ import main
from pretraining.prepare import prepare
from pretraining.settings import PretrainingSettings
from tests.pretraining_runs import make_corpus, measured, train_command
from tests.test_pretrain import assert_same_bits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    make_corpus(folder)
    return folder


def train(folder, output, *flags, without=(), status=0, **options):
    command = train_command(folder, output, **{"steps": 12, "log_every": 2, "evaluate_every": 6} | options)[3:]
    for name in without:
        place = command.index(f"--{name}")
        del command[place : place + 2]
    assert main([*command, *flags]) == status


PHASES = {"phase2_share": 0.25, "phase2_seq_length": 40, "phase2_predictions": 6, "phase2_batch_size": 2}


@pytest.mark.parametrize(("share", "steps"), [(0.7, 3), (0.9, 1), (0.1, 9), (0.25, 8), (0.3, 7)])
def test_the_first_phase_takes_what_the_second_leaves(share, steps):
    """Of 10 updates; a progress of 0.7 is still below 0.75."""
    settings = PretrainingSettings(data="", steps=10, phase2_share=share)
    progress = [settings.budget().progress(done, 0) for done in range(10)]
    assert sum(one < settings.phases()[0].until for one in progress) == steps


@pytest.mark.parametrize("save_every", [9, 5])  # the last checkpoint before the end: at the border, in the second phase
def test_two_phases_and_a_continuation_in_each(folder, tmp_path, capsys, save_every):
    whole, again = tmp_path / "whole", tmp_path / "again"
    train(folder, whole, save_every=save_every, **PHASES)
    printed = capsys.readouterr().out
    assert "  75%:" in printed
    assert "; 9 steps = " in printed
    assert "  25%:" in printed
    assert "; 3 steps = " in printed
    assert "Phase 2: sequences of 40 tokens." in printed
    results = json.loads((whole / "results.json").read_text())
    assert {"held_out_mlm_loss", "held_out_40_mlm_loss"} <= set(results["metrics"])
    assert results["metrics"]["held_out_mlm_loss"] != results["metrics"]["held_out_40_mlm_loss"]

    shutil.copytree(whole, again)
    (again / "results.json").unlink()
    shutil.rmtree(again / "model")
    shutil.rmtree(again / "checkpoints" / "step-00000012")
    train(folder, again, save_every=save_every, **PHASES)
    assert f"Continuing after step {save_every * (12 // save_every)}." in capsys.readouterr().out
    assert_same_bits(whole, again)


def test_a_budget_of_hours_ends_with_a_falling_rate(folder, tmp_path, monkeypatch):
    """On a clock that goes on by a second each time it is read, 0.2 hours are 720 readings: warm-up over a tenth of
    them, then down; the last of the steps is near the end."""
    clock = itertools.count(1000.0)
    monkeypatch.setattr("bert_tf.training_loop.time.monotonic", lambda: next(clock))
    train(folder, tmp_path / "run", without=["steps"], hours=0.2)
    rates = [line["learning_rate"] for line in measured(tmp_path / "run") if "learning_rate" in line]
    assert len(rates) > 5
    assert rates[-1] < 0.2 * max(rates)
    top = rates.index(max(rates))
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_a_budget_of_tokens(folder, tmp_path):
    """3 x 4 x 32 = 384 places are three steps of four rows."""
    train(folder, tmp_path / "run", without=["steps"], tokens=384)
    assert json.loads((tmp_path / "run" / "results.json").read_text())["steps"] == 3


def test_the_plan_alone_writes_nothing(folder, tmp_path, capsys):
    train(folder, tmp_path / "run", "--dry-run", **PHASES)
    printed = capsys.readouterr().out
    for part in ("parameters, vocabulary", "for weights, gradients and optimizer", "epochs", "unigram entropy"):
        assert part in printed
    assert not (tmp_path / "run").exists()


def test_a_run_starts_from_a_checkpoint(folder, tmp_path, capsys):
    """At a rate of 1e-30 nothing is learnt: the weights that come out are those that went in."""
    train(folder, tmp_path / "first", save_every=100)
    start = {"model": tmp_path / "first", "learning_rate": 1e-30, "weight_decay": 0}
    train(folder, tmp_path / "second", without=["config"], **start)
    assert "begun fresh: none" in capsys.readouterr().out
    before, after = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("first", "second"))
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)
    assert (tmp_path / "second" / "results.json").exists()


def test_a_run_starts_from_a_checkpoint_with_words_added(folder, tmp_path, capsys):
    """The corpus knows two words more; at a rate of 1e-30 their vectors stay the mean of those of their pieces."""
    train(folder, tmp_path / "first", save_every=100)
    (tmp_path / "words.txt").write_text("Treehouse\nbirdhouse\n")
    words = ["--words", str(tmp_path / "words.txt"), "--output", str(tmp_path / "extended")]
    assert extend(["extend-vocabulary", "--model", str(tmp_path / "first"), *words]) == 0
    prepare([folder / "text.txt"], tmp_path / "extended", tmp_path / "corpus", language=None, held_out=0.2)
    start = {"model": tmp_path / "first", "learning_rate": 1e-30, "weight_decay": 0, "data": tmp_path / "corpus"}
    train(folder, tmp_path / "second", without=["config"], pad_vocab_size_multiple_of=64, **start)
    assert "begun fresh: none" in capsys.readouterr().out
    before, after = (load_file(tmp_path / run / "model.safetensors") for run in ("extended", "second/model"))
    assert before["bert.embeddings.word_embeddings.weight"].shape == (92, 16)
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-6, atol=1e-12, err_msg=name)
    tokens = (tmp_path / "second" / "model" / "vocab.txt").read_text().splitlines()
    assert tokens[90:] == ["treehouse", "birdhouse"]


def test_a_corpus_of_another_vocabulary_stops(folder, tmp_path, capsys):
    train(folder, tmp_path / "first", save_every=100)
    vocabulary = tmp_path / "first" / "model" / "vocab.txt"
    tokens = vocabulary.read_text().splitlines()
    start = {"model": tmp_path / "first"}
    vocabulary.write_text("\n".join([*tokens[:7], "other", *tokens[8:]]))
    train(folder, tmp_path / "run", without=["config"], status=2, **start)
    error = capsys.readouterr().err
    assert (
        f"token 7 is 'other' in {tmp_path / 'first' / 'model'} and {tokens[7]!r} in {folder / 'corpus'}; pre" in error
    )
    vocabulary.write_text("\n".join([*tokens, "more"]))
    train(folder, tmp_path / "run", without=["config"], status=2, **start)
    assert f"has only the first 90 tokens of {tmp_path / 'first' / 'model'}; prepare" in capsys.readouterr().err


def test_another_vocabulary_than_the_model_has_stops(folder, tmp_path, capsys):
    from bert_tf import BertConfig
    from pretraining import BertForPreTraining

    config = BertConfig(**json.loads((folder / "config.json").read_text()), vocab_size=50)
    BertForPreTraining(config).save_pretrained(tmp_path / "other")
    train(folder, tmp_path / "run", without=["config"], model=tmp_path / "other", status=2)
    assert "has a vocabulary of 50 tokens" in capsys.readouterr().err


EXPLODING = {"learning_rate": 1e30, "warmup_share": 0, "steps": 60}


def test_a_step_that_is_not_finite_stops_and_names_a_tensor(folder, tmp_path, capsys):
    """After one update at the rate 1e30 the weights are some 1e29: finite, and everything computed from them is not."""
    train(folder, tmp_path / "run", save_every=1, status=2, **EXPLODING)
    error = capsys.readouterr().err
    assert "is not finite; the first tensor that is not is the hidden state" in error
    assert "the last checkpoint stands" in error
    assert list((tmp_path / "run" / "checkpoints").iterdir())


def test_skipped_steps_are_counted_but_not_for_ever(folder, tmp_path, capsys):
    train(folder, tmp_path / "run", "--skip-non-finite", status=2, **EXPLODING)
    assert "is not finite, 20 in a row;" in capsys.readouterr().err
    assert measured(tmp_path / "run")[-1]["skipped_updates"] >= 16


def test_float16_trains(folder, tmp_path):
    train(folder, tmp_path / "half", precision="float16", steps=40)
    train(folder, tmp_path / "single", precision="float32", steps=40)
    half, single = (
        json.loads((tmp_path / run / "results.json").read_text())["metrics"]["held_out_mlm_loss"]
        for run in ("half", "single")
    )
    assert half == pytest.approx(single, rel=0.05)
