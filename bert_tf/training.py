"""One training step and one evaluation step, compiled by whichever backend Keras runs on.

A task states what it minimises as an `Objective`; the step takes a batch of NumPy arrays, splits it into micro-batches
if asked, and makes one update from the mean gradient of the whole batch, clipped by its global norm. An update whose
gradient is not finite is not made. The two implementations, `bert_tf.tensorflow_step` and `bert_tf.jax_step`, have the
same methods.
"""

import abc

import keras

from bert_tf.errors import InputError


class Objective(abc.ABC):
    """What a task minimises and counts.

    Every figure is a pair (sum, weight) of float32 scalars, so that micro-batches, batches and hosts add up exactly:
    its value is sum / weight. The loss of a batch is the sum of `value(name)` over `loss_names`.

    Attributes:
        input_names: the keys of a batch that the model takes; those that a batch lacks are left out.
        loss_names: the figures that are minimised.
    """

    input_names: tuple = ()
    loss_names: tuple = ()

    @abc.abstractmethod
    def weights(self, batch):
        """{loss name: the weight of a batch}, from the batch alone: the outputs are not needed to know it."""

    @abc.abstractmethod
    def figures(self, outputs, batch):
        """{name: (sum, weight)} of every loss and every metric, from the model's outputs."""

    def inputs(self, batch):
        return {name: batch[name] for name in self.input_names if name in batch}

    def loss(self, figures, weights):
        """The scalar to minimise of a micro-batch that is part of a batch with these weights."""
        return sum(figures[name][0] / weights[name] for name in self.loss_names)


def make_deterministic(seed):
    """Seeds initial weights and dropout; on TensorFlow also forbids operations that add in varying order."""
    if not 0 <= seed < 2**32:
        raise InputError(f"seed must be from 0 to {2**32 - 1}, got {seed}")
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def make_step(model, objective, optimizer=None, *, accumulation=1, clip_norm=1.0, loss_scale=None, distribution=None):
    """A compiled step for the backend that Keras runs on.

    Args:
        model: a built Keras model.
        objective: an `Objective`.
        optimizer: a Keras optimizer without clipping of its own, its rate a number; None for evaluation alone.
        accumulation: the number of micro-batches a batch is split into; it must divide the batch size.
        clip_norm: the largest global norm of the mean gradient.
        loss_scale: a `bert_tf.loss_scale.LossScale` for float16, else None.
        distribution: that of `bert_tf.devices.Devices`, for several devices on JAX; else None. Each host then passes
            its rows of a batch and gets the figures of the whole batch.

    Returns an object with
        train(batch, rate) -> {name: (sum, weight)}   one update at the learning rate `rate`: the objective's figures,
            `gradient_norm` before clipping, and `skipped`, 1 where the gradient was not finite: then nothing but
            the dropout seeds (and the loss scale) has changed, and every other figure has the weight 0
        evaluate(batch) -> {name: (sum, weight)}      no dropout, no update
        gradients(batch) -> the mean gradient by trainable variable, from the Keras variables; not clipped, no update
        sync()   puts the current values into the Keras variables (needed before they are read or saved); all hosts
            must call it together

    Raises:
        InputError: a backend that does not train, or several devices on another than JAX.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from bert_tf.tensorflow_step import TensorFlowStep as Step
    elif backend == "jax":
        from bert_tf.jax_step import JaxStep as Step
    else:
        raise InputError(
            f"training runs on the Keras backends tensorflow and jax, got {backend}; set KERAS_BACKEND to one of them"
        )
    if distribution is None:
        return Step(model, objective, optimizer, accumulation, clip_norm, loss_scale)
    if backend != "jax":
        raise InputError(f"several devices need the Keras backend jax, got {backend}; set KERAS_BACKEND=jax")
    return Step(model, objective, optimizer, accumulation, clip_norm, loss_scale, distribution)
