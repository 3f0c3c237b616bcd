"""The table of tasks: GLUE, and of SuperGLUE and CLUE what a classifier of texts or pairs can do. A new task is a row.

A row says which columns the official files have, which metrics are reported and how answers are handed in. The names
of labels are those of the files (numbers, where they have numbers), in the order of TFDS and Hugging Face.

Quirks of the official files: CoLA's train.tsv and dev.tsv have no header, its test.tsv has one; no file has quoting (a
" is a character); MRPC's begin with a byte order mark; QQP has a few empty questions, and in its train.tsv rows that a
line break cuts (nyu-mll/GLUE-baselines, issue 5), which TFDS and transformers leave out too; the files of CLUE are
called .json and hold an object a line.
"""

import dataclasses

from downstream.tasks import Task


@dataclasses.dataclass(frozen=True)
class Row:
    """One task of the table.

    Attributes:
        task: its columns, labels and metric.
        folder: of its files, under --data-dir.
        train: the training file; None: nothing is trained, another task's model answers (`answered_by`).
        validation: {split: file}: the first chooses the best epoch, all are measured.
        test: {name of the answers: file without labels}.
        reported: the metrics that the table prints.
        tfds: the name in TensorFlow Datasets; None: it has none.
        tfds_splits: {file: the split of TFDS}.
        tfds_columns: {our column: theirs} where they differ.
        answered_by: the name of the task whose model answers the test.
        ragged: whether rows of another width than the header are left out, counted and named.
        index: the column that numbers the rows of a test file; None: they are numbered from 0.
        suffix: of the answers: ".tsv" (index<TAB>prediction, GLUE), ".jsonl" (SuperGLUE) or ".json" (CLUE).
    """

    task: Task
    folder: str
    reported: tuple
    train: str | None = "train.tsv"
    validation: dict = dataclasses.field(default_factory=lambda: {"validation": "dev.tsv"})
    test: dict = dataclasses.field(default_factory=dict)
    tfds: str | None = None
    tfds_splits: dict = dataclasses.field(default_factory=lambda: TFDS_SPLITS)
    tfds_columns: dict = dataclasses.field(default_factory=dict)
    answered_by: str | None = None
    ragged: bool = False
    index: str | None = None
    suffix: str = ".tsv"

    def test_task(self):
        """The `Task` of the test file: it has a header line always, and no labels."""
        return dataclasses.replace(self.task, header=None, label=None)


TFDS_SPLITS = {"train.tsv": "train", "dev.tsv": "validation", "test.tsv": "test"}
_ZERO_ONE = ("0", "1")
_FALSE_TRUE = ("false", "true")
_ENTAILMENT = ("entailment", "not_entailment")
_THREE_WAY = ("entailment", "neutral", "contradiction")
_COLA_HEADER = ("source", "label", "mark", "sentence")
_JSONL = {"train": "train.jsonl", "validation": {"validation": "val.jsonl"}, "index": "idx", "suffix": ".jsonl"}
_JSONL["tfds_splits"] = {"train.jsonl": "train", "val.jsonl": "validation", "test.jsonl": "test"}
_CLUE = {"train": "train.json", "validation": {"validation": "dev.json"}, "index": "id", "suffix": ".json"}
_CLUE["tfds_splits"] = {"train.json": "train", "dev.json": "validation", "test.json": "test"}


def _task(text, text_pair, label, labels, metric, **more):
    return Task(text=text, text_pair=text_pair, label=label, labels=labels, metric=metric, **more)


def _mnli(label):
    return _task("sentence1", "sentence2", label, _THREE_WAY, "accuracy")


