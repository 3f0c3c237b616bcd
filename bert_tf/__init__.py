"""What BERT is: configuration, layers, model, tokenizer, checkpoints, optimization, export.

Each name is imported when it is first asked for, so that a command that needs no model starts without Keras, and
nothing here imports TensorFlow but the tokenizer, the export and Keras itself when it runs on TensorFlow.

Importing this before TensorFlow and Keras sets TF_ENABLE_ONEDNN_OPTS=1, unless it is set: on processors with AVX2 alone
TensorFlow leaves its oneDNN kernels off, and a training step takes 1.3 to 1.5 times as long.
"""

import importlib
import os
import platform

__version__ = "0.1.0"

if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # read when TensorFlow is imported

_HOMES = {
    "BertConfig": "bert_tf.config",
    "BertModel": "bert_tf.model",
    "BertTokenizer": "bert_tf.tokenizer",
    "InputError": "bert_tf.errors",
    "pack": "bert_tf.packing",
}
__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
