"""What BERT is: configuration, layers, model, tokenizer, checkpoints, optimization, export.

Each name is imported when it is first asked for, so that a command that needs no model starts without Keras, and
nothing here imports TensorFlow but the tokenizer, the export and Keras itself when it runs on TensorFlow.
"""

import importlib

__version__ = "0.1.0"

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
