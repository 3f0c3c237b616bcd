"""A model of this package as an ONNX graph: ids in, the outputs of its head out, any batch and any length.

Written op by op, not converted from the TensorFlow graph: LayerNorm, Gelu and the products stay whole ops (opset 20),
which a runtime fuses and quantizes; the converter of tf2onnx knows no `Erfc` and takes them apart. The tensors are
those that Hugging Face names. Shapes: B batch, S sequence, H hidden, N heads, D = H / N.
"""

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bert_tf.attention import MASKED_SCORE
from bert_tf.embeddings import sinusoids
from bert_tf.inputs import INPUT_NAMES

OPSET = 20
_ACTIVATIONS = {  # of config.json: the op and its attributes
    "gelu": ("Gelu", {"approximate": "none"}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
}


def onnx_model(model):
    """The `onnx.ModelProto` of a model in float32.

    Inputs `input_ids`, `attention_mask`, `token_type_ids`, int64 (B, S); outputs as those of the model, float32.
    """
    tensors = {name.removeprefix("bert."): place.read() for name, place in model.weight_table().items()}
    graph = _Graph(tensors)
    config = model.config
    hidden = _encoder(graph, config, getattr(model, "bert", model))
    outputs = {}
    pooled = None
    if "pooler.dense.weight" in tensors:
        first = graph("Squeeze", graph("Slice", hidden, [0], [1], [1]), [1])  # (B, H)
        pooled = graph("Tanh", graph.dense("pooler.dense", first))
    if "classifier.weight" in tensors:
        outputs["logits"] = graph.dense("classifier", hidden if pooled is None else pooled)
    elif "qa_outputs.weight" in tensors:
        logits = graph.dense("qa_outputs", hidden)  # (B, S, 2)
        for name, place in (("start_logits", 0), ("end_logits", 1)):
            outputs[name] = graph("Squeeze", graph("Slice", logits, [place], [place + 1], [2]), [2])
    elif not any(name.startswith("cls.") for name in tensors):
        outputs = {"last_hidden_state": hidden} | ({"pooler_output": pooled} if pooled else {})
    if "cls.predictions.bias" in tensors:
        words = _activation(graph, config, graph.dense("cls.predictions.transform.dense", hidden))
        words = graph.layer_norm("cls.predictions.transform.LayerNorm", words, config.layer_norm_eps)
        kernel = graph("Transpose", "embeddings.word_embeddings.weight", perm=[1, 0])
        outputs["prediction_logits"] = graph("Add", graph("MatMul", words, kernel), "cls.predictions.bias")
    if "cls.seq_relationship.weight" in tensors:
        outputs["seq_relationship_logits"] = graph.dense("cls.seq_relationship", pooled)
    return graph.finished(outputs)


class _Graph:
    """Nodes and constants as they are added; a value is known by its name, a list of numbers becomes a constant."""

    def __init__(self, tensors):
        self._tensors = tensors
        self._nodes, self._constants, self._used = [], {}, {}

    def __call__(self, op, *inputs, outputs=1, **attributes):
        """The name of the output of a new node, or a list of names."""
        inputs = [value if isinstance(value, str) else self.constant(np.array(value, np.int64)) for value in inputs]
        for name in inputs:
            if name in self._tensors:
                self._used[name] = self._tensors[name]
        names = [f"{op}_{len(self._nodes)}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, values, name=None):
        name = name or f"constant_{values.dtype}_{'_'.join(map(str, values.shape))}_{values.tobytes().hex()}"
        self._constants[name] = values
        return name

    def dense(self, name, value, parts=("",)):
        """x Wᵀ + b of the Hugging Face tensors; with several parts their outputs side by side."""
        kernels = [self._tensors[f"{name}{part}.weight"] for part in parts]
        biases = [self._tensors[f"{name}{part}.bias"] for part in parts]
        kernel = self.constant(np.concatenate(kernels).T, f"{name}.kernel")
        bias = self.constant(np.concatenate(biases), f"{name}.bias")
        return self("Add", self("MatMul", value, kernel), bias)

    def layer_norm(self, name, value, epsilon):
        return self("LayerNormalization", value, f"{name}.weight", f"{name}.bias", axis=-1, epsilon=epsilon)

    def finished(self, outputs):
        renamed = {name: output for output, name in outputs.items()}
        for node in self._nodes:
            node.output[:] = [renamed.get(name, name) for name in node.output]
            node.input[:] = [renamed.get(name, name) for name in node.input]
        graph = helper.make_graph(
            self._nodes,
            "bert_tf",
            [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in INPUT_NAMES],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [
                numpy_helper.from_array(np.ascontiguousarray(values), name)
                for name, values in (self._used | self._constants).items()
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="bert_tf")
        model.ir_version = 10
        return onnx.shape_inference.infer_shapes(model) if model.ByteSize() < 2**31 else model


def _encoder(graph, config, encoder):
    """The name of the last hidden state (B, S, H)."""
    length = graph("Shape", "input_ids", start=1, end=2)  # (1,)
    hidden = graph("Gather", "embeddings.word_embeddings.weight", "input_ids")
    hidden = graph("Add", hidden, graph("Gather", "embeddings.token_type_embeddings.weight", "token_type_ids"))
    positions = _positions(graph, config)
    if positions is not None:
        hidden = graph("Add", hidden, graph("Slice", positions, [0], length, [0]))
    hidden = graph.layer_norm("embeddings.LayerNorm", hidden, config.layer_norm_eps)

    visible = graph("Cast", "attention_mask", to=TensorProto.FLOAT)
    one, least = (graph.constant(np.array(value, np.float32)) for value in (1, MASKED_SCORE))
    bias = graph("Mul", graph("Sub", one, visible), least)
    bias = graph("Unsqueeze", bias, [1, 2])  # (B, 1, 1, S)
    if encoder.relative_bias is not None:
        longest = np.asarray(encoder.relative_bias(length=config.max_position_embeddings))  # (1, N, P, P)
        whole = graph.constant(longest, "relative_bias")
        bias = graph("Add", bias, graph("Slice", whole, [0, 0], graph("Concat", length, length, axis=0), [2, 3]))
    for index in range(config.num_hidden_layers):
        hidden = _block(graph, config, f"encoder.layer.{index}", hidden, bias)
    return hidden


def _positions(graph, config):
    """The name of the table of positions, None for those that are a bias of the attention."""
    if config.position_embedding_type == "absolute":
        return "embeddings.position_embeddings.weight"
    if config.position_embedding_type == "sinusoidal":
        return graph.constant(sinusoids(config.max_position_embeddings, config.hidden_size), "sinusoids")
    return None


def _block(graph, config, name, hidden, bias):
    heads, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    fused = graph.dense(f"{name}.attention.self.", hidden, ("query", "key", "value"))  # (B, S, 3 H)
    parts = graph("Split", fused, axis=-1, num_outputs=3, outputs=3)
    query, key, value = (
        graph("Transpose", graph("Reshape", part, [0, 0, heads, width]), perm=order)
        for part, order in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    scale = graph.constant(np.array(1 / math.sqrt(width), np.float32))
    scores = graph("Add", graph("MatMul", graph("Mul", query, scale), key), bias)  # (B, N, S, S)
    context = graph("MatMul", graph("Softmax", scores, axis=-1), value)  # (B, N, S, D)
    context = graph("Reshape", graph("Transpose", context, perm=[0, 2, 1, 3]), [0, 0, config.hidden_size])
    attended = graph("Add", graph.dense(f"{name}.attention.output.dense", context), hidden)
    attended = graph.layer_norm(f"{name}.attention.output.LayerNorm", attended, config.layer_norm_eps)
    wide = _activation(graph, config, graph.dense(f"{name}.intermediate.dense", attended))
    hidden = graph("Add", graph.dense(f"{name}.output.dense", wide), attended)
    return graph.layer_norm(f"{name}.output.LayerNorm", hidden, config.layer_norm_eps)


def _activation(graph, config, value):
    if config.hidden_act == "silu":
        return graph("Mul", value, graph("Sigmoid", value))
    op, attributes = _ACTIVATIONS[config.hidden_act]
    return graph(op, value, **attributes)
