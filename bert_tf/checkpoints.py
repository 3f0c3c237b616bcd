"""Reading a checkpoint directory into plain values: the configuration and the tensors by canonical name.

The canonical name is Hugging Face's with the prefix `bert.` on every tensor of the encoder; the old LayerNorm spelling
`gamma`/`beta` of early Hugging Face files reads as `weight`/`bias`.
"""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file

from bert_tf.config import read_json
from bert_tf.errors import InputError

# A buffer of older Hugging Face files, and the tied copies of the MLM decoder: they hold nothing of their own.
_REDUNDANT = ("bert.embeddings.position_ids", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias")


def read_checkpoint(path):
    """(the dictionary of `config.json`, {canonical name: NumPy array}) of a Hugging Face directory.

    Raises:
        InputError: no such folder, no weights in it, or a damaged file.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"no model directory at {path}; expected a folder with config.json and model.safetensors")
    path = model_directory(path)
    values = read_json(path / "config.json")
    weights = path / "model.safetensors"
    if not weights.exists():
        raise InputError(f"{path} holds no model.safetensors; expected the weights in that file")
    try:
        tensors = load_file(weights)
    except SafetensorError as error:
        raise InputError(f"{weights} is damaged ({error}); restore it or make it again") from None
    tensors = {canonical_name(name): tensor for name, tensor in tensors.items()}
    return values, {name: tensor for name, tensor in tensors.items() if name not in _REDUNDANT}


def model_directory(path):
    """The folder with the model: `path` itself, or its subfolder `model` if `path` is the directory of a run."""
    path = Path(path)
    return path / "model" if (path / "model" / "config.json").exists() else path


def canonical_name(name):
    """The name with the prefix that Hugging Face leaves out of a bare encoder's file, LayerNorm spelt the new way."""
    if name.endswith(("LayerNorm.gamma", "LayerNorm.beta")):
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    return f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name
