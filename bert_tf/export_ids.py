"""A model without its tokenizer, token ids in: one file for ONNX Runtime or LiteRT, and beside it what makes the ids.

model.onnx or model.tflite     inputs `input_ids`, `attention_mask`, `token_type_ids`; outputs as the Keras model's
vocab.txt, tokenizer_config.json   for `BertTokenizer`, or the tokenizers of Hugging Face
model_card.json
"""

import importlib
import time
from pathlib import Path

import numpy as np

from bert_tf.export_folder import PROBES, check_export, largest_difference, size_of, write_card
from bert_tf.extras import needed
from bert_tf.files import whole_directory
from bert_tf.inputs import INPUT_NAMES

FORMATS = ("onnx", "litert")
_LIMITS = {False: 1e-3, True: 0.5}  # of the largest difference, by int8: more is a fault of the conversion


def export_ids(path, model, tokenizer, form, *, max_length, int8=False, card=None):
    """Writes the folder of a model that takes ids.

    Args:
        path: the folder to write; it appears when it is whole. An earlier export there is replaced.
        model: a model of this package, in float32.
        tokenizer: the `BertTokenizer` with its vocabulary.
        form: "onnx" (any batch and length up to the positions) or "litert" (one row of `max_length` tokens).
        max_length: tokens of a row.
        int8: whether the kernels are int8.
        card: what `model_card.json` is to say of the task: JSON values by name.

    Returns:
        {"bytes": size on disk, "largest_difference": between the outputs of the written model and of `model` on a few
        texts, as a share of the largest, "milliseconds": for one short text}.

    Raises:
        InputError: the packages of the extra are missing, ONNX is to hold relative positions beyond those of the model;
            see `bert_tf.export_folder.check_export`.
    """
    with needed(f"the format {form}", form):
        form = importlib.import_module(f"bert_tf.{form}_format")
    path = Path(path)
    check_export(path, model, tokenizer, False, max_length)
    with whole_directory(path) as partial:
        form.write(model, partial / form.FILE, int8=int8, max_length=max_length)
        tokenizer.save_pretrained(partial)
        run, differences, first = form.load(partial / form.FILE), [], None
        for text in PROBES:
            batch = tokenizer([text], max_length=max_length, padding=form.PADDING)
            inputs = {name: batch[name] for name in INPUT_NAMES}
            first = first or inputs
            visible = np.asarray(inputs["attention_mask"])
            differences.append(largest_difference(run(inputs), model(inputs, training=False), visible))
        difference = float(np.max(differences))  # NaN if one of them is
        if not difference < _LIMITS[int8]:
            raise RuntimeError(f"the exported model differs from the Python model by {difference}")
        start = time.perf_counter()
        for _ in range(5):
            run(first)
        milliseconds = (time.perf_counter() - start) / 5 * 1000
        contents = {
            "format": form.NAME,
            "inputs": list(INPUT_NAMES),
            "max_length": max_length,
            "precision": "int8" if int8 else "float32",
            "largest_difference": difference,
        }
        write_card(partial, model, tokenizer, (card or {}) | contents)
    return {"bytes": size_of(path), "largest_difference": difference, "milliseconds": milliseconds}
