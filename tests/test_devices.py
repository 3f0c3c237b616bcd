"""Several devices and hosts on JAX: the same curve as on one, checkpoints and stops together, sentences for the rest.

Each mesh is of virtual CPU devices, in processes of their own: their number stands before JAX begins.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from bert_tf.devices import Devices, open_devices
from bert_tf.errors import InputError
from bert_tf.training import make_step
from pretraining.__main__ import main
from tests.pretraining_runs import lines, make_corpus, measured, run_and_kill, train_command

pytest.importorskip("jax")


def environment(devices):
    return os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiling is nearly all of the time here
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }


def free_address():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


def start(command, devices):
    return subprocess.Popen(
        command,
        env=environment(devices),
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outputs_of(processes, status=0):
    """[(stdout, stderr)] of processes that ran side by side."""
    try:
        outputs = [process.communicate(timeout=600) for process in processes]
    finally:
        for process in processes:
            process.kill()  # those that wait for one that failed
    assert [process.returncode for process in processes] == [status] * len(processes), outputs
    return outputs


def start_hosts(command):
    """Two processes of two devices each that train together."""
    joined = [*command, "--devices", "all", "--coordinator", free_address(), "--num-processes", "2"]
    return [start([*joined, "--process-id", number], 2) for number in "01"]


@pytest.fixture(scope="module")
def on_meshes():
    """What `device_curves` prints."""
    [(printed, _)] = outputs_of([start([sys.executable, "-m", "tests.device_curves"], 4)])
    return json.loads(printed)


@pytest.fixture(scope="module")
def curves(on_meshes):
    return on_meshes["curves"]


def assert_same_curve(curve, expected):
    assert len(curve) == len(expected) == 21
    for figures, expected_figures in zip(curve, expected, strict=True):
        assert figures == pytest.approx(expected_figures, rel=0, abs=1e-5)


@pytest.mark.parametrize("mesh", ["two", "four", "halves", "four, micro-batches"])
def test_any_mesh_has_the_curve_of_one_device(curves, mesh):
    """Losses, accuracies and gradient norms of 20 updates, those of an evaluation, the norm of the weights.

    The rows have different numbers of masked words and NSP weights: a mean of the devices' means would differ in the
    second digit. The gradient's norm is above 1, where clipping by each device would show. The micro-batches are with
    a loss scale, a power of two that goes into float32 and out of it without a rounding.
    """
    assert curves["one"][0]["gradient_norm"] > 1
    assert curves["one"][19]["mlm_loss"] < curves["one"][0]["mlm_loss"]
    assert_same_curve(curves[mesh], curves["one"])


def test_dropout_too_is_that_of_one_device(curves):
    """Its masks are functions of a seed and a place, wherever they are computed."""
    assert abs(curves["one, dropout"][0]["mlm_loss"] - curves["one"][0]["mlm_loss"]) > 1e-3
    assert_same_curve(curves["halves, dropout"], curves["one, dropout"])


def test_large_weights_and_their_moments_are_divided(on_meshes):
    """Both halves of the mesh hold a part of each weight that grows with H x H, V or I; nothing else is divided."""
    block = {
        "attention/qkv/kernel": [None, "model"],
        "attention/qkv/bias": ["model"],
        "attention/output_dense/kernel": ["model", None],
        "feed_forward/intermediate/kernel": [None, "model"],
        "feed_forward/intermediate/bias": ["model"],
        "feed_forward/output_dense/kernel": ["model", None],
    }
    expected = {f"bert/layer_0/{path}": axes for path, axes in block.items()}
    expected["bert/embeddings/word_embeddings/embeddings"] = ["model", None]
    expected["bert_for_pretraining/masked_lm/output_bias"] = ["model"]
    moments = {
        f"bert_adamw/{path.replace('/', '_')}_{moment}": axes
        for path, axes in expected.items()
        for moment in ("momentum", "velocity")
    }
    assert on_meshes["layouts"] == expected | moments


def test_what_devices_tell_each_other(on_meshes):
    """Sums alone where they share the rows. Micro-batches of rows side by side would need collective-permute and
    all-gather: each of them would lie on a part of the devices."""
    assert on_meshes["communication"] == ["all-reduce"]


# Whole runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    make_corpus(folder)
    return folder


def test_hosts_stop_together_and_one_device_goes_on(folder):
    """SIGTERM reaches the second of two hosts, whose devices hold halves of the weights; one device continues.

    The budget is too long to end here, so that the rate hardly changes and rounding does not grow.
    """
    options = {"steps": 100_000, "log_every": 1, "save_every": 100_000, "evaluate_every": 100_000, "warmup_share": 0,
               "learning_rate": 1e-4}  # fmt: skip
    run = folder / "stopped"
    hosts = start_hosts([*train_command(folder, run, **options), "--model-parallel", "2"])
    while lines(run) < 20 and [host.poll() for host in hosts] == [None, None]:
        time.sleep(0.01)
    hosts[1].send_signal(signal.SIGTERM)
    first, second = outputs_of(hosts, status=75)
    stopped = lines(run)
    assert stopped >= 20
    assert f"Stopped at step {stopped:,} as asked" in first[1]
    assert f"Stopped at step {stopped:,} as asked" in second[1]
    assert "4 on 2 hosts: 2 parts of a batch x 2 of the weights" in first[0]
    assert "parts of a batch" not in second[0], "the first host speaks for all"
    assert [path.name for path in (run / "checkpoints").iterdir()] == [f"step-{stopped:08d}"]

    alone = folder / "alone"
    for output in (run, alone):
        assert run_and_kill(train_command(folder, output, **options), output, stopped + 10, environment(1))
    ours, theirs = comparable(run), comparable(alone)
    for ours_line, theirs_line in zip(ours[: stopped + 10], theirs[: stopped + 10], strict=True):
        assert ours_line == pytest.approx(theirs_line, rel=0, abs=1e-5 if ours_line["step"] <= 20 else 1e-3)


def test_hosts_finish_a_run_as_one_device_does(folder):
    """20 updates on two hosts of two devices: the lines of metrics.jsonl, the results and the model."""
    options = {"steps": 20, "log_every": 1, "save_every": 10, "evaluate_every": 10, "dropout": 0}
    outputs_of([*start_hosts(train_command(folder, folder / "hosts", **options)),
                start(train_command(folder, folder / "one", **options), 1)])  # fmt: skip
    ours, theirs = comparable(folder / "hosts"), comparable(folder / "one")
    assert len(ours) == len(theirs) == 22
    for ours_line, theirs_line in zip(ours, theirs, strict=True):
        assert ours_line == pytest.approx(theirs_line, rel=0, abs=1e-5)
    ours, theirs = (json.loads((folder / name / "results.json").read_text()) for name in ("hosts", "one"))
    assert ours["metrics"] == pytest.approx(theirs["metrics"], rel=0, abs=1e-5)
    assert ours["baselines"] == theirs["baselines"]
    ours, theirs = (load_file(folder / name / "model" / "model.safetensors") for name in ("hosts", "one"))
    for name, tensor in theirs.items():
        np.testing.assert_allclose(ours[name], tensor, rtol=0, atol=1e-4, err_msg=name)


def comparable(output):
    """The lines of metrics.jsonl without the share of padding, which is that of the first host's rows."""
    return [{name: value for name, value in line.items() if name != "padding"} for line in measured(output)]


