"""What a classifier does on its validation set: answers with the worst errors first, and two drawings.

validation_predictions.jsonl   an answer a line, by falling loss: the example that it is most wrong about first
confusion_matrix.png           how often each label was taken for each
reliability.png                how often an answer of a given probability is right, and the calibration error
"""

import json

import matplotlib
import numpy as np

from bert_tf.files import whole_file
from downstream.metrics import decisions, probabilities

matplotlib.use("Agg")  # no screen is needed
from matplotlib import pyplot

BINS = 15  # as Guo et al. 2017 (arXiv 1706.04599)
MOST_LABELS_DRAWN = 60  # of a confusion matrix; beyond that the names cannot be read
MOST_COUNTS_WRITTEN = 12


def write_predictions(path, examples, task, labels, targets, logits, losses):
    """Writes `validation_predictions.jsonl`.

    Args:
        targets, logits, losses: (N,) or (N, C), (N, C) and (N,), in the order of the examples.
    """
    decided, chances = decisions(task.problem_type, logits), probabilities(task.problem_type, logits)
    with whole_file(path, "w") as stream:
        for index in np.argsort(-losses, kind="stable"):
            answer = {"line": examples.lines[index], "loss": round(float(losses[index]), 6)}
            answer |= _answer(task, labels, targets[index], decided[index], chances[index])
            answer["text"] = examples.texts[index]
            if examples.pairs is not None:
                answer["text_pair"] = examples.pairs[index]
            stream.write(json.dumps(answer, ensure_ascii=False) + "\n")


def _answer(task, labels, target, decided, chances):
    if task.problem_type == "regression":
        return {"label": float(target), "predicted": float(decided)}
    if task.problem_type == "single_label_classification":
        names = labels[target], labels[decided]
    else:
        names = [[label for label, holds in zip(labels, row, strict=True) if holds] for row in (target, decided)]
    shown = {label: round(float(chance), 6) for label, chance in zip(labels, chances, strict=True)}
    return {"correct": names[0] == names[1], "label": names[0], "predicted": names[1], "probabilities": shown}


def reliability(targets, logits):
    """(mean probability, share that is right, count) of each of `BINS` bins, arrays; and the calibration error.

    The bins divide [0, 1] evenly by the probability of the answer. The expected calibration error is the mean distance
    of both numbers, weighted by the counts (Guo et al. 2017, equation 3). An empty bin has 0 and 0.

    Args:
        targets: (N,) int; logits: (N, C); single labels.
    """
    chances = probabilities("single_label_classification", logits)
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == targets
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    least_one = np.maximum(counts, 1)
    mean_confidence = np.bincount(bins, confidence, BINS) / least_one
    accuracy = np.bincount(bins, right, BINS) / least_one
    error = float((counts * np.abs(accuracy - mean_confidence)).sum() / max(len(targets), 1))
    return mean_confidence, accuracy, counts, error


def draw_reliability(path, targets, logits):
    """Draws `reliability.png` and returns the expected calibration error."""
    confidence, accuracy, counts, error = reliability(targets, logits)
    figure, (upper, lower) = pyplot.subplots(
        2, 1, figsize=(5, 6), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    filled = counts > 0
    upper.plot([0, 1], [0, 1], linestyle="--", color="C7", label="calibrated")
    upper.plot(confidence[filled], accuracy[filled], marker="o", label="validation")
    upper.set(title=f"expected calibration error {error:.3f}", ylabel="share that is right", ylim=(0, 1.02))
    upper.legend()
    lower.bar((np.arange(BINS) + 0.5) / BINS, counts, width=1 / BINS, edgecolor="white")
    lower.set(xlabel="probability of the answer", ylabel="examples", xlim=(0, 1))
    _save(figure, path)
    return error


def confusion_matrix(targets, predicted, label_count):
    """(C, C) counts: rows are the labels, columns what they were taken for."""
    flat = np.bincount(targets * label_count + predicted, minlength=label_count**2)
    return flat.reshape(label_count, label_count)


def draw_confusion_matrix(path, targets, logits, labels):
    """Draws `confusion_matrix.png`: colours by the share of each row, numbers where there are few labels."""
    counts = confusion_matrix(targets, logits.argmax(axis=1), len(labels))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 3 + 0.3 * min(len(labels), MOST_LABELS_DRAWN)
    figure, axis = pyplot.subplots(figsize=(size, size), layout="constrained")
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set(xlabel="predicted", ylabel="label")
    if len(labels) <= MOST_LABELS_DRAWN:
        axis.set_xticks(range(len(labels)), labels, rotation=90)
        axis.set_yticks(range(len(labels)), labels)
    if len(labels) <= MOST_COUNTS_WRITTEN:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, f"{count:,}", ha="center", va="center", color=colour)
    _save(figure, path)


def _save(figure, path):
    with whole_file(path) as stream:
        figure.savefig(stream, format="png", dpi=120)
    pyplot.close(figure)
