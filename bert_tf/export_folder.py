"""What the folders of all export formats have in common: a card, a check of what may be written, real texts to ask."""

import json
from pathlib import Path

import keras
import numpy as np

import bert_tf
from bert_tf.errors import InputError

CARD = "model_card.json"

# What every export is asked before it takes its name: plain, empty, right to left, emoji, not UTF-8, and very long.
PROBES = (
    b"The quick brown fox jumps over the lazy dog.",
    b"Parliament met in Oslo on 7 May 1945; Mrs. Berg, then aged 31, wasn't there, and nobody asked her why.",
    b"Is [MASK] the capital of Norway?",
    b"",
    "שלום עולם".encode(),
    "naïve café 😀👩‍👩‍👧 東京".encode(),
    b"broken \xff\xc3 bytes",
    b"a very long text " * 600,
)


def check_export(path, model, tokenizer, pair, max_length):
    """Stops at what cannot be exported, or not to this folder.

    Raises:
        InputError: Keras does not run on TensorFlow, `path` holds something else, the vocabulary is larger than the
            model's, the length is beyond its positions, a pair needs a second segment that it does not have, or a
            weight is NaN or infinite.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise InputError(f"export needs Keras on TensorFlow, and it runs on {backend}; set KERAS_BACKEND=tensorflow")
    path, config = Path(path), model.config
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; give a new or empty folder to export to")
    if path.exists() and any(path.iterdir()) and not (path / CARD).exists():
        raise InputError(f"{path} holds files and no {CARD} of an earlier export; give a new or empty folder")
    if tokenizer.vocab_size > config.vocab_size:
        raise InputError(
            f"the vocabulary has {tokenizer.vocab_size} tokens and the model {config.vocab_size} word vectors; take "
            "the vocabulary that the model was trained with"
        )
    limit = config.max_position_embeddings
    if max_length > limit and config.position_embedding_type != "relative":
        raise InputError(f"max_length {max_length} is beyond max_position_embeddings {limit}; give at most {limit}")
    if pair and config.type_vocab_size < 2:
        raise InputError("a pair of texts needs two segments, and the model has type_vocab_size 1; export single texts")
    broken = [weight.path for weight in model.weights if not np.isfinite(keras.ops.convert_to_numpy(weight)).all()]
    if broken:
        raise InputError(
            f"{len(broken)} of {len(model.weights)} weights hold NaN or infinity, {broken[0]} first; export an earlier "
            "checkpoint, or train again at a smaller learning rate"
        )


def write_card(folder, model, tokenizer, contents):
    """Writes `model_card.json`: what is known of the model, and `contents`, JSON values by name."""
    import tensorflow as tf

    card = {
        "architecture": type(model).__name__,
        "parameters": model.count_params(),
        "config": model.config.to_dict(),
        "tokenizer": {name: value for name, value in tokenizer.settings.items() if value is not None},
        "versions": {"bert_tf": bert_tf.__version__, "tensorflow": tf.__version__, "keras": keras.__version__},
    }
    text = json.dumps(contents | card, indent=2, ensure_ascii=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def largest_difference(got, expected, visible=None):
    """The largest difference between numbers of the same names, as a share of the largest of each, or of 1.

    With `visible` (B, S), what is not visible of numbers for each token (B, S, …) does not count.
    """
    largest = 0.0
    for name, values in expected.items():
        if not values.dtype.is_floating:
            continue
        values, its = np.asarray(values, "float32"), np.asarray(got[name], "float32")
        if values.shape != its.shape:
            return float("inf")
        shown = 1.0
        if visible is not None and (values.ndim == 3 or name in ("start_logits", "end_logits")):
            shown = np.reshape(visible, [*visible.shape, *[1] * (values.ndim - 2)])
        worst = np.abs((its - values) * shown).max(initial=0)
        largest = max(largest, float(worst / np.abs(values).max(initial=1.0)))
        if np.isnan(worst):
            return float("nan")
    return largest


def size_of(folder):
    """Bytes of all files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
