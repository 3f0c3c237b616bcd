"""The loop of fine-tuning: any model, any objective, any features; exact continuation; the best checkpoint kept.

Recipe: Devlin et al. 2018, section 4.1 and appendix A.3 (AdamW, warm-up over the first tenth, linear decay to 0,
dropout as in pretraining, 2 to 4 epochs).
"""

import contextlib
import dataclasses
import math
import signal
import sys
import time

from tqdm import tqdm

from bert_tf.errors import InputError
from bert_tf.figures import RunningFigures
from bert_tf.optimization import BertAdamW, WarmupLinearDecay
from bert_tf.training import make_step
from bert_tf.training_checkpoint import restore_training_checkpoint, save_training_checkpoint
from downstream.batches import TrainingBatches, choose_lengths

STOPPED = 75  # the exit status of a run that was told to stop and can be continued (EX_TEMPFAIL of sysexits.h)
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is fine-tuned.

    Attributes:
        learning_rate: the peak; None: `usual_learning_rate` of the model's width.
        warmup_share: the part of all steps over which the rate rises.
        bias_correction: correct Adam's moments for their start at 0, as PyTorch does and google-research/bert does not.
        max_shapes: the most padded lengths in use, each of which is compiled once; None: one for 50 steps, at most 12.
        dropout: the probability of every dropout, the head's too; None: those of the model's config.json.
        accumulation: micro-batches in a batch, for less memory.
        save_every: steps between checkpoints; one is written after each epoch in any case.
    """

    epochs: int = 3
    batch_size: int = 32
    accumulation: int = 1
    learning_rate: float | None = None
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    bias_correction: bool = False
    clip_norm: float = 1.0
    max_shapes: int | None = None
    dropout: float | None = None
    precision: str = "float32"
    seed: int = 0
    save_every: int = 500

    def __post_init__(self):
        for name, holds, expected in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("accumulation", self.accumulation >= 1, "at least 1"),
            ("learning_rate", self.learning_rate is None or self.learning_rate > 0, "above 0"),
            ("warmup_share", 0 <= self.warmup_share < 1, "in [0, 1)"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("clip_norm", self.clip_norm > 0, "above 0"),
            ("max_shapes", self.max_shapes is None or self.max_shapes >= 1, "at least 1"),
            ("dropout", self.dropout is None or 0 <= self.dropout < 1, "in [0, 1)"),
            ("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            ("seed", self.seed >= 0, "at least 0"),
            ("save_every", self.save_every >= 1, "at least 1"),
        ):
            if not holds:
                raise InputError(f"{name} must be {expected}, got {getattr(self, name)!r}")
        if self.batch_size % self.accumulation:
            raise InputError(
                f"batch_size must be a multiple of accumulation, got {self.batch_size} and {self.accumulation}"
            )

    def settings(self):
        """The values that decide the result."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "save_every"}


def usual_learning_rate(hidden_size):
    """5e-5 · 768 / hidden_size: the rate falls with the width.

    5e-5 is the largest of the rates for BERT-base (Devlin et al. 2018, appendix A.3); for the compact models the
    published search goes up to 3e-4 (google-research/bert, README), which this gives at width 128.
    """
    return 5e-5 * 768 / hidden_size


