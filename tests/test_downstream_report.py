"""The report of a classifier on its validation set, and the weights of classes: by hand."""

import json
import re

import numpy as np
import pytest
from keras import ops

from bert_tf import InputError
from downstream.commands_classify import read_class_weights
from downstream.examples import Examples
from downstream.labels import class_weights
from downstream.objective import SequenceObjective
from downstream.report import confusion_matrix, draw_confusion_matrix, draw_reliability, reliability, write_predictions
from downstream.tasks import Task

SINGLE, SEVERAL = "single_label_classification", "multi_label_classification"


def logits_of(*chances):
    """Logits of two labels whose softmax is (1 - p, p)."""
    return np.array([[np.log(1 - p), np.log(p)] for p in chances], "float32")


def test_reliability_by_hand():
    # Answers with probability 0.7 0.7 0.7 0.7 (bin 11, ]10/15, 11/15]) of which 3 are right, and 0.95 (bin 15), wrong:
    # distances |3/4 - 0.7| with 4 of 5 examples, |0 - 0.95| with 1 of 5.
    targets = np.array([1, 1, 0, 0, 0])
    confidence, accuracy, counts, error = reliability(targets, logits_of(0.7, 0.7, 0.3, 0.7, 0.95))
    assert counts.tolist() == [0] * 10 + [4, 0, 0, 0, 1]
    assert (confidence[10], accuracy[10]) == (pytest.approx(0.7), 0.75)
    assert (confidence[14], accuracy[14]) == (pytest.approx(0.95), 0.0)
    assert error == pytest.approx((4 * 0.05 + 0.95) / 5, rel=1e-5)


def test_reliability_of_certain_answers():
    # A probability of exactly 1 is in the last bin; an answer that is right and certain has no error.
    _, _, counts, error = reliability(np.array([1]), np.array([[0.0, 200.0]], "float32"))
    assert counts[14] == 1
    assert error == 0.0


def test_confusion_by_hand():
    counts = confusion_matrix(np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 0, 2]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]


@pytest.mark.parametrize("count", [2, 13, 61])
def test_drawings_are_written(tmp_path, count):
    rng = np.random.default_rng(0)
    targets, logits = rng.integers(0, count, 50), rng.standard_normal((50, count))
    draw_confusion_matrix(tmp_path / "c.png", targets, logits, [f"label {i}" for i in range(count)])
    assert draw_reliability(tmp_path / "r.png", targets, logits) == reliability(targets, logits)[-1]
    for name in ("c.png", "r.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def written(tmp_path, problem_type, targets, logits, losses, labels=("no", "yes"), pairs=None):
    examples = Examples(tmp_path / "x.tsv", [2, 3, 4], ["a", "b\tc", "d"], pairs, None)
    task = Task(text="t", problem_type=problem_type)
    logits = np.array(logits, "float32")
    write_predictions(tmp_path / "p.jsonl", examples, task, labels, np.array(targets), logits, np.array(losses))
    return [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]


def test_the_worst_errors_come_first(tmp_path):
    rows = written(tmp_path, SINGLE, [1, 0, 1], logits_of(0.75, 0.8, 0.4), [0.2877, 1.6094, 0.9163])
    assert [row["line"] for row in rows] == [3, 4, 2]
    assert rows[0] == {
        "line": 3,
        "loss": 1.6094,
        "correct": False,
        "label": "no",
        "predicted": "yes",
        "probabilities": {"no": 0.2, "yes": 0.8},
        "text": "b\tc",
    }
    assert [row["correct"] for row in rows] == [False, False, True]


def test_predictions_of_several_labels_and_of_numbers(tmp_path):
    rows = written(tmp_path, SEVERAL, [[1, 0], [1, 1], [0, 0]], [[1, -1], [1, -1], [-1, -1]], [1, 3, 2])
    assert [(row["label"], row["predicted"], row["correct"]) for row in rows] == [
        (["no", "yes"], ["no"], False),
        ([], [], True),
        (["no"], ["no"], True),
    ]
    rows = written(tmp_path, "regression", [1.0, 2.0, 3.0], [[1.5], [2.0], [5.0]], [0.25, 0, 4], pairs=["x", "y", "z"])
    assert rows[0] == {"line": 4, "loss": 4, "label": 3.0, "predicted": 5.0, "text": "d", "text_pair": "z"}


# --------------------------------------------------------------------------------------------------- class weights


def test_balanced_weights_by_hand():
    # 6 examples, 2 labels: 4 of one, 2 of the other: 6/(2·4) and 6/(2·2).
    task = Task(text="t", label="l", class_weights="balanced")
    assert class_weights(np.array([0, 1, 0, 0, 1, 0]), task, ("a", "b")).tolist() == [0.75, 1.5]
    # Of 4 examples 1 has the first label, 3 the second: 3 to 1 and 1 to 3.
    task = Task(text="t", label="l", class_weights="balanced", problem_type=SEVERAL)
    targets = np.array([[1, 1], [0, 1], [0, 1], [0, 0]], "float32")
    np.testing.assert_allclose(class_weights(targets, task, ("a", "b")), [3, 1 / 3])
    assert class_weights(targets, Task(text="t"), ("a", "b")) is None


def test_weights_by_name():
    task = Task(text="t", label="l", class_weights=read_class_weights(["b=2.5", "x=y=4"]))
    assert class_weights(np.array([0]), task, ("a", "b", "x=y")).tolist() == [1.0, 2.5, 4.0]
    assert read_class_weights(["balanced"]) == "balanced"
    assert read_class_weights(None) is None


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"c": 1.0}, "class_weights has 'c', which is no label; the labels are a, b"),
        ({"a": 0.0}, "the class weight of 'a' must be above 0, got 0.0"),
        ({"a": float("nan")}, "the class weight of 'a' must be above 0, got nan"),
        (
            "balanced",
            "balanced class weights need examples with and without 'b', and 0 of 2 training examples have it; give its "
            "weight by name with --class-weights",
        ),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(InputError, match=re.escape(message) + "$"):
        class_weights(np.array([0, 0]), Task(text="t", label="l", class_weights=weights), ("a", "b"))


