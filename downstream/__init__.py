"""What BERT is used for: heads, tasks, metrics, the fine-tuning script.

Each name is imported when it is first asked for, so that `bert-finetune --help` starts without Keras.
"""

import importlib

import bert_tf  # noqa: F401  before TensorFlow, whose settings it makes

_HOMES = {
    "BertForSequenceClassification": "downstream.heads",
    "BertForTokenClassification": "downstream.heads",
    "BertForQuestionAnswering": "downstream.heads",
    "BertForExtractiveSummarization": "downstream.summary_model",
}
__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
