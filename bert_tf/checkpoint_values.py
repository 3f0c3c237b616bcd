"""What every format of checkpoint is read as (`bert_tf.checkpoints`): settings, and tensors by canonical name.

The settings have the keys of Hugging Face's config.json. The canonical name of a tensor is Hugging Face's, with the
prefix `bert.` on every tensor of the encoder, and its layout is PyTorch's: a dense weight is (out, in).
"""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says.

    Attributes:
        kind: the format, in words.
        config_path: the file that the settings came from.
        values: the settings, with the keys of Hugging Face's config.json; keys that the file lacks are not there.
        tensors: {canonical name: NumPy array}.
        sources: {key of `values`: where it came from}, of those that are not in `config_path`.
        passed_over: the names in the file that are no part of a model: optimizer slots, position ids, tied copies.
    """

    kind: str
    config_path: Path
    values: dict
    tensors: dict
    sources: dict = dataclasses.field(default_factory=dict)
    passed_over: tuple = ()

    def holds(self, prefix):
        """Whether there is a tensor whose name begins so: "bert.pooler.", "cls.predictions.", "classifier.", …"""
        return any(name.startswith(prefix) for name in self.tensors)

    def sha256(self):
        """The hash of all tensors, in the order of their names."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self.tensors[name]).data)
        return digest.hexdigest()


def canonical_name(name):
    """The name with the prefix that Hugging Face leaves out of a bare encoder's file, LayerNorm spelt the new way."""
    if name.endswith(("LayerNorm.gamma", "LayerNorm.beta")):
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    return f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name