@pytest.mark.parametrize("word", ["heavy", "a=", "a=b"])
def test_bad_words(word):
    message = f"--class-weights takes balanced, or LABEL=WEIGHT for each label, got {word!r}"
    with pytest.raises(InputError, match=re.escape(message) + "$"):
        read_class_weights(["b=1", word])


def test_regression_has_no_classes():
    message = "class_weights need labels, and regression has none; leave --class-weights out"
    with pytest.raises(InputError, match=message + "$"):
        Task(text="t", label="l", problem_type="regression", class_weights="balanced")


def weighted_figures(problem_type, logits, labels, weights):
    objective = SequenceObjective(problem_type, np.array(weights, "float32"))
    kind = "int32" if problem_type == SINGLE else "float32"
    batch = {"labels": np.array(labels, kind), "example_weights": np.array([1, 1, 0], "float32")}
    outputs = {"logits": ops.convert_to_tensor(np.array(logits, "float32"))}
    figures = {name: tuple(map(float, pair)) for name, pair in objective.figures(outputs, batch).items()}
    assert float(objective.weights(batch)["loss"]) == pytest.approx(figures["loss"][1])
    return figures


def test_weighted_single_labels():
    # Losses log 4 of label 0 (weight 2) and log 4/3 of label 1 (weight 5), as sum(w · loss) / sum(w); the third row
    # only fills the batch. The accuracy is not weighted: the first is wrong, the second right.
    figures = weighted_figures(SINGLE, [[0, np.log(3)], [0, np.log(3)], [9, 0]], [0, 1, 1], [2, 5])
    assert figures["loss"] == (pytest.approx(2 * np.log(4) + 5 * np.log(4 / 3)), pytest.approx(7.0))
    assert figures["accuracy"] == (1.0, 2.0)


def test_weighted_several_labels():
    # Logits 0: each decision costs log 2, times 2 or 5 where the label is there: (2 + 5)/2 and (1 + 5)/2 of log 2.
    figures = weighted_figures(SEVERAL, [[0, 0], [0, 0], [9, 9]], [[1, 1], [0, 1], [0, 0]], [2, 5])
    assert figures["loss"] == (pytest.approx(np.log(2) * (7 / 2 + 6 / 2)), 2.0)
