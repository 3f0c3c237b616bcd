"""Whole pretraining runs as commands: a result, exact continuation after SIGKILL, JAX without TensorFlow, bad input."""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from bert_tf import BertConfig, BertModel
from bert_tf.errors import InputError
from bert_tf.training_checkpoint import restore_training_checkpoint
from pretraining import BertForMaskedLM, BertForPreTraining
from pretraining.__main__ import main
from tests.pretraining_runs import lines, make_corpus, measured, run_and_kill, train_command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretraining")
    make_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def finished(folder):
    """A whole uninterrupted run: (its directory, what it printed)."""
    output, printed = folder / "finished", io.StringIO()
    with contextlib.redirect_stdout(printed):
        train_here(folder, output)
    return output, printed.getvalue()


def train_here(folder, output, **options):
    """The command in this process, which spares the imports."""
    assert main(train_command(folder, output, **options)[3:]) == 0


def test_a_run_leaves_all_its_files(finished):
    output, printed = finished
    for name in ("config.json", "metrics.jsonl", "results.json", "learning_curve.png", "model/config.json",
                 "model/model.safetensors", "model/vocab.txt", "model/tokenizer_config.json"):  # fmt: skip
        assert (output / name).stat().st_size > 0, name
    assert list((output / "tensorboard").glob("events*"))
    assert [path.name for path in sorted((output / "checkpoints").iterdir())] == ["step-00000280", "step-00000300"]
    assert "unigram entropy" in printed
    assert "parameters" in printed
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert results["steps"] == 300
    assert set(results["metrics"]) == {
        f"held_out_{task}_{figure}" for task in ("mlm", "nsp") for figure in ("loss", "accuracy")
    }
    # 300 steps, a line each 10: 30; evaluations at 150 and 300: 2.
    assert lines(output) == 32
    # The logged rate is that of the update: the 30th of 30 to warm up had 29/30 of the peak 2e-3, the last 1/270.
    rates = {line["step"]: line["learning_rate"] for line in measured(output) if "learning_rate" in line}
    assert rates[30] == pytest.approx(2e-3 * 29 / 30, rel=1e-6)
    assert rates[300] == pytest.approx(2e-3 * 1 / 270, rel=1e-4)


def test_a_finished_run_says_so_and_does_nothing(folder, finished, capsys):
    output, _ = finished
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    train_here(folder, output)
    assert "finished run of 300 steps; nothing to do" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}


def test_killed_three_times_it_ends_with_the_same_bits(folder, finished):
    uninterrupted, _ = finished
    output, killed = folder / "killed", 0
    for at_line in sorted(random.Random().sample(range(2, 26), 3)):  # other moments in every run of the tests
        killed += run_and_kill(train_command(folder, output), output, at_line)
    assert killed == 3
    train_here(folder, output)
    assert_same_bits(uninterrupted, output)


def test_sigterm_writes_a_checkpoint_and_ends_with_75(folder, finished):
    uninterrupted, _ = finished
    output = folder / "preempted"
    process = subprocess.Popen(train_command(folder, output, save_every=1000), stderr=subprocess.PIPE, text=True)
    while lines(output) < 4 and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 75
    assert "the same command continues" in errors
    assert len(list((output / "checkpoints").iterdir())) == 1
    train_here(folder, output, save_every=1000)
    assert_same_bits(uninterrupted, output)


def _unfinished_copy(run, output):
    """The run as if it had been killed before it wrote its results."""
    shutil.copytree(run, output)
    (output / "results.json").unlink()
    shutil.rmtree(output / "model")
    return sorted((output / "checkpoints").iterdir())


