"""Hugging Face directories: `config.json` and `model.safetensors`, whole or in shards, of any float type.

Follows the files that `transformers` writes (`PreTrainedModel.save_pretrained`). The old LayerNorm spelling
`gamma`/`beta` of early files reads as `weight`/`bias`; other spellings of one activation read as one.
"""

import ml_dtypes  # gives NumPy its bfloat16
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from bert_tf.checkpoint_values import Checkpoint, canonical_name
from bert_tf.config import read_json
from bert_tf.errors import InputError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

# Names in transformers' `activations.py` of functions that are the same here: "gelu_fast" and "gelu_pytorch_tanh" are
# the tanh form with its constant written out or computed by PyTorch.
_SAME_ACTIVATION = {
    "gelu_python": "gelu",
    "gelu_fast": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "swish": "silu",
}
_WORDS = "bert.embeddings.word_embeddings.weight"
# What the MLM decoder of a file repeats: its kernel is the word embeddings, its bias the bias of the head.
_TIED = {"cls.predictions.decoder.weight": _WORDS, "cls.predictions.decoder.bias": "cls.predictions.bias"}
_BUFFERS = ("bert.embeddings.position_ids", "bert.embeddings.token_type_ids")


def recognises(path):
    return (path / "config.json").exists() and ((path / WEIGHTS).exists() or (path / INDEX).exists())


def read(path):
    """The `Checkpoint` of a folder.

    Raises:
        InputError: a damaged file, a missing shard, no tensors or one that is no float, two tensors of one canonical
            name, or an MLM decoder that is not tied to the word embeddings.
    """
    values = read_json(path / "config.json")
    if isinstance(values.get("hidden_act"), str):
        values["hidden_act"] = _SAME_ACTIVATION.get(values["hidden_act"], values["hidden_act"])
    tensors = {}
    for file in _weight_files(path):
        for name, tensor in _load(file).items():
            if canonical_name(name) in tensors:
                raise InputError(f"{file} holds {name}, which stands in {path} already; make the files again")
            tensors[canonical_name(name)] = tensor
    passed_over = [name for name in _BUFFERS if tensors.pop(name, None) is not None]
    for copy, original in _TIED.items():
        if copy not in tensors:
            continue
        tensor = tensors.pop(copy)
        if original in tensors and not np.array_equal(tensor, tensors[original]):
            raise InputError(
                f"{path}: {copy} differs from {original}; this package computes only a decoder that is tied to the "
                "word embeddings"
            )
        if original in tensors:
            passed_over.append(copy)
        else:
            tensors[original] = tensor
    if not tensors:
        raise InputError(f"{path} holds no tensors of a model; copy its weights there, or make them again")
    for name, tensor in tensors.items():
        if not np.issubdtype(tensor.dtype, np.floating) and tensor.dtype != ml_dtypes.bfloat16:
            raise InputError(_not_floats(path, f"{name} as {tensor.dtype.name}"))
    return Checkpoint("Hugging Face directory", path / "config.json", values, tensors, passed_over=tuple(passed_over))


def _weight_files(path):
    if (path / WEIGHTS).exists():
        return [path / WEIGHTS]
    shards = read_json(path / INDEX).get("weight_map")
    if not isinstance(shards, dict):
        raise InputError(f"{path / INDEX} has no weight_map that names the file of each tensor; make it again")
    files = [path / name for name in sorted(set(shards.values()))]
    for file in files:
        if not file.exists():
            raise InputError(f"{path / INDEX} names {file.name}, which is not there; copy every shard")
    return files


def _load(file):
    try:
        return load_file(file)
    except SafetensorError as error:
        raise InputError(f"{file} is damaged ({error}); restore it or make it again") from None
    except AttributeError as error:  # what safetensors raises for a type of its list that NumPy has not, such as FP8
        raise InputError(_not_floats(file, f"{error.name} numbers")) from None


def _not_floats(where, what):
    return (
        f"{where} holds {what}, expected float32, float64, float16 or bfloat16; convert it to one of them where it was "
        "quantized"
    )
