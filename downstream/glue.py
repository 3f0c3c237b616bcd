"""`bert-finetune glue`: the tasks of the table (`downstream.glue_tasks`), over seeds, with the answers to hand in.

    OUTPUT/CoLA/seed-0/    the run of a task and a seed (`downstream.classify`)
    OUTPUT/results.json    {"metrics": {task: {metric: {"median": …, "lowest": …, "highest": …}}}, "seeds": […]}
    OUTPUT/submission.zip  the answers to the test files, each by the seed that is best on the validation set

The same command again continues: a run that is finished is not made again.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from bert_tf.errors import InputError
from bert_tf.files import whole_file
from downstream.classify import classify
from downstream.examples import read_columns, read_examples
from downstream.glue_tasks import GLUE, PUBLISHED, TABLE
from downstream.labels import encode
from downstream.predict import FineTuned
from downstream.submission import answer_lines, write_zip
from downstream.tfds_examples import read_tfds

FROM_MNLI = ("MRPC", "STS-B", "RTE")  # Devlin et al. do so for none; Liu et al. 2019 (RoBERTa), section 5.1, for these


def glue(name, data_dir, model, output, recipe, *, seeds=1, from_mnli=False, max_seq_length=None, tfds_dir=None):
    """Runs one task or all of GLUE, prints the table and returns the content of `results.json`.

    Args:
        name: a key of `TABLE`, or "all": the tasks of GLUE whose files are there.
        data_dir: the folder of the task folders; or "tfds:" for TensorFlow Datasets; or, for one task, "tfds:NAME".
        model: the directory of a model or of a run to start from; a head for other labels is left.
        output: the folder of all that is made.
        recipe: a `Recipe`; its seed is the first one.
        seeds: how many seeds.
        from_mnli: begin MRPC, STS-B and RTE from the MNLI model of the same seed in `output`.
        max_seq_length: in place of the table's.
        tfds_dir: where TFDS keeps its data, if not where it usually does.

    Raises:
        InputError: an unknown task; a missing file, or a bad one, with its line; see `classify`.
        SystemExit: status 75 after SIGTERM or SIGINT, with a checkpoint written.
    """
    if seeds < 1:
        raise InputError(f"seeds must be at least 1, got {seeds}")
    data = _Data(data_dir, tfds_dir, max_seq_length)
    names = _chosen(name, data)
    output = Path(output)
    if from_mnli and "MNLI" in names:
        names.sort(key=lambda one: one != "MNLI")
    numbers = list(range(recipe.seed, recipe.seed + seeds))
    data.check(names)
    figures, answers = {}, {}
    for one in names:
        row = data.row(one)
        if row.train is None:
            continue
        examples = {"train": data.read(row, row.train)}
        examples |= {split: data.read(row, file) for split, file in row.validation.items()}
        results = []
        for seed in numbers:
            print(f"\n==== {one}, seed {seed}")
            start = output / "MNLI" / f"seed-{seed}" if from_mnli and one in FROM_MNLI else model
            run = output / one / f"seed-{seed}"
            seeded = dataclasses.replace(recipe, seed=seed)
            results.append(classify(run, start, examples, row.task, seeded, new_head=None))
        chosen = f"validation_{row.task.chosen_by}"
        best = output / one / f"seed-{numbers[int(np.argmax([one['metrics'][chosen] for one in results]))]}"
        figures[one] = _spread(row, results)
        for answered in (one, *(other for other in names if data.row(other).answered_by == one)):
            answers |= _answers(data, data.row(answered), best)
    summary = {"metrics": figures, "seeds": numbers}
    with whole_file(output / "results.json", "w") as stream:
        stream.write(json.dumps(summary, indent=2) + "\n")
    print("\n" + "\n".join(table_lines(figures)))
    if answers:
        write_zip(output / "submission.zip", answers)
        print(f"answers to the test files: {output / 'submission.zip'} ({', '.join(sorted(answers))})")
    return summary


def _chosen(name, data):
    """The tasks to run; of "all" those whose files are there, the others are named."""
    if name != "all":
        if name not in TABLE:
            raise InputError(f"unknown task {name!r}; the tasks are {', '.join(TABLE)} and all")
        if TABLE[name].train is None:
            raise InputError(f"{name} has no training file: it is answered by {TABLE[name].answered_by}; run that")
        # AX comes with MNLI where its file is there.
        return [name, *(other for other in TABLE if TABLE[other].answered_by == name and not data.missing(other))]
    if data.tfds_name:
        raise InputError(f"glue all needs a data set for each task; give tfds: without {data.tfds_name!r}")
    missing = {one: data.missing(one) for one in GLUE}
    for one, files in missing.items():
        if files:
            print(f"{one}: left out, {', '.join(map(str, files))} not found")
    names = [one for one in GLUE if not missing[one]]
    if not any(TABLE[one].train for one in names):
        raise InputError(f"{data.folder} has the files of no task of GLUE; expected CoLA/train.tsv and so on")
    return names


class _Data:
    """Where the examples of a task come from: official files in a folder, or TFDS."""

    def __init__(self, data_dir, tfds_dir, max_seq_length):
        is_tfds = str(data_dir).startswith("tfds:")
        self.folder = None if is_tfds else Path(data_dir)
        self.tfds_name = str(data_dir).removeprefix("tfds:") if is_tfds else None
        self._tfds_dir = tfds_dir
        self._max_seq_length = max_seq_length

    def row(self, name):
        row = TABLE[name]
        if self._max_seq_length is None:
            return row
        return dataclasses.replace(row, task=dataclasses.replace(row.task, max_seq_length=self._max_seq_length))

    def missing(self, name):
        """The files for training and validation that are not there; for a task without them, those of the test."""
        row = TABLE[name]
        if self.folder is None:
            # A name is that of the data of the task asked for, not of one that its model answers.
            is_there = row.tfds and not (row.answered_by and self.tfds_name)
            return [] if is_there else [f"{name} in TensorFlow Datasets"]
        files = [row.train, *row.validation.values()] if row.train else row.test.values()
        return [path for path in (self.folder / row.folder / file for file in files) if not path.exists()]

    def check(self, names):
        """Reads all files once, so that a bad row of the last task is named before the first is trained."""
        for row in map(self.row, names):
            for file in [row.train, *row.validation.values()] if row.train else []:
                examples = self.read(row, file)
                encode(examples, row.task, row.task.labels)
            for file in row.test.values():
                self.read_test(row, file)

    def read(self, row, file):
        """The `Examples` of a file with labels."""
        if self.folder is None:
            return self._read_tfds(row, file, row.task)
        return read_examples(self.folder / row.folder / file, row.task, leave_out_ragged=row.ragged)

    def read_test(self, row, file):
        """(the `Examples` of a file without labels, what numbers each); None where the file is not there."""
        if self.folder is None:
            # In TFDS the rows of all sets here have the number that they have in the official file.
            examples = self._read_tfds(row, file, row.test_task(), with_labels=False, numbered_by=row.index or "idx")
            return examples, examples.lines
        path = self.folder / row.folder / file
        if not path.exists():
            return None
        examples = read_examples(path, row.test_task(), with_labels=False)
        if row.index is None:
            return examples, range(len(examples))
        return examples, read_columns(path, [row.index])[1][row.index]

    def _read_tfds(self, row, file, task, **how):
        name = self.tfds_name or row.tfds
        if name is None:
            raise InputError(f"{row.folder} is not in TensorFlow Datasets under a name of the table; give tfds:NAME")
        split = row.tfds_splits[file]
        return read_tfds(name, split, task, row.tfds_columns, data_dir=self._tfds_dir, **how)


def _spread(row, results):
    """{metric: {"median": …, "lowest": …, "highest": …}} over the seeds, for each validation set."""
    spread = {}
    for split in row.validation:
        for metric in row.reported:
            values = [one["metrics"][f"{split}_{metric}"] for one in results]
            name = metric + split.removeprefix("validation")
            spread[name] = {"median": float(np.median(values)), "lowest": min(values), "highest": max(values)}
    return spread


def _answers(data, row, run):
    """{file name of the submission: its lines} by the model of a run, for the test files that are there."""
    fine_tuned, answers = None, {}
    for name, file in row.test.items():
        read = data.read_test(row, file)
        if read is None:
            print(f"{data.folder / row.folder / file} not found; no answers to it")
            continue
        fine_tuned = fine_tuned or FineTuned.open(run)
        examples, indices = read
        logits = fine_tuned.logits(fine_tuned.tokenize(examples), batch_size=32)
        answers[name + row.suffix] = answer_lines(row, fine_tuned.model.labels, indices, logits)
    return answers


def table_lines(figures):
    """The figures of the validation sets in %, beside the published scores of the test sets.

    Args:
        figures: {task: {metric: {"median": …, "lowest": …, "highest": …}}}.
    """
    header = ["task", "metric", "median", "spread", *PUBLISHED]
    rows = [header]
    for name, metrics in figures.items():
        for index, (metric, of) in enumerate(metrics.items()):
            published = (scores.get(name, ())[index : index + 1] for scores in PUBLISHED.values())
            shown = ["" if not one or one[0] is None else f"{one[0]:.1f}" for one in published]
            spread = f"{100 * of['lowest']:.1f} to {100 * of['highest']:.1f}"
            rows.append([name, metric, f"{100 * of['median']:.1f}", spread, *shown])
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, "Here: validation sets, one model. Tiny to Base: published scores of the test sets."]
