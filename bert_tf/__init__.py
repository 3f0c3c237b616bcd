"""What BERT is: configuration, layers, model, tokenizer, checkpoints, optimization, export.

Importing this imports Keras; TensorFlow too only when Keras runs on it. `BertTokenizer`, which is made of TensorFlow
operations, is imported when it is first asked for.
"""

from bert_tf.config import BertConfig
from bert_tf.errors import InputError
from bert_tf.model import BertModel

__version__ = "0.1.0"
__all__ = ["BertConfig", "BertModel", "BertTokenizer", "InputError"]


def __getattr__(name):
    if name == "BertTokenizer":
        from bert_tf.tokenizer import BertTokenizer

        return BertTokenizer
    raise AttributeError(f"module 'bert_tf' has no attribute {name!r}")
