"""The model without dropout, compiled: the pass of validation and prediction, on TensorFlow or JAX."""

import keras

from bert_tf.errors import InputError
from bert_tf.inputs import INPUT_NAMES


def compile_forward(model):
    """A function from a batch (a dictionary of NumPy arrays) to the model's outputs, with the weights as they are then.

    On TensorFlow one graph serves all shapes, so that a result does not depend on which shapes came before it; on JAX
    each shape is compiled once.

    Raises:
        InputError: another backend.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        forward = tf.function(
            lambda inputs: model(inputs, training=False),
            input_signature=[{name: tf.TensorSpec([None, None], tf.int32) for name in INPUT_NAMES}],
            autograph=False,
        )
    elif backend == "jax":
        import jax

        compiled = jax.jit(lambda *values_and_inputs: model.stateless_call(*values_and_inputs, training=False)[0])

        def forward(inputs):
            trainable = [variable.value for variable in model.trainable_variables]
            return compiled(trainable, [variable.value for variable in model.non_trainable_variables], inputs)
    else:
        raise InputError(
            f"prediction runs on the Keras backends tensorflow and jax, got {backend}; set KERAS_BACKEND to one of them"
        )
    return lambda batch: forward({name: batch[name] for name in INPUT_NAMES})