TABLE = {
    "CoLA": Row(
        _task("sentence", None, "label", _ZERO_ONE, "matthews", header=_COLA_HEADER),
        "CoLA",
        ("matthews",),
        test={"CoLA": "test.tsv"},
        tfds="glue/cola",
    ),
    "SST-2": Row(
        _task("sentence", None, "label", _ZERO_ONE, "accuracy"),
        "SST-2",
        ("accuracy",),
        test={"SST-2": "test.tsv"},
        tfds="glue/sst2",
    ),
    "MRPC": Row(
        _task("#1 String", "#2 String", "Quality", _ZERO_ONE, "accuracy_f1"),
        "MRPC",
        ("f1", "accuracy"),
        test={"MRPC": "test.tsv"},
        tfds="glue/mrpc",
        tfds_columns={"#1 String": "sentence1", "#2 String": "sentence2", "Quality": "label"},
    ),
    "STS-B": Row(
        _task("sentence1", "sentence2", "score", None, "pearson_spearman", problem_type="regression"),
        "STS-B",
        ("pearson", "spearman"),
        test={"STS-B": "test.tsv"},
        tfds="glue/stsb",
        tfds_columns={"score": "label"},
    ),
    "QQP": Row(
        _task("question1", "question2", "is_duplicate", _ZERO_ONE, "accuracy_f1", may_be_empty=True),
        "QQP",
        ("f1", "accuracy"),
        test={"QQP": "test.tsv"},
        ragged=True,
        tfds="glue/qqp",
        tfds_columns={"is_duplicate": "label"},
    ),
    "MNLI": Row(
        _mnli("gold_label"),
        "MNLI",
        ("accuracy",),
        validation={"validation": "dev_matched.tsv", "validation_mismatched": "dev_mismatched.tsv"},
        test={"MNLI-m": "test_matched.tsv", "MNLI-mm": "test_mismatched.tsv"},
        tfds="glue/mnli",
        tfds_splits={"train.tsv": "train"}
        | {f"dev_{kind}.tsv": f"validation_{kind}" for kind in ("matched", "mismatched")}
        | {f"test_{kind}.tsv": f"test_{kind}" for kind in ("matched", "mismatched")},
        tfds_columns={"sentence1": "premise", "sentence2": "hypothesis", "gold_label": "label"},
    ),
    "QNLI": Row(
        _task("question", "sentence", "label", _ENTAILMENT, "accuracy"),
        "QNLI",
        ("accuracy",),
        test={"QNLI": "test.tsv"},
        tfds="glue/qnli",
    ),
    "RTE": Row(
        _task("sentence1", "sentence2", "label", _ENTAILMENT, "accuracy"),
        "RTE",
        ("accuracy",),
        test={"RTE": "test.tsv"},
        tfds="glue/rte",
    ),
    "WNLI": Row(
        _task("sentence1", "sentence2", "label", _ZERO_ONE, "accuracy"),
        "WNLI",
        ("accuracy",),
        test={"WNLI": "test.tsv"},
        tfds="glue/wnli",
    ),
    "AX": Row(
        _mnli(None),
        "diagnostic",
        (),
        train=None,
        validation={},
        test={"AX": "diagnostic.tsv"},
        tfds="glue/ax",
        tfds_splits={"diagnostic.tsv": "test"},
        tfds_columns={"sentence1": "premise", "sentence2": "hypothesis"},
        answered_by="MNLI",
    ),
    "BoolQ": Row(
        _task("passage", "question", "label", _FALSE_TRUE, "accuracy", max_seq_length=256),
        "BoolQ",
        ("accuracy",),
        test={"BoolQ": "test.jsonl"},
        tfds="super_glue/boolq",
        **_JSONL,
    ),
    "WiC": Row(
        _task("sentence1", "sentence2", "label", _FALSE_TRUE, "accuracy", prefix="word"),
        "WiC",
        ("accuracy",),
        test={"WiC": "test.jsonl"},
        tfds="super_glue/wic",
        **_JSONL,
    ),
    "AFQMC": Row(
        _task("sentence1", "sentence2", "label", _ZERO_ONE, "accuracy"),
        "AFQMC",
        ("accuracy",),
        test={"afqmc_predict": "test.json"},
        **_CLUE,
    ),
    "TNEWS": Row(
        # 105 and 111 are no labels of TNEWS (CLUE, `labels.json`).
        _task("sentence", None, "label", tuple(str(n) for n in range(100, 117) if n not in (105, 111)), "accuracy"),
        "TNEWS",
        ("accuracy",),
        test={"tnews_predict": "test.json"},
        **_CLUE,
    ),
}

GLUE = ("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE", "WNLI", "AX")  # what `glue all` runs

# Test scores in %, in the order of `reported` (for MNLI matched, mismatched). The small models: google-research/bert,
# README (March 2020); Base: Devlin et al. 2018, table 1, which gives F1 alone for QQP and MRPC, Spearman alone for
# STS-B.
PUBLISHED = {
    "Tiny": {"CoLA": (0.0,), "SST-2": (83.2,), "MRPC": (81.1, 71.1), "STS-B": (74.3, 73.6), "QQP": (62.2, 83.4),
             "MNLI": (70.2, 70.3), "QNLI": (81.5,), "RTE": (57.2,)},
    "Mini": {"CoLA": (0.0,), "SST-2": (85.9,), "MRPC": (81.1, 71.8), "STS-B": (75.4, 73.3), "QQP": (66.4, 86.2),
             "MNLI": (74.8, 74.3), "QNLI": (84.1,), "RTE": (57.9,)},
    "Small": {"CoLA": (27.8,), "SST-2": (89.7,), "MRPC": (83.4, 76.2), "STS-B": (78.8, 77.0), "QQP": (68.1, 87.0),
              "MNLI": (77.6, 77.0), "QNLI": (86.4,), "RTE": (61.8,)},
    "Medium": {"CoLA": (38.0,), "SST-2": (89.6,), "MRPC": (86.6, 81.6), "STS-B": (80.4, 78.4), "QQP": (69.6, 87.9),
               "MNLI": (80.0, 79.1), "QNLI": (87.7,), "RTE": (62.2,)},
    "Base": {"CoLA": (52.1,), "SST-2": (93.5,), "MRPC": (88.9, None), "STS-B": (None, 85.8), "QQP": (71.2, None),
             "MNLI": (84.6, 83.4), "QNLI": (90.5,), "RTE": (66.4,)},
}  # fmt: skip
