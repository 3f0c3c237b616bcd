"""`task.json` in the directory of a model that tags, answers questions or picks sentences: how it reads text."""

import json
from pathlib import Path

from bert_tf.config import read_json
from bert_tf.errors import InputError
from bert_tf.files import whole_file

_FILE = "task.json"


def write_task_file(folder, task, settings):
    """Writes the name of the task, "squad", "tag" or "summarize", and its settings, JSON values."""
    with whole_file(Path(folder) / _FILE, "w") as stream:
        stream.write(json.dumps({"task": task} | settings, indent=2) + "\n")


def read_task_file(folder, task):
    """The settings.

    Raises:
        InputError: a folder without them, or with those of another task.
    """
    path = Path(folder) / _FILE
    values = read_json(path) if path.exists() else {}
    if values.pop("task", None) != task:
        raise InputError(
            f"{folder} has no {_FILE} of the task {task}; give a model that bert-finetune {task} has trained"
        )
    return values
