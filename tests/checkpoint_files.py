"""Small checkpoints of each format, written by hand: nothing here uses the package's own writing.

The parameters are those of `tests.small_bert`, by Hugging Face name without the prefix `bert.`.
"""

import json

import h5py
import numpy as np
from safetensors.numpy import save_file

from bert_tf import BertConfig
from tests.small_bert import parameters

SIZES = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 19,
    "type_vocab_size": 2,
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "the cat sat on a mat dog ran far and it was good bad film not very ! ? . , ##s ##ing ##ed caf ##e".split()
# 61 tokens, as many as the small model has word vectors.
VOCABULARY = [*SPECIAL, *WORDS, *(f"[unused{index}]" for index in range(61 - len(SPECIAL) - len(WORDS)))]
CONFIG = {"model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12, **SIZES}


def small_config(**changes):
    return BertConfig(**(SIZES | changes))


def hugging_face_tensors(seed=1, **changes):
    """{name in the file of a BertForPreTraining: float32 array}."""
    values = parameters(small_config(**changes), seed)
    return {
        name if name.startswith("cls.") else f"bert.{name}": value.astype("float32") for name, value in values.items()
    }


def dense_tensors(name, out, into=SIZES["hidden_size"], seed=3):
    """The weight and bias of one more head."""
    rng = np.random.default_rng(seed)
    return {
        f"{name}.weight": rng.normal(0, 0.2, (out, into)).astype("float32"),
        f"{name}.bias": rng.normal(0, 0.2, out).astype("float32"),
    }


def encoder_tensors():
    return {name: tensor for name, tensor in hugging_face_tensors().items() if name.startswith("bert.")}


def write_vocabulary(folder, tokens=VOCABULARY, **settings):
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_hugging_face(folder, architecture, tensors, **values):
    """A Hugging Face directory with a lower-casing tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"architectures": [architecture]} | CONFIG | values
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    write_vocabulary(folder, do_lower_case=True, tokenizer_class="BertTokenizer")
    return folder


def write_shards(folder, architecture, tensors):
    """The same in two shards and an index."""
    write_hugging_face(folder, architecture, tensors)
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    index = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file)
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


def tf1_name(name):
    """bert.encoder.layer.0.output.dense.weight -> bert/encoder/layer_0/output/dense/kernel, and so on."""
    if name == "cls.predictions.bias":
        return "cls/predictions/output_bias"
    parts = name.replace("encoder.layer.", "encoder.layer_").split(".")
    if parts[-2].endswith("_embeddings"):
        return "/".join(parts[:-1])
    if parts[-2] == "LayerNorm":
        return "/".join([*parts[:-1], {"weight": "gamma", "bias": "beta"}[parts[-1]]])
    if parts[-2] == "seq_relationship":
        return "/".join([*parts[:-1], {"weight": "output_weights", "bias": "output_bias"}[parts[-1]]])
    return "/".join([*parts[:-1], {"weight": "kernel", "bias": "bias"}[parts[-1]]])


def tf1_arrays(tensors):
    """{variable name: array} as google-research/bert saves them, with the optimizer's slots and the step."""
    arrays = {}
    for name, tensor in tensors.items():
        name = tf1_name(name)
        arrays[name] = tensor.T if name.endswith("/kernel") else tensor
        arrays |= {f"{name}/adam_m": np.zeros_like(arrays[name]), f"{name}/adam_v": np.ones_like(arrays[name])}
    return arrays | {"global_step": np.array(7)}


def write_tf1(folder, arrays, prefix="bert_model.ckpt", tokens=VOCABULARY):
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    config = {name: value for name, value in CONFIG.items() if name not in ("model_type", "layer_norm_eps")}
    (folder / "bert_config.json").write_text(json.dumps(config))
    write_vocabulary(folder, tokens)
    tf.raw_ops.SaveV2(
        prefix=str(folder / prefix),
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=[tf.constant(array) for array in arrays.values()],
    )
    return folder


def write_keras_hub(folder, tensors, head=None, task=None, lowercase=True):
    """A BertBackbone preset as KerasHub 0.32 saves it; `head`, the arrays of task.weights.h5 by path."""
    folder.mkdir(parents=True, exist_ok=True)
    heads, hidden = SIZES["num_attention_heads"], SIZES["hidden_size"]
    arguments = {
        "vocabulary_size": SIZES["vocab_size"],
        "num_layers": SIZES["num_hidden_layers"],
        "num_heads": heads,
        "hidden_dim": hidden,
        "intermediate_dim": SIZES["intermediate_size"],
        "dropout": 0.1,
        "max_sequence_length": SIZES["max_position_embeddings"],
        "num_segments": SIZES["type_vocab_size"],
    }
    (folder / "config.json").write_text(json.dumps({"class_name": "BertBackbone", "config": arguments}))
    arrays = {}

    def pair(group, name, kernel=(hidden, -1), bias=(-1,)):
        arrays[f"{group}/vars/0"] = tensors[f"bert.{name}.weight"].T.reshape(kernel)
        arrays[f"{group}/vars/1"] = tensors[f"bert.{name}.bias"].reshape(bias)

    for group, name in (("reversible", "word"), ("position", "position")):
        arrays[f"{group}_embedding/vars/0"] = tensors[f"bert.embeddings.{name}_embeddings.weight"]
    arrays["embedding/vars/0"] = tensors["bert.embeddings.token_type_embeddings.weight"]
    pair("layer_normalization", "embeddings.LayerNorm", (-1,))
    for index in range(SIZES["num_hidden_layers"]):
        group = "transformer_encoder" + (f"_{index}" if index else "")
        name = f"encoder.layer.{index}"
        attention = f"{group}/_self_attention_layer"
        for part in ("query", "key", "value"):
            pair(f"{attention}/{part}_dense", f"{name}.attention.self.{part}", (hidden, heads, -1), (heads, -1))
        pair(f"{attention}/output_dense", f"{name}.attention.output.dense", (heads, -1, hidden))
        pair(f"{group}/_self_attention_layer_norm", f"{name}.attention.output.LayerNorm", (-1,))
        pair(f"{group}/_feedforward_intermediate_dense", f"{name}.intermediate.dense")
        pair(f"{group}/_feedforward_output_dense", f"{name}.output.dense", (-1, hidden))
        pair(f"{group}/_feedforward_layer_norm", f"{name}.output.LayerNorm", (-1,))
    pair("dense", "pooler.dense")
    _write_h5(folder / "model.weights.h5", arrays)
    if task is not None:
        (folder / "task.json").write_text(json.dumps(task))
        _write_h5(folder / "task.weights.h5", head)
    tokenizer = {"class_name": "BertTokenizer", "config": {"lowercase": lowercase, "strip_accents": False}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "assets" / "tokenizer").mkdir(parents=True, exist_ok=True)
    (folder / "assets" / "tokenizer" / "vocabulary.txt").write_text("".join(f"{token}\n" for token in VOCABULARY))
    return folder


def _write_h5(path, arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[f"layers/{name}"] = array
        file["optimizer/vars/0"] = np.int64(3)
