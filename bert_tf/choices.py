"""What the commands of training call by name. Without Keras, so that `--help` and `prepare` start without it."""

import importlib

from bert_tf.errors import InputError

# What a model computes in -> its Keras dtype policy; the weights are float32 in all of them.
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}

OPTIMIZERS = {
    "adamw": ("bert_tf.optimization", "BertAdamW"),
    "lamb": ("bert_tf.lamb", "Lamb"),
    "muon": ("bert_tf.muon", "Muon"),
}


def make_optimizer(name, learning_rate, **arguments):
    """The optimizer of that name.

    Args:
        name: a key of `OPTIMIZERS`.
        learning_rate: a number or a Keras schedule.
        arguments: of its class, such as `weight_decay_rate`.

    Raises:
        InputError: no optimizer has that name.
    """
    if name not in OPTIMIZERS:
        raise InputError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {name!r}")
    module, class_name = OPTIMIZERS[name]
    return getattr(importlib.import_module(module), class_name)(learning_rate, **arguments)
