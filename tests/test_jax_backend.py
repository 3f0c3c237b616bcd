"""The modules that prove the model, run again on JAX in a process where TensorFlow cannot be imported."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

MODULES = (
    "test_layers.py",
    "test_model.py",
    "test_pretraining_heads.py",
    "test_optimization.py",
    "test_lamb.py",
    "test_muon.py",
    "test_update.py",
)
# A module that is None in sys.modules raises ImportError, as if it were not installed.
PROGRAM = "import sys; sys.modules['tensorflow'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this run is on JAX already")
def test_the_same_tests_pass_on_jax():
    folder = Path(__file__).parent
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiling is nearly all of the time here
    }
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        "-o",
        "addopts=",
        "-q",
        "-m",
        "not once",
        *(str(folder / name) for name in MODULES),
    ]
    run = subprocess.run(command, env=environment, cwd=folder.parent, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    summary = run.stdout.splitlines()[-1]
    assert " passed" in summary
    assert "skipped" not in summary
