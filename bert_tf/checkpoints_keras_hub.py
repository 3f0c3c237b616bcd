"""KerasHub presets: the directory that `save_to_preset` writes for a BertBackbone or a task on one.

    config.json          the backbone's constructor arguments
    model.weights.h5     its weights, by the attribute path of each layer (keras/src/saving/saving_lib.py)
    task.json            the task's constructor arguments, and task.weights.h5, the weights of its head
    tokenizer.json, assets/tokenizer/vocabulary.txt

A BertBackbone always computes the tanh form of GELU with LayerNorm epsilon 1e-12 (`bert_backbone.py`), so that its
settings read as hidden_act "gelu_new". The head of a BertMaskedLM there has erf GELU and epsilon 1e-5, which no
Hugging Face setting can say: read here it takes the encoder's, and its logits differ in the third decimal.
"""

import os
from pathlib import Path

import h5py
import numpy as np

from bert_tf.checkpoint_values import Checkpoint
from bert_tf.config import read_json
from bert_tf.errors import InputError
from bert_tf.files import whole_directory

WEIGHTS, TASK, TASK_WEIGHTS = "model.weights.h5", "task.json", "task.weights.h5"

_KEYS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "max_sequence_length": "max_position_embeddings",
    "num_segments": "type_vocab_size",
}
_FIXED = {"hidden_act": "gelu_new", "layer_norm_eps": 1e-12}
_EMBEDDINGS = {
    "reversible_embedding": "bert.embeddings.word_embeddings.weight",
    "position_embedding": "bert.embeddings.position_embeddings.weight",
    "embedding": "bert.embeddings.token_type_embeddings.weight",
}
_LAYER_PARTS = {
    "_self_attention_layer/query_dense": "attention.self.query",
    "_self_attention_layer/key_dense": "attention.self.key",
    "_self_attention_layer/value_dense": "attention.self.value",
    "_self_attention_layer/output_dense": "attention.output.dense",
    "_self_attention_layer_norm": "attention.output.LayerNorm",
    "_feedforward_intermediate_dense": "intermediate.dense",
    "_feedforward_output_dense": "output.dense",
    "_feedforward_layer_norm": "output.LayerNorm",
}


def recognises(path):
    return (path / "config.json").exists() and (path / WEIGHTS).exists()


def read(path):
    """The `Checkpoint` of a preset's folder.

    Raises:
        InputError: a preset of another architecture, or a damaged file.
    """
    settings = read_json(path / "config.json")
    if settings.get("class_name") != "BertBackbone":
        raise InputError(f"{path} is a preset of {settings.get('class_name')!r}, expected a BertBackbone")
    *sizes, dropout = _arguments(settings, path / "config.json", *_KEYS, "dropout")
    values = dict(zip(_KEYS.values(), sizes, strict=True)) | _FIXED
    values |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    stored = _read_h5(path / WEIGHTS)
    tensors = {}
    for group, name in _EMBEDDINGS.items():
        _take(stored, tensors, group, {0: name})
    _take_pair(stored, tensors, "layer_normalization", "bert.embeddings.LayerNorm")
    for index in range(values["num_hidden_layers"]):
        group = "transformer_encoder" if index == 0 else f"transformer_encoder_{index}"
        for theirs, ours in _LAYER_PARTS.items():
            _take_pair(stored, tensors, f"{group}/{theirs}", f"bert.encoder.layer.{index}.{ours}")
    _take_pair(stored, tensors, "dense", "bert.pooler.dense")

    if (path / TASK).exists():
        task = read_json(path / TASK)
        head = _read_h5(path / TASK_WEIGHTS) if (path / TASK_WEIGHTS).exists() else {}
        kind = task.get("class_name")
        if kind == "BertTextClassifier":
            (values["num_labels"],) = _arguments(task, path / TASK, "num_classes")
            _take_pair(head, tensors, "dense", "classifier")
        elif kind == "BertMaskedLM":
            _take_pair(head, tensors, "masked_lm_head/_intermediate_dense", "cls.predictions.transform.dense")
            _take_pair(head, tensors, "masked_lm_head/_intermediate_layer_norm", "cls.predictions.transform.LayerNorm")
            _take(head, tensors, "masked_lm_head", {0: "cls.predictions.bias"})
        stored |= {f"{kind}/{name}": tensor for name, tensor in head.items()}
    sources = dict.fromkeys(_FIXED, "bert_backbone.py")
    return Checkpoint("KerasHub preset", path / "config.json", values, tensors | stored, sources)


def _arguments(saved, file, *names):
    """The constructor arguments of these names, of an object as Keras saved it in a file."""
    arguments = saved.get("config")
    missing = [name for name in names if not isinstance(arguments, dict) or name not in arguments]
    if missing:
        raise InputError(f"{file} lacks {', '.join(missing)} in its config; save the preset again with save_to_preset")
    return [arguments[name] for name in names]


def _read_h5(path):
    """{"dense/vars/0": array, …}: every array below `layers/`."""
    arrays = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and name.startswith("layers/"):
            arrays[name.removeprefix("layers/")] = item[()]

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except OSError as error:
        raise InputError(f"{path} is damaged ({error}); restore it or make it again") from None
    return arrays


def _take(stored, tensors, group, names):
    """Moves the numbered arrays of a group to their Hugging Face names; what stays in `stored` is unexpected."""
    for number, name in names.items():
        key = f"{group}/vars/{number}"
        if key in stored:
            tensors[name] = stored.pop(key)


def _take_pair(stored, tensors, group, name):
    """A kernel and bias, or gamma and beta; an attention kernel's N heads stand side by side: (H, N, D) -> (H, H)."""
    _take(stored, tensors, group, {0: f"{name}.weight", 1: f"{name}.bias"})
    weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
    if weight is None or bias is None or weight.ndim == 1:
        return
    if weight.ndim == 3:
        output = group.endswith("output_dense")  # (N, D, H)
        weight = weight.reshape(-1, weight.shape[-1]) if output else weight.reshape(weight.shape[0], -1)
    tensors[f"{name}.weight"] = np.ascontiguousarray(weight.T)
    tensors[f"{name}.bias"] = bias.reshape(-1)


def fetch_preset(name):
    """The folder with the preset of that name, fetched by `keras_nlp` once and kept in Keras' home.

    `keras_nlp` opens the preset and saves it again, so that presets of older layouts read alike.
    """
    folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "bert_tf" / name.replace("/", "_")
    if not folder.exists():
        import keras_nlp

        try:
            parts = [keras_nlp.models.BertTextClassifier.from_preset(name)]
        except TypeError:  # `num_classes` is wanted: the preset has no classifier
            models = keras_nlp.models
            parts = [models.BertBackbone.from_preset(name), models.BertTokenizer.from_preset(name)]
        with whole_directory(folder) as partial:
            for part in parts:
                part.save_to_preset(str(partial))
    return folder
