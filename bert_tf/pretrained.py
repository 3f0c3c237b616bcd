"""Models that live in a Hugging Face directory: `config.json` and `model.safetensors`.

Each model states, in one two-way table, the Hugging Face name of each of its tensors and where it lies here
(`weight_table`). Reading is all or explained: every missing, unexpected or misshapen name is listed. Other formats are
read through the same table (`bert_tf.checkpoints`).
"""

import abc
import dataclasses
import json
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
from keras import ops
from safetensors.numpy import save as safetensors_bytes

from bert_tf.checkpoint_values import Checkpoint, canonical_name
from bert_tf.checkpoints import read_checkpoint
from bert_tf.config import BertConfig
from bert_tf.errors import InputError
from bert_tf.files import whole_file

# Tensors of heads and of the pooler: a model without that head leaves them, a model with it may begin without them.
HEAD_PREFIXES = (
    "bert.pooler.",
    "cls.predictions.",
    "cls.seq_relationship.",
    "classifier.",
    "qa_outputs.",
    "summarizer.",
)

STORED_DTYPES = ("float32", "float16", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a Hugging Face tensor lies: a whole variable, one third of a fused one, or its first rows.

    PyTorch keeps a dense layer as (out, in), Keras as (in, out). `third` counts the blocks of the last axis. What lies
    behind `rows` is padding: it is not written to a file and not read from one.
    """

    variable: keras.Variable
    transposed: bool = False
    third: int | None = None
    rows: int | None = None

    @property
    def shape(self):
        """The shape in the file."""
        return self.part(np.broadcast_to(np.float32(0), tuple(self.variable.shape))).shape

    def part(self, value):
        """The part of an array of the variable's shape that the file's tensor is, as a view."""
        width = value.shape[-1] // 3
        columns = slice(None) if self.third is None else slice(self.third * width, (self.third + 1) * width)
        part = value[: self.rows] if self.third is None else value[..., columns]
        return part.T if self.transposed else part

    def read(self):
        if not keras.backend.is_float_dtype(self.variable.dtype):
            raise InputError(
                f"{self.variable.path} is {self.variable.dtype}: a quantized model cannot be saved in this format, "
                "which has no place for its scales; save it before quantize()"
            )
        return np.ascontiguousarray(self.part(np.asarray(ops.convert_to_numpy(self.variable.value))))

    def write(self, tensor):
        value = np.array(ops.convert_to_numpy(self.variable.value))
        self.part(value)[...] = tensor
        self.variable.assign(value)


def dense_places(name, dense):
    """A dense layer's `weight` and `bias`."""
    return {f"{name}.weight": Place(dense.kernel, transposed=True), f"{name}.bias": Place(dense.bias)}


def layer_norm_places(name, layer_norm):
    """A LayerNorm's `weight` and `bias` (`gamma` and `beta` in Keras)."""
    return {f"{name}.weight": Place(layer_norm.gamma), f"{name}.bias": Place(layer_norm.beta)}


class PretrainedModel(keras.Model, abc.ABC):
    """A Keras model made of a `BertConfig` and the settings of its head, at home in a Hugging Face directory.

    A subclass builds its layers and then its weights in `__init__`, and gives `weight_table`. A head with settings
    (labels, say) passes them to this constructor by name and translates them in the two `*_head_settings` methods.
    """

    def __init__(self, config, *, dtype=None, name=None, **head_settings):
        if not isinstance(config, BertConfig):
            raise InputError(f"{type(self).__name__} takes a BertConfig, got {type(config).__name__}")
        super().__init__(dtype=dtype, name=name)
        self.config = config
        self.head_settings = head_settings

    # Keras' own saving (`model.save("x.keras")`)

    def get_config(self):
        return {
            "config": self.config.to_dict(),
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "name": self.name,
            **self.head_settings,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        config["dtype"] = keras.saving.deserialize_keras_object(config["dtype"], custom_objects)
        return cls(BertConfig.from_dict(config.pop("config")), **config)

    # The Hugging Face directory

    @abc.abstractmethod
    def weight_table(self):
        """Hugging Face's name of each tensor -> its `Place`, every variable of the model once."""

    @staticmethod
    def write_head_settings(head_settings):
        """The keys of config.json that say the settings of the head."""
        return {}

    @staticmethod
    def read_head_settings(values):
        """The settings of the head out of a config.json."""
        return {}

    def save_pretrained(self, path, *, dtype="float32"):
        """Writes `config.json` and `model.safetensors` (each whole or not at all) in the folder `path`.

        Args:
            dtype: the float type of the tensors in the file: "float32", "float16" or "bfloat16".
        """
        path = Path(path)
        if dtype not in STORED_DTYPES:
            raise InputError(f"dtype must be one of {', '.join(STORED_DTYPES)}, got {dtype!r}")
        stored = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
        tensors = {name: place.read().astype(stored) for name, place in self.weight_table().items()}
        settings = {
            "architectures": [type(self).__name__],
            "model_type": "bert",
            "dtype": dtype,
            **self.config.to_dict(),
            **self.write_head_settings(self.head_settings),
        }
        with whole_file(path / "model.safetensors") as stream:
            stream.write(safetensors_bytes(tensors, metadata={"format": "pt"}))
        with whole_file(path / "config.json", "w") as stream:
            stream.write(json.dumps(settings, indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, path, *, allow_missing_head=False, dtype=None, config_changes=None, **head_settings):
        """Opens a model directory.

        Args:
            path: a folder with a checkpoint of any format that `bert_tf.checkpoints` reads, the directory of a run, a
                name that can be fetched (`bert_tf.checkpoints.model_directory`), or an open `Checkpoint`.
            allow_missing_head: let tensors of the head or the pooler that the folder lacks, or has for another number
                of labels, keep fresh values.
            dtype: a Keras dtype policy.
            config_changes: values of the configuration to change, such as dropout: `{"hidden_dropout_prob": 0.0}`.
            head_settings: settings of the head in place of those in `config.json`.

        Raises:
            InputError: no checkpoint there, or one whose tensors do not fit, with the list of names.
        """
        checkpoint = path if isinstance(path, Checkpoint) else read_checkpoint(path)
        config = BertConfig.from_dict(checkpoint.values, source=str(checkpoint.config_path))
        if config_changes:
            config = config.replace(**config_changes)
        model = cls(config, dtype=dtype, **(cls.read_head_settings(checkpoint.values) | head_settings))
        model.load_tensors(checkpoint.tensors, checkpoint.config_path.parent, allow_missing_head=allow_missing_head)
        return model

    def load_tensors(self, tensors, source, *, allow_missing_head=False):
        """Writes a checkpoint's tensors, by canonical name (`bert_tf.checkpoint_values`), into the variables.

        The tensors of a head that this model does not have are left; `source` names the checkpoint in errors.
        """
        table = {canonical_name(name): place for name, place in self.weight_table().items()}
        fresh = HEAD_PREFIXES if allow_missing_head else ()
        others = tuple(prefix for prefix in HEAD_PREFIXES if not any(name.startswith(prefix) for name in table))
        missing = [name for name in table if name not in tensors and not name.startswith(fresh)]
        unexpected = [name for name in tensors if name not in table and not name.startswith(others)]
        wrong = [name for name in table if name in tensors and tuple(tensors[name].shape) != table[name].shape]
        misshapen = [
            f"{name} is {tensors[name].shape}, expected {table[name].shape}"
            for name in wrong
            if not name.startswith(fresh)
        ]
        troubles = []
        for trouble, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen)):
            if names:
                hint = ""
                if trouble != "unexpected" and all(name.startswith(HEAD_PREFIXES) for name in names):
                    hint = "; pass allow_missing_head=True to begin with a fresh head"
                troubles.append(f"{len(names)} tensors are {trouble}: {', '.join(names)}{hint}")
        if troubles:
            raise InputError(f"{source} does not fit {type(self).__name__}: {'; '.join(troubles)}")
        for name, place in table.items():
            if name in tensors and name not in wrong:
                place.write(tensors[name])
