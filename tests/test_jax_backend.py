"""The modules that prove the model, run again on JAX, where they can in a process that cannot import TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

MODULES = (
    "test_dropout.py",
    "test_layers.py",
    "test_model.py",
    "test_pretraining_heads.py",
    "test_optimization.py",
    "test_downstream_layerwise.py",
    "test_lamb.py",
    "test_muon.py",
    "test_update.py",
)
TOKENIZING = ("test_vocabulary_extension.py",)  # these need TensorFlow for the tokenizer, beside the models on JAX
# A module that is None in sys.modules raises ImportError, as if it were not installed.
WITHOUT_TENSORFLOW = "import sys; sys.modules['tensorflow'] = None; "
PROGRAM = "import sys; import pytest; sys.exit(pytest.main(sys.argv[1:]))"


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this run is on JAX already")
@pytest.mark.parametrize(
    ("modules", "program"),
    [(MODULES, WITHOUT_TENSORFLOW + PROGRAM), (TOKENIZING, PROGRAM)],
    ids=["models", "tokenizing"],
)
def test_the_same_tests_pass_on_jax(modules, program):
    folder = Path(__file__).parent
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiling is nearly all of the time here
    }
    command = [
        sys.executable,
        "-c",
        program,
        "-o",
        "addopts=",
        "-q",
        "-m",
        "not once",
        *(str(folder / name) for name in modules),
    ]
    run = subprocess.run(command, env=environment, cwd=folder.parent, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    summary = run.stdout.splitlines()[-1]
    assert " passed" in summary
    assert "skipped" not in summary