# Bad input


def test_tensorflow_names_the_command_for_jax(folder, capsys, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    assert main([*train_command(folder, folder / "none")[3:], "--devices", "4"]) == 2
    error = capsys.readouterr().err
    assert "trains on one device here; several need JAX: KERAS_BACKEND=jax bert-pretrain train … --devices 4" in error
    assert not (folder / "none").exists()
    message = "several devices need the Keras backend jax, got tensorflow; set KERAS_BACKEND=jax"
    with pytest.raises(InputError, match=message):
        make_step(None, None, distribution=object())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"devices": 999}, "--devices 999 is more than the"),
        ({"devices": "all", "model_parallel": 7}, "--model-parallel must divide the"),
        ({"devices": "all", "model_parallel": 0}, "--model-parallel must divide the"),
        ({"coordinator": "localhost:1"}, "need --coordinator HOST:PORT, --num-processes and --process-id together"),
        ({"num_processes": 2}, "need --coordinator HOST:PORT, --num-processes and --process-id together"),
        ({"coordinator": "auto"}, "--coordinator auto: the hosts cannot be joined"),
    ],
)
def test_numbers_that_do_not_fit(monkeypatch, arguments, sentence):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match=sentence):
        open_devices(**arguments)


def test_devices_is_a_number_or_all(folder, capsys):
    with pytest.raises(SystemExit):
        main([*train_command(folder, folder / "none")[3:], "--devices", "some"])
    assert "expected a number of at least 1, or all, got 'some'" in capsys.readouterr().err


def test_axes_must_divide_the_model_and_the_batch():
    devices = Devices(SimpleNamespace(device_mesh=SimpleNamespace(shape=(4, 2))))
    config = SimpleNamespace(num_attention_heads=2, intermediate_size=24, vocab_size=90)
    devices.check(config, 16, 2)
    with pytest.raises(InputError, match="times the 4 devices that share a batch, got 12 and 2 x 4"):
        devices.check(config, 12, 2)
    config.vocab_size = 91
    devices.check(config, 16, 2, 64)
    with pytest.raises(InputError, match="vocab_size must be a multiple of --model-parallel, got 91 and 2; --pad-"):
        devices.check(config, 16, 2)
    config.num_attention_heads = 3
    with pytest.raises(InputError, match="num_attention_heads must be a multiple of --model-parallel, got 3 and 2; ch"):
        devices.check(config, 16, 2, 64)


def test_hosts_that_see_different_files(monkeypatch):
    devices = Devices(num_hosts=2)
    gathered = SimpleNamespace(process_allgather=lambda number: np.array([number, number + 3]))
    monkeypatch.setattr("bert_tf.devices._multihost", lambda: gathered)
    with pytest.raises(InputError, match="differ in the step of the checkpoint: 5, 8; --data and --output must be"):
        devices.check_same(5, "the step of the checkpoint")


def test_the_first_hosts_clock_decides(monkeypatch):
    multihost = SimpleNamespace(broadcast_one_to_all=lambda number: number * 0 + np.float32(7.5))
    monkeypatch.setattr("bert_tf.devices._multihost", lambda: multihost)
    assert Devices(num_hosts=2).from_main(3.0) == 7.5
    assert Devices().from_main(3.0) == 3.0
