"""Opening a checkpoint of any known format as plain values: the settings and the tensors by canonical name.

    Hugging Face   config.json, model.safetensors (or its shards)           bert_tf.checkpoints_hugging_face
    Google's TF1   bert_config.json, bert_model.ckpt.index and .data-*       bert_tf.checkpoints_tf1
    KerasHub       config.json, model.weights.h5 (and task.json, …)          bert_tf.checkpoints_keras_hub

What they give is a `bert_tf.checkpoint_values.Checkpoint`.
"""

import importlib
import re
from pathlib import Path

from bert_tf import checkpoints_hugging_face, checkpoints_keras_hub, checkpoints_tf1
from bert_tf.errors import InputError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(@[\w./-]+)?")
_KERAS_HUB_PRESET = re.compile(r"bert_[a-z0-9_]+|kaggle://.+")
_HUB_FILES = ("*.json", "vocab.txt", "assets/*")
_HUB_WEIGHTS = ("*.safetensors", "*.weights.h5", "*.ckpt*")
# Weights that other programs wrote beside a config.json: what they are, and what converts them once.
_REFUSED = {
    "pytorch_model.bin": ("a pickle, which can run any program when it is opened", "transformers", ""),
    "tf_model.h5": ("the weights of a TensorFlow model of transformers 4", "transformers 4", ", from_tf=True"),
    "flax_model.msgpack": ("the weights of a Flax model of transformers 4", "transformers 4", ", from_flax=True"),
}


def read_checkpoint(path):
    """The `Checkpoint` at `path`: a folder, the prefix of a TF1 checkpoint, or a name that `model_directory` takes.

    Raises:
        InputError: no checkpoint there, one of a format that stays closed, or a damaged file.
    """
    path = model_directory(path)
    return _reader(path).read(path)


def _reader(path):
    """The module that reads what is at `path`."""
    for reader in (checkpoints_hugging_face, checkpoints_keras_hub, checkpoints_tf1):
        if reader.recognises(path):
            return reader
    for name, (what, package, option) in _REFUSED.items():
        if (path / name).exists():
            raise InputError(
                f"{path} holds {name}, {what}, and no model.safetensors; convert it once where {package} is installed: "
                f"transformers.AutoModelForPreTraining.from_pretrained({str(path)!r}{option})"
                '.save_pretrained("NEW_FOLDER"), or with the Auto class of its head'
            )
    raise InputError(
        f"{path} holds no checkpoint; expected config.json with model.safetensors (Hugging Face), bert_config.json "
        "with a .ckpt.index (Google's TF1), or config.json with model.weights.h5 (KerasHub)"
    )


def model_directory(path):
    """The folder (or TF1 prefix) that holds the model which `path` names.

    Args:
        path: a folder; the directory of a run, whose subfolder `model` it is; the prefix of a TF1 checkpoint; where
            nothing of that name exists, a Hugging Face hub id such as "google-bert/bert-base-uncased" (with
            "@revision" for another than the newest), or a KerasHub preset such as "bert_tiny_en_uncased". Those two
            are fetched through `huggingface_hub` and `keras-nlp`, which keep their own caches.

    Raises:
        InputError: nothing there, or the package that would fetch it is not installed or fails.
    """
    name, path = str(path), Path(path)
    if path.is_dir():
        return path / "model" if (path / "model" / "config.json").exists() else path
    if path.with_name(path.name + ".index").exists():
        return path
    if _KERAS_HUB_PRESET.fullmatch(name):
        return _fetch("KerasHub preset", name, "keras-nlp", checkpoints_keras_hub.fetch_preset)
    if _HUB_ID.fullmatch(name) and not path.exists():
        return _fetch("Hugging Face hub id", name, "hub", _hub_snapshot)
    raise InputError(f"no model directory at {path}; expected a folder with config.json and model.safetensors")


def _fetch(what, name, extra, fetch):
    try:
        return Path(fetch(name))
    except ImportError as error:
        raise InputError(
            f"no model directory at {name}, and to fetch it as a {what} the package {error.name} is needed: "
            f"pip install 'bert-tf[{extra}]'"
        ) from None
    except InputError:
        raise
    except Exception as error:  # whatever the network or the server says: it is the answer to the user's name
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"no model directory at {name}, and fetching it as a {what} failed: {reason}") from error


def _hub_snapshot(name):
    huggingface_hub = importlib.import_module("huggingface_hub")
    repository, _, revision = name.partition("@")
    patterns = [*_HUB_FILES, *_HUB_WEIGHTS]
    folder = Path(huggingface_hub.snapshot_download(repository, revision=revision or None, allow_patterns=patterns))
    if not any(file for pattern in _HUB_WEIGHTS for file in folder.glob(pattern)):
        raise InputError(
            f"{name} on the Hugging Face hub has no model.safetensors (the weights of other programs stay closed); "
            "convert it once where transformers is installed, with from_pretrained and save_pretrained"
        )
    return folder
