"""Settings that must stand before TensorFlow or JAX is imported."""

import os

import bert_tf  # noqa: F401  with its own setting, which it makes when it is imported

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# On a GPU, float32 products in full: TF32 has 10 bits of mantissa, and the tests compare to 1e-5.
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")


def pytest_configure(config):
    config.addinivalue_line("markers", "once: runs on TensorFlow alone where test_jax_backend.py runs a module again")
    # TensorFlow 2.21's tensors under NumPy 2, at every conversion; nothing here can change it.
    config.addinivalue_line("filterwarnings", "ignore:__array__ implementation doesn't:DeprecationWarning")
