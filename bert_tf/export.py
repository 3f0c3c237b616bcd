"""A SavedModel that takes raw text: tokenizer, model and answer in one graph of core TensorFlow ops.

TensorFlow Serving loads the folder as it is, and so does any process that imports tensorflow and nothing else:

    import tensorflow as tf
    answer = tf.saved_model.load("exported").signatures["serving_default"]
    answer(text=tf.constant(["a text", "another"]))

Beside the files of TensorFlow lies `model_card.json`: the task, its labels, the signature and the versions.
"""

import json
import time
from pathlib import Path

import keras
import numpy as np

import bert_tf
from bert_tf.errors import InputError
from bert_tf.files import whole_directory

CARD = "model_card.json"

# What every export is asked before it takes its name: plain, empty, right to left, emoji, not UTF-8, and very long.
_PROBES = (
    b"The quick brown fox jumps over the lazy dog.",
    b"",
    "שלום עולם".encode(),
    "naïve café 😀👩‍👩‍👧 東京".encode(),
    b"broken \xff\xc3 bytes",
    b"a very long text " * 600,
)


def export_saved_model(path, model, tokenizer, answers, *, pair=False, max_length=None):
    """Writes a SavedModel whose signature `serving_default` takes strings and gives the model's answers.

    The signature takes `text` (B,) string, and with `pair` also `text_b` (B,) string, each of any length B and any
    bytes: sequences that are not UTF-8 are skipped. It returns the tensors of `answers`.

    Args:
        path: the folder to write; it appears when it is whole. An earlier export there is replaced.
        model: a model of this package.
        tokenizer: the `BertTokenizer` with its vocabulary.
        answers: one of `bert_tf.answers`, or a callable like them.
        pair: whether the task reads two texts.
        max_length: tokens of a text or pair, [CLS] and [SEP] included; what is longer is cut. Default: as many as the
            model has positions.

    Returns:
        {"bytes": size on disk, "largest_difference": between the numbers of the written model and of the Python model
        on a few texts, as a share of the largest, "milliseconds": for one short text}.

    Raises:
        InputError: Keras does not run on TensorFlow, `path` holds something else, the vocabulary is larger than the
            model's, the length is beyond its positions, or a pair needs a second segment that it does not have.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise InputError(f"export needs Keras on TensorFlow, and it runs on {backend}; set KERAS_BACKEND=tensorflow")
    config = model.config
    max_length = max_length or config.max_position_embeddings
    path = Path(path)
    _check_output(path)
    _check_sizes(config, tokenizer, pair, max_length)

    import tensorflow as tf

    module = _text_module(model, tokenizer, answers, pair, max_length)
    card = answers.card() | {
        "architecture": type(model).__name__,
        "inputs": ["text", "text_b"] if pair else ["text"],
        "max_length": max_length,
        "config": config.to_dict(),
        "versions": {"bert_tf": bert_tf.__version__, "tensorflow": tf.__version__, "keras": keras.__version__},
    }
    with whole_directory(path) as partial:
        tf.saved_model.save(module, str(partial), signatures={"serving_default": module.serve})
        (partial / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        report = _check_export(partial, model, tokenizer, answers, pair, max_length)
    return report


def _text_module(model, tokenizer, answers, pair, max_length):
    """A `tf.Module` that holds the variables, not the Keras objects, so that none is needed to load it."""
    import tensorflow as tf

    module = tf.Module(name="text_model")
    module.tokenizer = tokenizer
    module.weights = [weight.value for weight in model.weights]

    def serve(text, text_b=None):
        batch = tokenizer(text, text_b, max_length=max_length, padding="longest")
        # No texts have rows of no tokens, and the pooler reads the first: give them one.
        missing = tf.cast(tf.shape(batch["input_ids"])[1] < 1, tf.int32)
        batch = {name: tf.pad(ids, [[0, 0], [0, missing]]) for name, ids in batch.items()}
        return answers(model(batch, training=False), batch)

    names = ("text", "text_b") if pair else ("text",)
    module.serve = tf.function(
        serve, autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name) for name in names]
    )
    return module


def _check_export(path, model, tokenizer, answers, pair, max_length):
    """Loads what was written and compares it, text by text, with the model called eagerly."""
    import tensorflow as tf

    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    texts = tf.constant(_PROBES)
    inputs = {"text": texts, "text_b": texts[::-1]} if pair else {"text": texts}
    written = serve(**inputs)
    batch = tokenizer(texts, inputs.get("text_b"), max_length=max_length, padding="longest")
    expected = answers(model(batch, training=False), batch)
    difference = max(
        float(np.abs(written[name].numpy() - value.numpy()).max() / max(np.abs(value.numpy()).max(), 1.0))
        for name, value in expected.items()
        if value.dtype.is_floating
    )
    if not difference < 0.05:  # bfloat16 rounds at 2⁻⁸; more than that adds up to, or NaN, is a fault
        raise RuntimeError(f"the exported model differs from the Python model by {difference}")
    one = {name: value[:1] for name, value in inputs.items()}
    serve(**one)
    start = time.perf_counter()
    for _ in range(5):
        serve(**one)
    return {
        "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        "largest_difference": difference,
        "milliseconds": (time.perf_counter() - start) / 5 * 1000,
    }


def _check_output(path):
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; give a new or empty folder to export to")
    if path.exists() and any(path.iterdir()) and not (path / CARD).exists():
        raise InputError(f"{path} holds files and no {CARD} of an earlier export; give a new or empty folder")


def _check_sizes(config, tokenizer, pair, max_length):
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
