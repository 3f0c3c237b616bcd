"""The loop of every training run: update, log, evaluate, save; ends with its budget, continues to the same bits.

What a checkpoint holds beside the variables is the loop's progress: the place in the data, the figures not yet logged,
the time used, the updates skipped, and `state`, a dictionary of JSON values that belongs to the caller.
"""

import contextlib
import math
import sys
import time

from tqdm import tqdm

from bert_tf.devices import Devices
from bert_tf.errors import InputError
from bert_tf.figures import RunningFigures
from bert_tf.non_finite import first_non_finite
from bert_tf.stop_request import STOPPED, StopRequest
from bert_tf.training_checkpoint import restore_training_checkpoint, save_training_checkpoint

# Updates in a row without a finite gradient that are never a matter of luck: a loss scale of 2^15 has reached 1.
MOST_SKIPPED_IN_A_ROW = 20
SECONDS_BETWEEN_LINES = 2  # short runs have more to log than anyone reads


class TrainingLoop:
    """Restores the newest checkpoint of the run when it is made; `train` goes on from there.

    Args:
        run: the `RunDirectory`.
        variables: all that a checkpoint holds, always in the same order.
        budget: a `Budget`.
        rate: the learning rate as a function of the progress, from 0.0 at the first update to below 1.0 at the last.
        log_every, save_every, evaluate_every: numbers of steps.
        skip_non_finite: go on after an update whose gradient is not finite, and count it, instead of stopping.
        peak_flops: operations a second that a device can do, for the MFU; None where it is not known.
        devices: the `Devices` that train; the first host writes what the run leaves, all read the checkpoints.

    Attributes:
        done: updates made or skipped so far.
        place: where the batch after the last one is: what `batches` yielded beside it, None at the start.
        state: JSON values that the caller wants kept with the checkpoints.
        skipped: updates skipped so far.
        ended_early: whether `end_early` was called, now or before an interruption.
    """

    def __init__(self, run, variables, budget, rate, *, log_every, save_every, evaluate_every, skip_non_finite=False,
                 peak_flops=None, devices=None):  # fmt: skip
        self.run, self.variables, self.budget, self.rate = run, variables, budget, rate
        self.log_every, self.save_every, self.evaluate_every = log_every, save_every, evaluate_every
        self.skip_non_finite = skip_non_finite
        self.devices = devices or Devices()
        self.done, progress = restore_training_checkpoint(run.checkpoints_path, variables) or (0, {})
        self.devices.check_same(self.done, "the step of the newest undamaged checkpoint")
        self.place, self.state = progress.get("place"), progress.get("state", {})
        self.skipped, self._skipped_in_a_row = progress.get("skipped", 0), progress.get("skipped_in_a_row", 0)
        self.ended_early = progress.get("ended_early", False)
        self._figures = RunningFigures(progress.get("figures"))
        self._clock = _Clock(progress.get("seconds", 0.0), peak_flops and peak_flops * self.devices.count)
        self.progress = self._progress()
        if self.done:
            print(f"Continuing after step {self.done:,}.")
        run.continue_from(self.done)

    def end_early(self):
        """For `evaluate`: ends the run before its budget does; a checkpoint is written, and it stays ended."""
        self.ended_early = True

    def train(self, step, batches, evaluate, *, until=1.0, flops=0):
        """Makes updates until `until` of the budget is used, or the run is ended early.

        Args:
            step: see `bert_tf.training.make_step`.
            batches: an iterator of (place, batch): a batch, and where the one after it is. It is closed at the end.
            evaluate: a function without arguments that returns {name: value}, called every `evaluate_every` steps and
                at the end of the budget; `step` is in sync with the Keras variables then.
            until: the progress at which to end, for a run in several phases.
            flops: operations of one update.

        Raises:
            InputError: an update that was not finite, with the first tensor that was not, unless `skip_non_finite` or
                a loss scale allow for it.
            SystemExit: status 75 after SIGTERM or SIGINT, with a checkpoint written.
        """
        unchecked = []  # the last update and its batch: read one step late, so that the device need not wait for us
        bar = tqdm(total=self.budget.steps, initial=self.done, unit="step", disable=None, dynamic_ncols=True)
        with StopRequest(self.devices.num_hosts) as stop, bar, contextlib.closing(batches):
            while self.progress < until and not self.ended_early:
                self.place, batch = next(batches)
                rate = self.rate(self.progress)
                figures = step.train(batch, rate)
                hosts = self.devices.num_hosts  # this one's rows stand for those of the others
                places, tokens = hosts * batch["attention_mask"].size, hosts * int(batch["attention_mask"].sum())
                self._figures.add(figures | {"padding": (places - tokens, places)})
                self.done += 1
                self._clock.stepped(tokens, flops)
                self.progress = self._progress()
                ends, stops = self.progress >= 1, stop.stops_after(self.done)  # a later request is for the next step
                bar.update()
                log = ends or self.done % self.log_every == 0
                save = ends or self.done % self.save_every == 0 or stops
                evaluates = ends or self.done % self.evaluate_every == 0
                unchecked.append((figures["skipped"][0], batch))
                while len(unchecked) > (0 if log or save or evaluates else 1):
                    self._check(step, *unchecked.pop(0))

                if log:
                    self._log(bar, rate)
                if evaluates:
                    with self._clock.paused():
                        step.sync()
                        measured = evaluate()
                        self.run.log(self.done, measured)
                        bar.write(self._line(measured))
                if save or self.ended_early:
                    with self._clock.paused():
                        step.sync()
                        self._save()
                if stops and not ends and not self.ended_early:
                    print(f"Stopped at step {self.done:,} as asked; the same command continues.", file=sys.stderr)
                    raise SystemExit(STOPPED)

    def _progress(self):
        """The share of the budget used; where time decides, the first host's clock does, for all of them."""
        seconds = self._clock.seconds()
        return self.budget.progress(self.done, self.devices.from_main(seconds) if self.budget.hours else seconds)

    def _log(self, bar, rate):
        figures = self._figures.values()
        del figures["skipped"]
        figures |= {"learning_rate": rate} | self._clock.figures()
        if self.skipped:
            figures["skipped_updates"] = self.skipped
        left = self._clock.time_left(self.budget, self.done)
        self.run.log(self.done, figures)
        self._figures = RunningFigures()
        line = f"{self._line(figures)}  {left} left"
        bar.set_postfix_str(line.split("  ", 1)[1], refresh=False)
        if bar.disable and (self._clock.time_to_tell() or self.progress >= 1):
            bar.write(line)

    def _line(self, figures):
        """`step 100/1,000  mlm_loss 6.214  …`; rates without decimals, small numbers in powers of ten."""
        of = f"/{self.budget.steps:,}" if self.budget.steps else f" ({self.progress:.0%})"
        return f"step {self.done:,}{of}  " + "  ".join(f"{name} {_shown(value)}" for name, value in figures.items())

    def _check(self, step, skipped, batch):
        """Counts an update that was skipped, or stops."""
        if not float(skipped):
            self._skipped_in_a_row = 0
            return
        self.skipped += 1
        self._skipped_in_a_row += 1
        allowed = self.skip_non_finite or step.loss_scale is not None
        if allowed and self._skipped_in_a_row < MOST_SKIPPED_IN_A_ROW:
            return
        name = first_non_finite(step.model, step, batch)
        raise InputError(
            f"the gradient of the update by step {self.done:,} is not finite"
            + (f", {self._skipped_in_a_row} in a row; " if allowed else "; ")
            + (f"the first tensor that is not is {name}" if name else "with dropout drawn anew every tensor is finite")
            + "; the update was not made and the last checkpoint stands: lower --learning-rate, choose another "
            "--precision, or pass --skip-non-finite, in a new --output"
        )

    def _save(self):
        progress = {
            "place": self.place,
            "figures": self._figures.totals(),
            "seconds": self._clock.seconds(),
            "skipped": self.skipped,
            "skipped_in_a_row": self._skipped_in_a_row,
            "ended_early": self.ended_early,
            "state": self.state,
        }
        if self.devices.is_main:
            save_training_checkpoint(self.run.checkpoints_path, self.done, self.variables, progress)
        self.devices.wait_for_all("checkpoint")  # or a host could leave before it is whole


