"""`bert-pretrain plan`: its parts, and on a machine with libtpu a whole plan."""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import pytest

from bert_tf.errors import InputError
from bert_tf.flops import pretraining_flops
from pretraining.batches import PretrainingBatches
from pretraining.plan import batch_shapes, does_not_fit, largest_that_fits, plan
from pretraining.settings import PretrainingSettings
from pretraining.shards import PreparedCorpus
from pretraining.train import read_configuration
from tests.pretraining_runs import make_corpus

has_libtpu = importlib.util.find_spec("libtpu") is not None


@pytest.mark.parametrize("start", [8, 64, 1024])
@pytest.mark.parametrize("limit", [0, 7, 8, 9, 63, 64, 100, 1023, 1024, 5000, 70_000])
def test_bisection_ends_beside_the_limit(start, limit):
    """Everything up to the limit fits: the answer fits, what is said not to does not, and they are close."""
    asked = []

    def fits(size):
        asked.append(size)
        return size <= limit

    largest, too_large = largest_that_fits(fits, start, 8)
    assert largest <= limit < too_large
    assert too_large - largest <= max(8, largest // 16)
    assert all(size > 0 and size % 8 == 0 for size in asked)
    assert len(asked) == len(set(asked)) <= 20, "each costs minutes"


@pytest.mark.parametrize(
    ("message", "needed", "available"),
    [
        # Both as the compiler of libtpu 0.0.42 has them; the first came for a BERT-tiny with a batch of 262,144.
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (24.25G) "
            "exceeds available HBM (15.75G).",
            24.25 * 2**30,
            15.75 * 2**30,
        ),
        (
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 512.50M "
            "of 256.00M hbm. Exceeded hbm capacity by 256.50M. Memory usage report: \n\n...",
            512.5 * 2**20,
            256 * 2**20,
        ),
    ],
)
def test_the_refusals_of_the_compiler_are_read(message, needed, available):
    assert does_not_fit(message) == {"needed_bytes": needed, "available_bytes": available}


def test_another_error_of_the_compiler_is_no_refusal():
    assert does_not_fit("INTERNAL: Mosaic failed to compile TPU kernel") is None


def test_the_shapes_are_those_of_real_batches(tmp_path):
    corpus = PreparedCorpus(make_corpus(tmp_path))
    batch = PretrainingBatches(corpus, batch_size=6, max_seq_length=24, max_predictions=5).batch(0, 0)
    assert {name: (values.shape, values.dtype) for name, values in batch.items()} == batch_shapes(6, 24, 5)


def test_it_needs_jax_and_the_compiler(monkeypatch):
    settings = PretrainingSettings(data="")
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    with pytest.raises(InputError, match="Keras is on tensorflow here; set KERAS_BACKEND=jax"):
        plan(settings, "v5e:2x4")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the TPU compiler; install it with pip install 'bert-tf\[tpu\]'"):
        plan(settings, "v5e:2x4")


# With libtpu

TINY = {
    "vocab_size": 96,
    "hidden_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
}


def run_plan(folder, *options):
    (folder / "config.json").write_text(json.dumps(TINY))
    command = [sys.executable, "-m", "pretraining", "plan", "--config", str(folder / "config.json"), *options]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}  # the command chooses JAX by itself
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(not has_libtpu, reason="libtpu is not installed (the extra `tpu`)")
def test_a_tiny_model_fits_and_ten_million_words_do_not(tmp_path):
    shape = ["--max-seq-length", "32", "--max-predictions", "4", "--precision", "bfloat16", "--topology", "v5e:2x2"]
    file = tmp_path / "plan.json"
    run = run_plan(tmp_path, *shape, "--batch-size", "8", "--model-parallel", "2", "--json", str(file))
    assert run.returncode == 0, run.stderr
    assert "batch 8 x 32: fits: 0.0" in run.stdout
    assert " of 16.00 GiB a device (arguments 0.00, outputs 0.00, temporaries 0.00, program 0.0" in run.stdout
    assert "4 chips TPU v5 lite with 16 GiB of HBM each; 4: 2 parts of a batch x 2 of the weights" in run.stdout
    figures = json.loads(file.read_text())
    assert figures["fits"]
    assert (figures["chips"], figures["model_parallel"], figures["hbm_bytes"]) == (4, 2, 16 * 2**30)
    # Weights and two moments in float32, of which the large ones are on two chips, and tiles of 8 x 128 at the least.
    assert 12 * figures["parameters"] / 2 < figures["arguments_bytes"] < 12 * figures["parameters"] * 1.5
    config = read_configuration(str(tmp_path / "config.json"))
    products = 8 * pretraining_flops(config, 32, 4)
    assert figures["matrix_flops_a_step"] == products
    assert products < figures["flops_a_step"] < 3 * products  # so narrow a model has much beside its products

    # 10 million words x 128 x 4 bytes are 4.77 GiB: with two moments, a gradient and its sum over the chips 23.8.
    run = run_plan(tmp_path, *shape, "--batch-size", "8", "--vocab-size", "10000000", "--json", str(file))
    assert run.returncode == 0, run.stderr
    assert "of 15.75 GiB a device" in run.stdout
    figures = json.loads(file.read_text())
    assert not figures["fits"]
    assert 19 * 2**30 < figures["needed_bytes"] < 26 * 2**30


@pytest.mark.skipif(not has_libtpu, reason="libtpu is not installed (the extra `tpu`)")
def test_a_topology_that_is_none(tmp_path):
    run = run_plan(tmp_path, "--topology", "v5x:2x2")
    assert run.returncode == 2
    assert "--topology v5x:2x2: INVALID_ARGUMENT" in run.stderr
    assert "expected a type and a shape, such as v5e:2x4" in run.stderr
