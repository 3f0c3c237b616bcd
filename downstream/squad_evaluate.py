"""`bert-finetune evaluate --task squad`: the official figures of any file of predictions. Needs no model, no Keras."""

import json
import math
import sys
from pathlib import Path

from bert_tf.errors import InputError
from bert_tf.files import whole_file
from downstream.squad_metrics import measure
from downstream.squad_questions import read_json_object, read_questions


def evaluate_predictions(data, predictions, null_odds=None, output=None):
    """Prints the figures of `downstream.squad_metrics.measure` as JSON and returns them.

    Args:
        data: a SQuAD file; whether it is v1.1 or v2.0 it says itself.
        predictions: a JSON file {question id: text}, "" for no answer.
        null_odds: a JSON file {question id: number}, for the best threshold of v2.0 data.
        output: a .json file to write the same figures to.

    A question without a prediction scores 0; how many there are is said on stderr and in the figures, as
    `not_predicted`. (The official script of v1.1 does the same, that of v2.0 leaves such questions out of the mean.)

    Raises:
        InputError: a file that cannot be used; predictions of which none is for a question of the data.
    """
    questions = read_questions(data)
    texts = read_json_object(predictions, "predictions, a JSON object of question ids and answers")
    _check(texts, questions, predictions, str, 'a string, "" for no answer')
    if null_odds is not None:
        if not questions.version_2:
            raise InputError(f"{data} is v1.1, in which every question has an answer; leave out --null-odds")
        path, null_odds = null_odds, read_json_object(null_odds, "a JSON object of question ids and numbers")
        _check(null_odds, questions, path, int | float, "a finite number")
        lacking = [name for name in questions.ids if name not in null_odds]
        if lacking:
            raise InputError(f"{path} has no number for the question {lacking[0]} of {data}; give each question one")
    figures = {
        **measure(questions, texts, null_odds),
        "not_predicted": sum(name not in texts for name in questions.ids),
        "not_in_data": len(texts.keys() - set(questions.ids)),
    }
    if figures["not_predicted"] or figures["not_in_data"]:
        print(
            f"{predictions}: {figures['not_predicted']:,} of {len(questions):,} questions have no prediction and score "
            f"0; {figures['not_in_data']:,} predictions are for questions that are not in {data}",
            file=sys.stderr,
        )
    text = json.dumps(figures, indent=2) + "\n"
    print(text, end="")
    if output is not None:
        with whole_file(Path(output), "w") as stream:
            stream.write(text)
    return figures


def _check(values, questions, path, kind, expected):
    """Raises an InputError where a value has another type, or no question has one."""
    for name, value in values.items():
        fits = isinstance(value, kind) and not isinstance(value, bool)
        if not fits or (isinstance(value, float) and not math.isfinite(value)):
            raise InputError(f"{path}, question {name}: expected {expected}, got {json.dumps(value)[:40]}")
    if not values.keys() & set(questions.ids):
        raise InputError(f"{path} has no id of a question in {questions.path}; give the predictions for this file")
