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
from bert_tf.answers import MODEL_INPUTS
from bert_tf.errors import InputError
from bert_tf.files import whole_directory
from bert_tf.inputs import INPUT_NAMES

CARD = "model_card.json"

_COMPARED = 128  # tokens of a row whose outputs are compared: with words at each they would fill the memory

# What every export is asked before it takes its name: plain, empty, right to left, emoji, not UTF-8, and very long.
_PROBES = (
    b"The quick brown fox jumps over the lazy dog.",
    b"Parliament met in Oslo on 7 May 1945; Mrs. Berg, then aged 31, wasn't there, and nobody asked her why.",
    b"Is [MASK] the capital of Norway?",
    b"",
    "שלום עולם".encode(),
    "naïve café 😀👩‍👩‍👧 東京".encode(),
    b"broken \xff\xc3 bytes",
    b"a very long text " * 600,
)


def export_saved_model(path, model, tokenizer, answers, *, max_length=None, reference=None, card=None):
    """Writes a SavedModel whose signature `serving_default` takes strings and gives the model's answers.

    Signatures, each with any number B of texts:
        serving_default  the strings that `answers.inputs` names, (B,) string of any bytes (sequences that are not UTF-8
                         are skipped) -> the tensors of `answers`
        examples         `examples` (B,) string, serialized `tf.train.Example`s with these strings as features -> the
                         same
        ids              `input_ids`, `attention_mask` and `token_type_ids`, (B, S) int32 -> the model's own outputs,
                         float32
        attention        the strings -> `tokens` (B, S) string, "" at padding, and `attentions` (B, L, A, S, S) float32,
                         the probabilities of L layers and A heads; longer texts are cut

    Args:
        path: the folder to write; it appears when it is whole. An earlier export there is replaced.
        model: a model of this package.
        tokenizer: the `BertTokenizer` with its vocabulary.
        answers: an answer of `bert_tf.answers` or of its neighbours.
        max_length: tokens of a row, [CLS] and [SEP] included. Default: as many as the model has positions.
        reference: the model that the written one is compared with, where `model` is a coarser copy; default: `model`.
        card: what `model_card.json` is to say beside what is known here: JSON values by name.

    Returns:
        {"bytes": size on disk, "largest_difference": between the outputs of the written model and of `reference` on a
        few texts, as a share of the largest, "milliseconds": for one short text}.

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
    _check_sizes(config, tokenizer, len(answers.inputs) > 1, max_length)

    import tensorflow as tf

    module = _text_module(model, tokenizer, answers, max_length)
    signatures = {
        "serving_default": module.serve,
        "examples": module.examples,
        "ids": module.ids,
        "attention": module.attention,
    }
    with whole_directory(path) as partial:
        tf.saved_model.save(module, str(partial), signatures=signatures)
        report = _check_export(partial, model, tokenizer, answers, max_length, reference or model)
        contents = answers.card() | {
            "architecture": type(model).__name__,
            "inputs": list(answers.inputs),
            "signatures": list(signatures),
            "max_length": max_length,
            "precision": model.dtype_policy.name,
            "parameters": model.count_params(),
            "largest_difference": report["largest_difference"],
            "config": config.to_dict(),
            "tokenizer": {name: value for name, value in tokenizer.settings.items() if value is not None},
            "versions": {"bert_tf": bert_tf.__version__, "tensorflow": tf.__version__, "keras": keras.__version__},
        }
        text = json.dumps(contents | (card or {}), indent=2, ensure_ascii=False)
        (partial / CARD).write_text(text + "\n", encoding="utf-8")
    return report


def _text_module(model, tokenizer, answers, max_length):
    """A `tf.Module` that holds the variables, not the Keras objects, so that none is needed to load it."""
    import tensorflow as tf

    encoder = getattr(model, "bert", model)
    module = tf.Module(name="text_model")
    module.tokenizer = tokenizer
    module.weights = [weight.value for weight in model.weights]

    def of_texts(function):
        """`function` of one text at least: where there is none, the answer to an empty one is dropped again."""

        def wrapped(*texts):
            count = tf.size(texts[0])
            texts = [tf.concat([text, tf.fill([tf.cast(count < 1, tf.int32)], "")], 0) for text in texts]
            return {name: values[:count] for name, values in function(texts).items()}

        return wrapped

    @of_texts
    def serve(texts):
        rows = answers.rows(tokenizer, texts, max_length)
        return answers(model(_model_inputs(rows), training=False), rows)

    def examples(examples):
        features = {name: tf.io.FixedLenFeature([], tf.string) for name in answers.inputs}
        parsed = tf.io.parse_example(examples, features)
        return serve(*(parsed[name] for name in answers.inputs))

    def ids(input_ids, attention_mask, token_type_ids):
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return {name: tf.cast(values, tf.float32) for name, values in model(inputs, training=False).items()}

    @of_texts
    def attention(texts):
        rows = tokenizer(*texts, max_length=max_length)
        attentions = encoder(_model_inputs(rows), training=False, output_attentions=True)["attentions"]
        tokens = tf.gather(tf.constant(tokenizer.vocab), rows["input_ids"])
        return {
            "tokens": tf.where(rows["attention_mask"] == 1, tokens, ""),
            "attentions": tf.cast(tf.stack(attentions, 1), tf.float32),
        }

    def compiled(function, names, shape, dtype):
        specifications = [tf.TensorSpec(shape, dtype, name) for name in names]
        return tf.function(function, autograph=False, input_signature=specifications)

    module.serve = compiled(serve, answers.inputs, [None], tf.string)
    module.examples = compiled(examples, ("examples",), [None], tf.string)
    module.ids = compiled(ids, INPUT_NAMES, [None, None], tf.int32)
    module.attention = compiled(attention, answers.inputs, [None], tf.string)
    return module


def _model_inputs(rows):
    return {name: rows[name] for name in MODEL_INPUTS if name in rows}


def _check_export(path, model, tokenizer, answers, max_length, reference):
    """Loads what was written and compares it with the models called eagerly."""
    import tensorflow as tf

    signatures = tf.saved_model.load(str(path)).signatures
    texts = tf.constant(_PROBES)
    texts = (texts,) if len(answers.inputs) == 1 else (texts[::-1], texts)
    named = dict(zip(answers.inputs, texts, strict=True))
    rows = answers.rows(tokenizer, texts, max_length)
    ids = {name: rows[name][:, :_COMPARED] for name in INPUT_NAMES}
    written, visible = signatures["ids"](**ids), tf.cast(ids["attention_mask"], tf.float32)
    wrong = max(
        _largest_difference(written, model(ids, training=False), visible),
        _largest_difference(
            signatures["serving_default"](**named), answers(model(_model_inputs(rows), training=False), rows)
        ),
    )
    if not wrong < 0.05:  # bfloat16 rounds at 2⁻⁸; more than that adds up to, or NaN, is a fault
        raise RuntimeError(f"the exported model differs from the Python model by {wrong}")
    one = {name: value[:1] for name, value in named.items()}
    serve = signatures["serving_default"]
    serve(**one)
    start = time.perf_counter()
    for _ in range(5):
        serve(**one)
    return {
        "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        "largest_difference": _largest_difference(written, reference(ids, training=False), visible),
        "milliseconds": (time.perf_counter() - start) / 5 * 1000,
    }


def _largest_difference(got, expected, visible=None):
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
