"""`model.onnx`: written by `bert_tf.onnx_graph`, made int8 and run by ONNX Runtime (extra `onnx`)."""

import logging

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic

from bert_tf.errors import InputError
from bert_tf.onnx_graph import onnx_model

NAME, FILE, PADDING = "onnx", "model.onnx", "longest"


def write(model, file, *, int8, max_length):
    """Writes the graph; with `int8` the kernels of all products as int8, a scale a column, and what they are multiplied
    with as it comes (dynamic quantization).

    The kernels use seven of the eight bits: on processors with AVX2 but without VNNI, ONNX Runtime adds two products in
    16 bits, where those of eight bits are cut off ("reduce_range" in its documentation of quantization).

    Raises:
        InputError: `max_length` is beyond the positions.
    """
    limit = model.config.max_position_embeddings
    if max_length > limit:  # only relative positions come here with more: the graph holds their bias as one table
        raise InputError(
            f"max_length {max_length} is beyond max_position_embeddings {limit}, as far as the relative positions of "
            f"an ONNX graph go; give at most {limit}, or another format"
        )
    onnx.save(onnx_model(model), file)
    if int8:
        logging.getLogger("root").addFilter(_is_no_advice)
        try:
            quantize_dynamic(file, file, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
        finally:
            logging.getLogger("root").removeFilter(_is_no_advice)


def load(file):
    """A function from {name: (B, S) integers} to {name: array}."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs):
        inputs = {name: np.asarray(values, np.int64) for name, values in inputs.items()}
        return dict(zip(names, session.run(None, inputs), strict=True))

    return run


def _is_no_advice(record):
    """The quantizer warns on every model that it was not simplified before."""
    return "Please consider to run pre-processing" not in record.getMessage()
