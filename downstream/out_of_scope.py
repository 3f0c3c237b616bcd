"""`bert-finetune outofscope`: how well a fine-tuned classifier knows the texts that belong to none of its classes."""

import json
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from bert_tf.errors import InputError
from bert_tf.files import whole_file
from downstream.batches import choose_lengths
from downstream.examples import read_examples
from downstream.forward import compile_forward
from downstream.labels import encode
from downstream.predict import FineTuned, read_logits
from downstream.scope_scores import Mahalanobis, best_threshold, maximum_probability, negative_energy


def measure_out_of_scope(model, files, output=None, *, batch_size=32, **changes):
    """Prints the figures of each score as JSON and writes them to `output` if given; returns them.

    The threshold of a score is chosen on the two validation files (`scope_scores.best_threshold`). Measured on the two
    test files: `in_scope_accuracy`, the part of the texts in scope that are accepted with their right label;
    `out_of_scope_recall`, the part of the others that are not accepted; `auroc`, which no threshold enters.

    Args:
        model: the directory of a model or a run.
        files: {"train", "validation", "test": files with labels, "oos_validation", "oos_test": files of texts}.
        changes: `text`, `label` and `max_seq_length` in place of those in the model's `task.json`.

    Raises:
        InputError: see `downstream.examples`; a model that is no classifier into one of several labels.
    """
    fine_tuned = FineTuned.open(model, **changes)
    task, network = fine_tuned.task, fine_tuned.model
    if network.problem_type != "single_label_classification":
        raise InputError(f"{model} is a model of {network.problem_type}; the scores need single_label_classification")
    if task.label is None:
        raise InputError(f"the task of {model} names no column of labels; name it with --label")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")

    # ---- Pooled outputs and logits of all files ----------------------------------------------------------------
    pooled, logits, targets = {}, {}, {}
    forward = compile_forward(network.bert)
    for split, path in files.items():
        with_labels = not split.startswith("oos_")
        examples = read_examples(path, task, with_labels=with_labels)
        if with_labels:
            targets[split] = encode(examples, task, network.labels)
        features = fine_tuned.tokenize(examples)
        lengths = choose_lengths(features.lengths)
        pooled[split] = read_logits(forward, features, lengths, batch_size, output="pooler_output")
        logits[split] = np.asarray(network.output_dense(pooled[split]), np.float32)

    # ---- Scores ------------------------------------------------------------------------------------------------
    mahalanobis = Mahalanobis(pooled["train"], targets["train"])
    held_out = [split for split in files if split != "train"]
    scores = {
        "maximum_probability": {split: maximum_probability(logits[split]) for split in held_out},
        "energy": {split: negative_energy(logits[split]) for split in held_out},
        "mahalanobis": {split: mahalanobis(pooled[split]) for split in held_out},
    }
    right = {split: logits[split].argmax(axis=1) == targets[split] for split in ("validation", "test")}
    results = {
        "metrics": {"accuracy_without_threshold": float(right["test"].mean())},
        "texts": {split: len(rows) for split, rows in pooled.items()},
        "threshold_chosen_by": "right decisions on both validation files",
        "thresholds": {},
    }
    for name, of in scores.items():
        threshold = best_threshold(of["validation"], right["validation"], of["oos_validation"])
        both = np.concatenate([of["test"], of["oos_test"]])
        in_scope = np.arange(len(both)) < len(of["test"])
        results["thresholds"][name] = threshold if np.isfinite(threshold) else str(threshold)
        results["metrics"] |= {
            f"{name}_in_scope_accuracy": float((right["test"] & (of["test"] >= threshold)).mean()),
            f"{name}_out_of_scope_recall": float((of["oos_test"] < threshold).mean()),
            f"{name}_auroc": float(roc_auc_score(in_scope, both)),
        }
    text = json.dumps(results, indent=2) + "\n"
    print(text, end="")
    if output is not None:
        with whole_file(Path(output), "w") as stream:
            stream.write(text)
    return results
