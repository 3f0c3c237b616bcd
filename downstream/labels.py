"""From label cells to targets: class numbers, rows of 0 and 1, or numbers; each wrong cell with its file and line."""

import json
import math

import numpy as np

from bert_tf.errors import InputError


def find_labels(examples, task):
    """The different labels of a file: in numeric order if all are whole numbers, else in the order of code points.

    Raises:
        InputError: an empty label, one with a tab or a line break in it, fewer than two different labels (one, where
            an example may have several or none).
    """
    if task.problem_type == "regression":
        return ("LABEL_0",)  # Hugging Face's name for the one output
    found = set()
    for index in range(len(examples)):
        found.update(_names(examples, index, task))
    least = 2 if task.problem_type == "single_label_classification" else 1
    if len(found) < least:
        raise InputError(
            f"{examples.path} has only the labels {sorted(found)} in column {task.label!r}; expected at least {least}"
        )
    if all(label.removeprefix("-").isdecimal() for label in found):
        return tuple(sorted(found, key=lambda label: (int(label), label)))
    return tuple(sorted(found))


def encode(examples, task, labels):
    """The targets of the examples: (N,) int32, (N, C) float32 of 0 and 1, or (N,) float32, by problem type.

    Raises:
        InputError: a label that is not among `labels`, an empty one, a value that is not a finite number.
    """
    if task.problem_type == "regression":
        return np.array([_number(examples, index, task) for index in range(len(examples))], "float32")
    numbers = {label: number for number, label in enumerate(labels)}
    if task.problem_type == "single_label_classification":
        targets = np.empty(len(examples), "int32")
    else:
        targets = np.zeros((len(examples), len(labels)), "float32")
    for index in range(len(examples)):
        for name in _names(examples, index, task):
            if name not in numbers:
                raise InputError(
                    f"{examples.where(index)}: unknown label {name!r}; the labels are {', '.join(labels)}; correct the "
                    "row, or train with this label"
                )
            if task.problem_type == "single_label_classification":
                targets[index] = numbers[name]
            else:
                targets[index, numbers[name]] = 1.0
    return targets


def count_labels(targets, task, labels):
    """{label: the number of examples that have it}."""
    if task.problem_type == "single_label_classification":
        counts = np.bincount(targets, minlength=len(labels))
    else:
        counts = targets.sum(axis=0).astype(int)
    return {label: int(count) for label, count in zip(labels, counts, strict=True)}


def class_weights(targets, task, labels):
    """The weights of the labels in the training loss, (C,) float32; None without `task.class_weights`.

    "balanced" is N / (C · n_c) for a label that n_c of N examples have (scikit-learn's); where an example may have
    several, (N - n_c) / n_c for the label, so that those with and those without it count the same.

    Raises:
        InputError: a weight for an unknown label, one that is not above 0, a balance for a label without examples.
    """
    if task.class_weights is None:
        return None
    if task.class_weights != "balanced":
        for name, weight in task.class_weights.items():
            if name not in labels:
                raise InputError(f"class_weights has {name!r}, which is no label; the labels are {', '.join(labels)}")
            if not 0 < weight < math.inf:
                raise InputError(f"the class weight of {name!r} must be above 0, got {weight}")
        return np.array([task.class_weights.get(label, 1.0) for label in labels], "float32")
    counts = count_labels(targets, task, labels)
    for label, count in counts.items():
        if not count or (task.problem_type == "multi_label_classification" and count == len(targets)):
            raise InputError(
                f"balanced class weights need examples with and without {label!r}, and {count:,} of {len(targets):,} "
                "training examples have it; give its weight by name with --class-weights"
            )
    each = np.array(list(counts.values()), "float32")
    if task.problem_type == "single_label_classification":
        return len(targets) / (len(labels) * each)
    return (len(targets) - each) / each


def _names(examples, index, task):
    """The labels in one cell: one, or for several at once what its separator divides (a list in .jsonl)."""
    cell = examples.labels[index]
    if task.problem_type == "multi_label_classification":
        parts = cell if isinstance(cell, list) else _string(cell).split(task.label_separator)
        names = [_string(part).strip() for part in parts]
        names = [name for name in names if name]  # an empty cell: no label
    else:
        if isinstance(cell, list | dict):
            raise InputError(f"{examples.where(index)}: {task.label!r} must hold one label, got {_string(cell)}")
        if isinstance(cell, float) and not math.isfinite(cell):  # what Python writes for a missing value
            raise InputError(
                f"{examples.where(index)}: the label is {_string(cell)}; give the example one or remove the row"
            )
        names = [_string(cell).strip()]
        if not names[0]:
            raise InputError(f"{examples.where(index)}: the label is empty; give the example one or remove the row")
    for name in names:
        if any(character in name for character in "\t\r\n"):
            raise InputError(f"{examples.where(index)}: the label {name!r} has a tab or a line break in it; remove it")
    return names


def _string(cell):
    """A JSON value as it is written in JSON, a string as it is: 1 -> "1", true -> "true"; null is no text."""
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)


def _number(examples, index, task):
    cell = examples.labels[index]
    try:
        is_number = isinstance(cell, str | int | float) and not isinstance(cell, bool) and "_" not in str(cell)
        value = float(cell) if is_number else math.nan
    except (ValueError, OverflowError):
        value = math.nan
    if not abs(value) <= float(np.finfo(np.float32).max):
        raise InputError(f"{examples.where(index)}: {task.label!r} must be a finite number, got {_string(cell)!r}")
    return value
