"""Logits of a fine-tuned classifier for many texts, and `bert-finetune predict`: a file in, a file of answers out."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

from bert_tf.checkpoints import model_directory
from bert_tf.errors import InputError
from bert_tf.files import whole_file
from bert_tf.tokenizer import BertTokenizer
from downstream.batches import choose_lengths, make_batch, reading_plan
from downstream.examples import read_examples
from downstream.features import open_tokenizer, tokenize
from downstream.forward import compile_forward
from downstream.heads import BertForSequenceClassification
from downstream.metrics import decisions, probabilities
from downstream.tasks import Task


@dataclasses.dataclass(frozen=True)
class FineTuned:
    """A fine-tuned classifier with its tokenizer and its task."""

    model: BertForSequenceClassification
    tokenizer: BertTokenizer
    task: Task

    @classmethod
    def open(cls, path, **changes):
        """Opens a model directory or the directory of a run; `changes` replace columns and length of its task.

        Raises:
            InputError: no classifier there, or a length beyond what it can take.
        """
        folder = model_directory(path)
        model = BertForSequenceClassification.from_pretrained(folder)
        task = Task.of_model(folder, model, **changes)
        task.check_length(model.config, str(folder))
        return cls(model, open_tokenizer(folder, model.config), task)

    def tokenize(self, examples, **per_example):
        """The `Features` of examples; tells the standard error how many there are and how many were truncated."""
        features, truncated = tokenize(
            examples, self.tokenizer, self.task.max_seq_length, self.model.config.pad_token_id, **per_example
        )
        found = f"{len(features):,} examples, {truncated:,} truncated to {self.task.max_seq_length} tokens"
        print(f"{examples.path}: {found}", file=sys.stderr)  # the commands that measure print JSON
        return features

    def logits(self, features, batch_size):
        """(N, C) float32, in the order of the examples.

        Raises:
            InputError: a batch size below 1.
        """
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        return read_logits(compile_forward(self.model), features, choose_lengths(features.lengths), batch_size)


def read_logits(forward, features, padded_lengths, batch_size, output="logits"):
    """The logits for each example, (N, C) float32, from the `compile_forward` of a model, or another `output` of it."""
    logits = None
    for chosen in reading_plan(features.lengths, batch_size):
        batch = make_batch(features, chosen, padded_lengths, batch_size)
        rows = np.asarray(forward(batch)[output], np.float32)[: len(chosen)]
        if logits is None:
            logits = np.empty((len(features), rows.shape[1]), np.float32)
        logits[chosen] = rows
    return logits


def predict(model, input, output, *, batch_size=32, **changes):
    """Writes the answer to each text of a file, in its order; no label column is needed.

    Args:
        model: the directory of a model or a run.
        input: a .tsv, .csv or .jsonl file.
        output: a .tsv file (a header; line, label, then a column p(LABEL) for each label) or a .jsonl file (line,
            label, probabilities). Several labels: joined by the task's separator, or a list. Regression: line, value.
        changes: `text`, `text_pair` and `max_seq_length` in place of those in the model's `task.json`.

    Raises:
        InputError: see `downstream.examples`; an output of another suffix.
    """
    output = Path(output)
    if output.suffix not in ROWS:
        raise InputError(f"--output must end in .tsv or .jsonl, got {output}")
    fine_tuned = FineTuned.open(model, **changes)
    examples = read_examples(input, fine_tuned.task, with_labels=False)
    features = fine_tuned.tokenize(examples)
    logits = fine_tuned.logits(features, batch_size)
    with whole_file(output, "w") as stream:
        stream.writelines(line + "\n" for line in ROWS[output.suffix](fine_tuned.task, examples.lines, logits))
    print(f"{output}: {len(examples):,} answers")


# The lines of an answer file, from a task with its labels, the lines of the texts and their logits (N, C).


def tsv_rows(task, lines, logits):
    if task.problem_type == "regression":
        yield "line\tvalue"
        yield from (f"{line}\t{value:.6g}" for line, value in zip(lines, logits[:, 0], strict=True))
        return
    yield "\t".join(["line", "label", *(f"p({label})" for label in task.labels)])
    for line, decided, row in _answers(task, lines, logits):
        yield "\t".join([str(line), task.label_separator.join(decided), *(f"{p:.6f}" for p in row)])


def jsonl_rows(task, lines, logits):
    if task.problem_type == "regression":
        for line, value in zip(lines, logits[:, 0], strict=True):
            yield json.dumps({"line": line, "value": float(value)})
        return
    for line, decided, row in _answers(task, lines, logits):
        answer = {"label": decided[0]} if task.problem_type == "single_label_classification" else {"labels": decided}
        chances = dict(zip(task.labels, (round(float(p), 6) for p in row), strict=True))
        yield json.dumps({"line": line, **answer, "probabilities": chances}, ensure_ascii=False)


def _answers(task, lines, logits):
    """For each text: its line, the labels decided on, the probabilities of all labels."""
    decided = decisions(task.problem_type, logits)
    for line, decision, row in zip(lines, decided, probabilities(task.problem_type, logits), strict=True):
        if task.problem_type == "single_label_classification":
            yield line, [task.labels[decision]], row
        else:
            yield line, [label for label, holds in zip(task.labels, decision, strict=True) if holds], row


ROWS = {".tsv": tsv_rows, ".jsonl": jsonl_rows}
