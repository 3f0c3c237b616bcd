"""`bert-finetune evaluate`: the metrics of a fine-tuned classifier on a file with labels."""

import json
from pathlib import Path

from bert_tf.errors import InputError
from bert_tf.files import whole_file
from downstream.examples import read_examples
from downstream.labels import count_labels, encode
from downstream.metrics import measure
from downstream.predict import FineTuned


def evaluate(model, data, output=None, *, batch_size=32, **changes):
    """Prints the metrics as JSON and writes them to `output` if given; returns {"metrics": {…}, …}.

    Args:
        model: the directory of a model or a run.
        data: a .tsv, .csv or .jsonl file with labels.
        changes: `text`, `text_pair`, `label` and `max_seq_length` in place of those in the model's `task.json`.

    Raises:
        InputError: see `downstream.examples`; a label that the model does not know, with file and line.
    """
    fine_tuned = FineTuned.open(model, **changes)
    task, labels = fine_tuned.task, fine_tuned.model.labels
    if task.label is None:
        raise InputError(f"the task of {model} names no column of labels; name it with --label")
    examples = read_examples(data, task)
    targets = encode(examples, task, labels)
    features = fine_tuned.tokenize(examples)
    results = {
        "metrics": measure(task.problem_type, targets, fine_tuned.logits(features, batch_size)),
        "examples": len(examples),
    }
    if task.problem_type != "regression":
        results["label_counts"] = count_labels(targets, task, labels)
    text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    print(text, end="")
    if output is not None:
        with whole_file(Path(output), "w") as stream:
            stream.write(text)
    return results
