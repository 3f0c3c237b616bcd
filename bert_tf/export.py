"""A SavedModel that takes raw text: tokenizer, model and answer in one graph of core TensorFlow ops.

TensorFlow Serving loads the folder as it is, and so does any process that imports tensorflow and nothing else:

    import tensorflow as tf
    answer = tf.saved_model.load("exported").signatures["serving_default"]
    answer(text=tf.constant(["a text", "another"]))

Beside the files of TensorFlow lies `model_card.json`: the task, its labels, the signature and the versions.
"""

import time
from pathlib import Path

import numpy as np

from bert_tf.answers import MODEL_INPUTS
from bert_tf.export_folder import PROBES, check_export, largest_difference, size_of, write_card
from bert_tf.files import whole_directory
from bert_tf.inputs import INPUT_NAMES

_COMPARED = 128  # tokens of a row whose outputs are compared: with words at each they would fill the memory


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
        InputError: see `bert_tf.export_folder.check_export`.
    """
    path, max_length = Path(path), max_length or model.config.max_position_embeddings
    check_export(path, model, tokenizer, len(answers.inputs) > 1, max_length)

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
            "format": "saved_model",
            "inputs": list(answers.inputs),
            "signatures": list(signatures),
            "max_length": max_length,
            "precision": model.dtype_policy.name,
            "largest_difference": report["largest_difference"],
        }
        write_card(partial, model, tokenizer, contents | (card or {}))
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
    texts = tf.constant(PROBES)
    texts = (texts,) if len(answers.inputs) == 1 else (texts[::-1], texts)
    named = dict(zip(answers.inputs, texts, strict=True))
    rows = answers.rows(tokenizer, texts, max_length)
    ids = {name: rows[name][:, :_COMPARED] for name in INPUT_NAMES}
    written, visible = signatures["ids"](**ids), tf.cast(ids["attention_mask"], tf.float32)
    serve = signatures["serving_default"]
    answered = answers(model(_model_inputs(rows), training=False), rows)
    differences = [
        largest_difference(written, model(ids, training=False), visible),
        largest_difference(serve(**named), answered),
    ]
    wrong = float(np.max(differences))  # NaN if one of them is
    if not wrong < 0.05:  # bfloat16 rounds at 2⁻⁸; more than that adds up to, or NaN, is a fault
        raise RuntimeError(f"the exported model differs from the Python model by {wrong}")
    one = {name: value[:1] for name, value in named.items()}
    serve(**one)
    start = time.perf_counter()
    for _ in range(5):
        serve(**one)
    milliseconds = (time.perf_counter() - start) / 5 * 1000
    return {
        "bytes": size_of(path),
        "largest_difference": largest_difference(written, reference(ids, training=False), visible),
        "milliseconds": milliseconds,
    }