class FineTuning:
    """A run: its plan, known before the first step, and its loop.

    Args:
        model, objective: what is trained and what it minimises.
        features: the training `Features`.
        recipe: a `Recipe`.
        longest: the longest example of any split, so that all splits share the few padded lengths.
    """

    def __init__(self, model, objective, features, recipe, longest):
        self.model = model
        self.objective = objective
        self.recipe = recipe
        self.steps = recipe.epochs * math.ceil(len(features) / recipe.batch_size)
        most = recipe.max_shapes or min(12, max(1, self.steps // 50))
        self.padded_lengths = choose_lengths(features.lengths, most=most)
        self.padded_lengths[-1] = max(longest, self.padded_lengths[-1])
        self.batches = TrainingBatches(features, self.padded_lengths, recipe.batch_size, recipe.seed)
        self.warmup_steps = int(recipe.warmup_share * self.steps)
        self.learning_rate = recipe.learning_rate or usual_learning_rate(model.config.hidden_size)

    def run(self, run, validate, chosen_by, save_model):
        """Trains from the start or continues, until the last step.

        Args:
            run: the `RunDirectory`.
            validate: called after each epoch, returns {name: value}.
            chosen_by: the name among them of the metric that decides which epoch is best: the largest value, among
                equal ones that of the lowest `loss`.
            save_model: called when the model is the best so far; it must replace the former best.

        Returns {"best_step": …, "best_metrics": {name: value}}.

        Raises:
            InputError: a loss that is not finite.
            SystemExit: status 75 after SIGTERM or SIGINT, with a checkpoint written.
        """
        # ---- Continue or begin ---------------------------------------------------------------------------------
        recipe, steps = self.recipe, self.steps
        schedule = WarmupLinearDecay(self.learning_rate, self.warmup_steps, steps)
        optimizer = BertAdamW(schedule, weight_decay_rate=recipe.weight_decay, bias_correction=recipe.bias_correction)
        optimizer.build(self.model.trainable_variables)
        variables = [*self.model.variables, *optimizer.variables]
        done, progress = restore_training_checkpoint(run.checkpoints_path, variables) or (0, {})
        if done:
            print(f"Continuing after step {done:,} of {steps:,}.")
        run.continue_from(done)
        figures = RunningFigures(progress.get("figures"))
        best = progress.get("best", {"best_step": None, "best_metrics": {}})
        step = make_step(
            self.model, self.objective, optimizer, accumulation=recipe.accumulation, clip_norm=recipe.clip_norm
        )

        def save():
            step.sync()
            progress = {"figures": figures.totals(), "best": best}
            save_training_checkpoint(run.checkpoints_path, done, variables, progress)

        def rank(metrics):
            return metrics[chosen_by], -metrics["loss"]

        # ---- Train ---------------------------------------------------------------------------------------------
        log_every = max(1, min(steps // 30, 50))
        clock = _Clock(done, steps)
        batches = self.batches.iterate(done)
        bar = tqdm(total=steps, initial=done, unit="step", disable=None, dynamic_ncols=True)
        with _stop_requests() as stop, bar:
            while done < steps:
                batch = next(batches)
                new_figures, norm = step.train(batch)
                figures.add(new_figures | {"gradient_norm": (norm, 1.0)})
                done += 1
                clock.trained(int(batch["attention_mask"].sum()))
                bar.update()

                if done % log_every == 0 or done == steps:
                    line = figures.values() | {"learning_rate": float(schedule(done - 1))}  # of the last update
                    check_finite(line, done)
                    rate, time_left = clock.rate_and_time_left(done)
                    run.log(done, line | {"tokens_per_second": rate})
                    if clock.time_to_tell() or done == steps:
                        bar.write(f"{log_line(done, steps, line)}  {rate:,.0f} tokens/s  {time_left} left")
                    figures = RunningFigures()
                if done % self.batches.per_epoch == 0:
                    step.sync()
                    with clock.paused():
                        metrics = validate()
                    run.log(done, {f"validation_{name}": value for name, value in metrics.items()})
                    bar.write(
                        f"{log_line(done, steps, metrics)}  on validation, epoch {done // self.batches.per_epoch}"
                    )
                    if best["best_step"] is None or rank(metrics) > rank(best["best_metrics"]):
                        best = {"best_step": done, "best_metrics": metrics}
                        save_model()
                if done % recipe.save_every == 0 or done % self.batches.per_epoch == 0 or stop.requested:
                    with clock.paused():
                        save()
                if stop.requested and done < steps:
                    print(f"Stopped at step {done:,} as asked; the same command continues.", file=sys.stderr)
                    raise SystemExit(STOPPED)
        return best


def log_line(done, steps, figures):
    """`step 100/1,000  loss 0.214  …`; small numbers in powers of ten."""
    return f"step {done:,}/{steps:,}  " + "  ".join(f"{name} {_shown(value)}" for name, value in figures.items())


def _shown(value):
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2e}"


def check_finite(figures, done):
    for name, value in figures.items():
        if not math.isfinite(value):
            raise InputError(
                f"{name} is {value} by step {done}; lower --learning-rate, or train in float32, in a new --output"
            )


class _Clock:
    """Rates and the time left, from the steps since the last line; validation and saving do not count as training."""

    def __init__(self, done, steps):
        self._done, self._steps = done, steps
        self._tokens = 0
        self._began = self._told = time.monotonic()

    def trained(self, tokens):
        self._tokens += tokens

    @contextlib.contextmanager
    def paused(self):
        stopped = time.monotonic()
        yield
        self._began += time.monotonic() - stopped

    def rate_and_time_left(self, done):
        """(real tokens a second, the time left as "3:05") by the pace since the last call."""
        seconds = time.monotonic() - self._began
        minutes, rest = divmod(round(seconds / (done - self._done) * (self._steps - done)), 60)
        rate = self._tokens / seconds
        self._done, self._tokens, self._began = done, 0, time.monotonic()
        return rate, f"{minutes}:{rest:02d}"

    def time_to_tell(self):
        """Whether the last line is two seconds old: short runs have more to log than anyone reads."""
        due = time.monotonic() - self._told >= 2
        if due:
            self._told = time.monotonic()
        return due


class _StopRequest:
    requested = False


@contextlib.contextmanager
def _stop_requests():
    """Notes SIGTERM and SIGINT while it is entered, so that the loop can end between two steps."""
    stop = _StopRequest()

    def note(number, frame):
        stop.requested = True

    earlier = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
