"""The directory of a run: what it was asked to do, what it measured, what came out.

config.json         the settings; the same command again continues the run, another command is refused
metrics.jsonl       one line a log step
tensorboard/        the same figures as TensorBoard events
checkpoints/        the state to continue from (bert_tf.training_checkpoint)
model/              the Hugging Face directory, when the run is finished
learning_curve.png
results.json        the final figures, written last: a run with this file is finished
"""

import json
import os
from pathlib import Path

from tensorboardX import SummaryWriter

from bert_tf.config import read_json
from bert_tf.errors import InputError
from bert_tf.files import refuse, whole_file


class RunDirectory:
    """Opens or makes the directory of a run.

    Args:
        path: the folder.
        settings: everything that decides the result, as JSON values.
        writes: False on a host that leaves the writing to another one, and reads what is there.

    Raises:
        InputError: the folder holds something else, or a run with other settings.
    """

    def __init__(self, path, settings, writes=True):
        self.path = Path(path)
        self.model_path = self.path / "model"
        self.checkpoints_path = self.path / "checkpoints"
        self.curve_path = self.path / "learning_curve.png"
        self._metrics_path = self.path / "metrics.jsonl"
        self._results_path = self.path / "results.json"
        self._writes = writes
        self._writer = None
        self._claim(json.loads(json.dumps(settings)))

    def _claim(self, settings):
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file; choose an empty or new folder for --output")
        config_path = self.path / "config.json"
        if config_path.exists():
            earlier = read_json(config_path)
            differing = [key for key in (settings | earlier) if settings.get(key) != earlier.get(key)]
            if differing:
                changes = ", ".join(
                    f"{key} {earlier.get(key)!r} there, {settings.get(key)!r} now" for key in differing[:3]
                )
                changes += f", and {len(differing) - 3} more" if len(differing) > 3 else ""
                raise InputError(
                    f"{self.path} belongs to another run ({changes}); choose another --output or repeat its settings"
                )
        elif (
            self._writes
            and self.path.exists()
            and any(entry.name != "config.json.partial" for entry in self.path.iterdir())
        ):
            raise InputError(
                f"{self.path} holds files but no config.json of a run; choose an empty or new folder for --output"
            )
        elif self._writes:
            with whole_file(config_path, "w") as stream:
                stream.write(json.dumps(settings, indent=2) + "\n")

    @property
    def results(self):
        """The final figures of a finished run, else None."""
        return read_json(self._results_path) if self._results_path.exists() else None

    def finish(self, results):
        """Writes `results.json`: `{"metrics": {…}, …}`."""
        if self._writer is not None:
            self._writer.close()
        with whole_file(self._results_path, "w") as stream:
            stream.write(json.dumps(results, indent=2) + "\n")

    def continue_from(self, step):
        """Drops the lines of `metrics.jsonl` after `step`: they will be measured again."""
        if not self._writes:
            return
        kept = [line for line in self.metrics() if line["step"] <= step]
        with whole_file(self._metrics_path, "w") as stream:
            stream.writelines(json.dumps(line) + "\n" for line in kept)
        self._writer = SummaryWriter(str(self.path / "tensorboard"), purge_step=step + 1)

    def log(self, step, figures):
        """Adds one line to `metrics.jsonl` and the same figures to TensorBoard."""
        if not self._writes:
            return
        try:
            with open(self._metrics_path, "a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": step, **figures}) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            refuse(error, self._metrics_path)
            raise
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def metrics(self):
        """The lines of `metrics.jsonl`; one that a crash cut short or damaged is left out, to be measured again."""
        if not self._metrics_path.exists():
            return []
        lines = self._metrics_path.read_bytes().splitlines(keepends=True)
        return [figures for line in lines if (figures := _figures(line))]


def _figures(line):
    """The figures in a line of `metrics.jsonl`, None where it is not whole."""
    try:
        figures = json.loads(line)
    except ValueError:  # no JSON, or no UTF-8
        return None
    return figures if line.endswith(b"\n") and isinstance(figures, dict) and "step" in figures else None
