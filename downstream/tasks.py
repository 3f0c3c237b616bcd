"""What a task on texts is, as one row: its columns, its labels, its loss and its metric.

A row that stays beside a fine-tuned model (`task.json`) tells `predict`, `evaluate` and the export how texts reach it.
"""

import dataclasses
import json
from pathlib import Path

from bert_tf.config import read_json
from bert_tf.errors import InputError
from bert_tf.files import whole_file
from downstream.heads import PROBLEM_TYPES
from downstream.metrics import METRICS

_FILE = "task.json"


@dataclasses.dataclass(frozen=True)
class Task:
    """A task on single texts or on pairs of texts.

    Attributes:
        text, text_pair, label: names of columns; `text_pair` None for single texts.
        problem_type: "single_label_classification", "multi_label_classification" (several labels in a cell) or
            "regression" (a number in a cell).
        labels: the names of the classes in the order of the logits; None: those found in the training file.
        label_separator: what stands between the labels of a cell in multi-label classification.
        metric: the figure that chooses the best checkpoint, larger being better; None: the first of its problem type.
        max_seq_length: tokens of a text or pair, [CLS] and [SEP] included; what is longer is truncated and counted.
        header: the names of the columns of a file that has no header line; None: its first line names them.
        prefix: a column whose text is put before the first text, with a colon between them.
        may_be_empty: whether an empty text is an example like any other; else it is an error.
        class_weights: what an example of a label counts in the training loss: {label: weight}, "balanced" (all labels
            together count the same), or None (1). With several labels an example, the weight of those it has.

    Raises:
        InputError: an unknown problem type or metric, a length below 3, a column named twice, labels of a regression.
    """

    text: str
    text_pair: str | None = None
    label: str | None = None
    problem_type: str = "single_label_classification"
    labels: tuple[str, ...] | None = None
    label_separator: str = ","
    metric: str | None = None
    max_seq_length: int = 128
    header: tuple[str, ...] | None = None
    prefix: str | None = None
    may_be_empty: bool = False
    class_weights: str | dict | None = None

    def __post_init__(self):
        if self.problem_type not in PROBLEM_TYPES:
            raise InputError(f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, got {self.problem_type!r}")
        if self.metric is not None and self.metric not in METRICS[self.problem_type]:
            raise InputError(
                f"the metric of {self.problem_type} must be one of {', '.join(METRICS[self.problem_type])}, got "
                f"{self.metric!r}"
            )
        if self.max_seq_length < 3:
            raise InputError(f"max_seq_length must be at least 3 ([CLS], a token, [SEP]), got {self.max_seq_length}")
        if self.problem_type == "regression" and self.labels is not None and len(self.labels) > 1:
            raise InputError(f"regression has one number and no labels, got {', '.join(self.labels)}; leave them out")
        if not self.label_separator:
            raise InputError("label_separator must be a character or more between the labels of a cell, got none")
        if self.class_weights is not None and self.problem_type == "regression":
            raise InputError("class_weights need labels, and regression has none; leave --class-weights out")
        names = [name for name in (self.prefix, self.text, self.text_pair, self.label) if name is not None]
        if len(set(names)) != len(names):
            raise InputError(f"text, text pair and label must be different columns, got {', '.join(names)}")

    @property
    def chosen_by(self):
        """The name of the metric that chooses the best checkpoint."""
        return self.metric or next(iter(METRICS[self.problem_type]))

    def check_length(self, config, source):
        """Raises an InputError where texts may be longer than the positions of the encoder."""
        limit = config.max_position_embeddings
        if config.position_embedding_type != "relative" and self.max_seq_length > limit:
            raise InputError(
                f"max_seq_length {self.max_seq_length} is beyond max_position_embeddings {limit} of {source}; choose "
                f"at most {limit}"
            )

    def save(self, folder):
        """Writes `task.json`: what is needed to read files and texts; labels and problem type are in `config.json`."""
        with whole_file(Path(folder) / _FILE, "w") as stream:
            stream.write(json.dumps({name: getattr(self, name) for name in _SAVED}, indent=2) + "\n")

    @classmethod
    def of_model(cls, folder, model, **changes):
        """The task of a fine-tuned model; `changes` (those that are not None) replace columns and length.

        Raises:
            InputError: no `task.json` in the folder and no text column among the changes.
        """
        path = Path(folder) / _FILE
        values = read_json(path) if path.exists() else {}
        saved = {name: values[name] for name in _SAVED if name in values}  # KerasHub has a task.json of another kind
        saved |= {name: value for name, value in changes.items() if value is not None}
        if "text" not in saved:
            raise InputError(f"{folder} has no {_FILE} to name the column of the text; name it with --text")
        return cls(**saved, problem_type=model.problem_type, labels=model.labels)


_SAVED = ("text", "text_pair", "prefix", "label", "label_separator", "metric", "max_seq_length", "may_be_empty")
