"""How BERT learns: vocabulary, corpus, masking, sentence pairs, the MLM and NSP heads, the training script.

Each name is imported when it is first asked for: the workers that prepare a corpus need no Keras.
"""

import importlib

import bert_tf  # noqa: F401  before TensorFlow, whose settings it makes

_HOMES = {
    "BertForMaskedLM": "pretraining.heads",
    "BertForNextSentencePrediction": "pretraining.heads",
    "BertForPreTraining": "pretraining.heads",
}
__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