def _shown(value):
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2e}"


class _Clock:
    """The time that a run has used, and the pace since the last line; evaluation and saving are no part of the pace."""

    def __init__(self, seconds, peak_flops):
        self._peak_flops = peak_flops
        self._zero = time.monotonic() - seconds
        self._told = self._began = time.monotonic()
        self._steps = self._tokens = self._flops = 0
        self._seconds_a_step = math.nan

    def seconds(self):
        """Of the whole run, interruptions left out."""
        return time.monotonic() - self._zero

    def stepped(self, tokens, flops):
        self._steps += 1
        self._tokens += tokens
        self._flops += flops

    @contextlib.contextmanager
    def paused(self):
        stopped = time.monotonic()
        yield
        self._began += time.monotonic() - stopped

    def figures(self):
        """Real tokens a second and, where the peak is known, the MFU, since the last call."""
        seconds = time.monotonic() - self._began
        self._seconds_a_step = seconds / self._steps
        figures = {"tokens_per_second": self._tokens / seconds}
        if self._peak_flops and self._flops:
            figures["mfu"] = self._flops / seconds / self._peak_flops
        self._began = time.monotonic()
        self._steps = self._tokens = self._flops = 0
        return figures

    def time_left(self, budget, done):
        """As "3:05" or "2:03:05", by the pace that `figures` saw last."""
        seconds = round(max(0.0, budget.seconds_left(done, self.seconds(), self._seconds_a_step)))
        hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
        return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

    def time_to_tell(self):
        due = time.monotonic() - self._told >= SECONDS_BETWEEN_LINES
        if due:
            self._told = time.monotonic()
        return due