def test_a_damaged_newest_checkpoint_falls_back(folder, finished, tmp_path, capsys):
    uninterrupted, _ = finished
    newest = _unfinished_copy(uninterrupted, tmp_path / "run")[-1]
    content = bytearray((newest / "state.safetensors").read_bytes())
    content[len(content) // 2] ^= 1  # one flipped bit
    (newest / "state.safetensors").write_bytes(bytes(content))
    train_here(folder, tmp_path / "run")
    captured = capsys.readouterr()
    assert f"The checkpoint {newest} is damaged" in captured.err
    assert "Continuing after step 280" in captured.out
    assert_same_bits(uninterrupted, tmp_path / "run")


def test_truncated_checkpoints_all_of_them_stop(folder, finished, tmp_path, capsys):
    for path in _unfinished_copy(finished[0], tmp_path / "run"):
        os.truncate(path / "state.json", 20)
    assert main(train_command(folder, tmp_path / "run")[3:]) == 2
    error = capsys.readouterr().err
    assert f"all 2 checkpoints in {tmp_path / 'run' / 'checkpoints'} are damaged; restore one, or remove" in error


def test_a_checkpoint_of_another_model_stops(folder, finished, tmp_path):
    _unfinished_copy(finished[0], tmp_path / "run")
    variable = keras.Variable(np.zeros(3))
    with pytest.raises(InputError, match="step-00000300 holds the state of another model"):
        restore_training_checkpoint(tmp_path / "run" / "checkpoints", [variable])


def test_jax_trains_where_tensorflow_cannot_be_imported(folder, finished):
    """And ends with the same bits after a kill there too."""
    pytest.importorskip("jax")
    script = (
        "import runpy, sys; sys.modules['tensorflow'] = None; "  # `import tensorflow` raises ModuleNotFoundError
        "runpy.run_module('pretraining', run_name='__main__')"
    )
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiling is nearly all of the time here: less of it, and once
        "JAX_COMPILATION_CACHE_DIR": str(folder / "jax_cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def command(output):
        return [sys.executable, "-c", script, *train_command(folder, output)[3:]]

    whole, killed = folder / "jax", folder / "jax_killed"
    done = subprocess.run(command(whole), env=environment, capture_output=True, text=True, check=True)
    assert "Keras on jax" in done.stdout
    assert [line.get("learning_rate") for line in measured(whole)] == [
        pytest.approx(line["learning_rate"]) if "learning_rate" in line else None for line in measured(finished[0])
    ]
    assert run_and_kill(command(killed), killed, 7, environment)
    subprocess.run(command(killed), env=environment, capture_output=True, check=True)
    assert_same_bits(whole, killed)


def test_evaluate_agrees_with_the_end_of_the_run(folder, finished, capsys):
    output, _ = finished
    arguments = ["--max-seq-length", "32", "--max-predictions", "5", "--batch-size", "4"]
    assert main(["evaluate", "--model", str(output), "--data", str(folder / "corpus"), *arguments]) == 0
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines())
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    for name, value in results["metrics"].items():
        assert float(printed[name.removeprefix("held_out_")]) == pytest.approx(value, abs=2e-4)
    for name, value in results["baselines"].items():
        assert float(printed[name]) == pytest.approx(value, abs=2e-4)


def test_padding_of_the_vocabulary_changes_no_figure_and_stays_in_memory(folder, tmp_path):
    """90 words in 96 rows: six steps with dropout log the figures of the unpadded run; the directory has 90 rows."""
    options = {"steps": 6, "log_every": 1, "evaluate_every": 6}
    train_here(folder, tmp_path / "plain", **options)
    train_here(folder, tmp_path / "padded", pad_vocab_size_multiple_of=32, **options)
    plain, padded = measured(tmp_path / "plain"), measured(tmp_path / "padded")
    assert len(plain) == len(padded) == 7
    for expected, line in zip(plain, padded, strict=True):
        assert line == pytest.approx(expected, rel=1e-4)
    plain, padded = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("plain", "padded"))
    assert padded["bert.embeddings.word_embeddings.weight"].shape == (90, 16)
    for name, tensor in plain.items():
        np.testing.assert_allclose(padded[name], tensor, atol=1e-5, err_msg=name)
    saved = load_file(next((tmp_path / "padded" / "checkpoints").glob("*/state.safetensors")))
    assert (96, 16) in {value.shape for value in saved.values()}  # what was trained did have the padding


