"""What the machine can do: products of the model's feed-forward shape, as a training step makes them.

The unit is one operation; modes: keras (by the backend of Keras) and torch.
"""

import numpy as np

from benchmarks.systems import Measured, data


def train_step(options):
    """Forward x·W, backward g·Wᵀ and xᵀ·g, with all tokens of the batch as rows."""
    rows = options["batch_size"] * options["length"]
    _, hidden, _, intermediate = data.shape_of(options["model"])
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal(shape, np.float32)
        for shape in ((rows, hidden), (hidden, intermediate), (rows, intermediate))
    ]
    times = max(1, int(2e11 // (6 * rows * hidden * intermediate)))  # some tenths of a second
    once = {"keras": by_keras, "torch": by_torch}[options["mode"]](arrays, options["precision"])

    def run():
        for _ in range(times):
            once()

    return Measured(run, times * 6 * rows * hidden * intermediate)


def by_keras(arrays, precision):
    import keras
    from keras import ops

    x, w, g = (ops.cast(array, precision) for array in arrays)

    def products(x, w, g):
        return ops.matmul(x, w), ops.matmul(g, ops.transpose(w)), ops.matmul(ops.transpose(x), g)

    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(products)
        return lambda: jax.block_until_ready(compiled(x, w, g))
    import tensorflow as tf

    compiled = tf.function(products)
    return lambda: [product.numpy() is None for product in compiled(x, w, g)]


def by_torch(arrays, precision):
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, w, g = (torch.from_numpy(array).to(device, getattr(torch, precision)) for array in arrays)

    def once():
        x @ w, g @ w.T, x.T @ g
        if device == "cuda":
            torch.cuda.synchronize()

    return once
