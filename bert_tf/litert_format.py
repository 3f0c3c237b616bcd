"""`model.tflite`: converted by TensorFlow, run by LiteRT (extra `litert`); one row of a fixed length at a time.

The converter takes no row of open length: it has no op for the mask of one.
"""

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from bert_tf.inputs import INPUT_NAMES

NAME, FILE, PADDING = "litert", "model.tflite", "max_length"


def write(model, file, *, int8, max_length):
    """Writes the model for int32 inputs (1, max_length); with `int8` the kernels as int8 (dynamic range)."""
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]

    def serve(*inputs):
        outputs = model(dict(zip(INPUT_NAMES, inputs, strict=True)), training=False)
        return {name: tf.cast(values, tf.float32) for name, values in outputs.items()}

    specifications = [tf.TensorSpec([1, max_length], tf.int32, name) for name in INPUT_NAMES]
    module.serve = tf.function(serve, autograph=False, input_signature=specifications)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.serve.get_concrete_function()], module)
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    file.write_bytes(converter.convert())


def load(file):
    """A function from {name: (1, max_length) integers} to {name: array}."""
    runner = Interpreter(model_path=str(file)).get_signature_runner()
    return lambda inputs: runner(**{name: np.asarray(values, np.int32) for name, values in inputs.items()})