def assert_same_bits(first, second):
    ours, theirs = load_file(first / "model" / "model.safetensors"), load_file(second / "model" / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_array_equal(tensor.view(np.uint32), theirs[name].view(np.uint32), err_msg=name)
    assert measured(first) == measured(second)


# Bad input: one sentence on stderr and status 2.


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"data": "nowhere"}, "nowhere is not a prepared corpus"),
        ({"config": "bert-tinny"}, "no BERT size is named 'bert-tinny'; the nearest name is 'bert-tiny'"),
        ({"max_seq_length": 64}, "max_seq_length 64 is beyond max_position_embeddings 40"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"pad_vocab_size_multiple_of": 0}, "pad_vocab_size_multiple_of must be at least 1, got 0"),
        ({"batch_size": 6, "accumulation": 4}, "batch_size must be a multiple of accumulation, got 6 and 4"),
        ({"warmup_share": 1.0}, "warmup_share must be in [0, 1), got 1.0"),
        ({"phase2_share": 1.5}, "phase2_share must be in [0, 1), got 1.5"),
        ({"hours": 1}, "a run has one budget, got steps and hours; give one of them"),
        ({"model": "a/model"}, "--model brings its own configuration; leave --config and --initializer-range out"),
        ({"learning_rate": 0}, "learning_rate must be above 0, got 0.0"),
        ({"precision": "float8"}, "precision must be one of float32, bfloat16, float16, got 'float8'"),
        ({"phase2_batch_size": 0}, "phase2_batch_size must be at least 1, got 0"),
        ({"phase2_accumulation": 0}, "phase2_accumulation must be at least 1, got 0"),
        ({"batch_size": 4000}, "fewer than the 4000 of a batch"),
        ({"masking": "words"}, "masking must be one of token, whole_word, ngram, span, not 'words'"),
        ({"max_predictions": 30}, "max_predictions must be from 1 to max_seq_length - 3 = 29, not 30"),
        ({"seed": 5_000_000_000}, "seed must be from 0 to 4294967295, got 5000000000"),
        ({"config": "."}, "cannot read .: Is a directory; expected a JSON file there"),
    ],
)
def test_bad_settings_stop_with_a_sentence(folder, tmp_path, capsys, options, sentence):
    """And do not claim the directory: the corrected command may have it."""
    assert main(train_command(folder, tmp_path / "run", **options)[3:]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_output_of_another_run_is_refused(folder, finished, capsys):
    output, _ = finished
    assert main(train_command(folder, output, seed=8)[3:]) == 2
    assert f"{output} belongs to another run (seed 0 there, 8 now)" in capsys.readouterr().err


def test_an_output_that_is_no_run_is_refused(folder, tmp_path, capsys):
    (tmp_path / "letter.txt").write_text("dear")
    assert main(train_command(folder, tmp_path)[3:]) == 2
    assert "holds files but no config.json of a run" in capsys.readouterr().err
    assert main(train_command(folder, tmp_path / "letter.txt")[3:]) == 2
    assert f"{tmp_path}/letter.txt is a file; choose an empty or new folder for --output" in capsys.readouterr().err


def test_pairs_need_two_segments(folder, tmp_path, capsys):
    config = json.loads((folder / "config.json").read_text()) | {"type_vocab_size": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    sentence = (
        "next sentence prediction needs a type_vocab_size of at least 2, got 1 in {}; change it, or train with --no"
    )
    command = train_command(folder, tmp_path / "run", config=tmp_path / "config.json", steps=2)[3:]
    assert main(command) == 2
    assert sentence.format(tmp_path / "config.json") in capsys.readouterr().err
    assert main([*command, "--no-nsp"]) == 0
    BertForPreTraining(BertConfig(**config, vocab_size=90)).save_pretrained(tmp_path / "model")
    capsys.readouterr()
    command = ["evaluate", "--model", str(tmp_path / "model"), "--data", str(folder / "corpus")]
    assert main([*command, "--max-seq-length", "32"]) == 2
    assert sentence.format(tmp_path / "model") in capsys.readouterr().err


def test_evaluate_refuses_another_vocabulary_and_another_head(folder, finished, tmp_path, capsys):
    config = BertConfig(**json.loads((folder / "config.json").read_text()), vocab_size=50)
    BertForMaskedLM(config).save_pretrained(tmp_path / "other")
    assert main(["evaluate", "--model", str(tmp_path / "other"), "--data", str(folder / "corpus")]) == 2
    assert "has a vocabulary of 50 tokens" in capsys.readouterr().err
    BertModel(config).save_pretrained(tmp_path / "encoder")
    assert main(["evaluate", "--model", str(tmp_path / "encoder"), "--data", str(folder / "corpus")]) == 2
    assert "is a BertModel, expected one of BertForPreTraining, BertForMaskedLM" in capsys.readouterr().err


def test_evaluate_compares_the_tokens(folder, tmp_path, capsys):
    """A model of 96 words, of which the last six stand for nothing, fits the corpus of 90; another token does not."""
    config = BertConfig(**json.loads((folder / "config.json").read_text()), vocab_size=96)
    BertForMaskedLM(config).save_pretrained(tmp_path)
    tokens = (folder / "tokenizer" / "vocab.txt").read_text().splitlines()
    command = ["evaluate", "--model", str(tmp_path), "--data", str(folder / "corpus"), "--max-seq-length", "32"]
    for vocabulary, status, printed in (
        (tokens, 0, ""),
        ([*tokens[:7], "other", *tokens[8:]], 2, f"token 7 is 'other' in {tmp_path} and {tokens[7]!r} in"),
        (tokens[:88], 2, f"{tmp_path} has a vocabulary of 88 tokens and {folder / 'corpus'} was prepared with 90; pre"),
    ):
        (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        assert main(command) == status
        assert printed in capsys.readouterr().err


@pytest.mark.parametrize("batches", [-1, 0])
def test_evaluate_measures_at_least_a_batch(folder, capsys, batches):
    command = ["evaluate", "--model", str(folder), "--data", str(folder / "corpus"), "--batches", str(batches)]
    assert main(command) == 2
    sentence = f"batches must be at least 1, got {batches}; leave it out to measure all"
    assert capsys.readouterr().err == f"bert-pretrain: error: {sentence}\n"
