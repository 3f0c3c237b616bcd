"""The loop of fine-tuning: any model, any objective, any features; exact continuation; the best checkpoint kept.

Recipe: Devlin et al. 2018, section 4.1 and appendix A.3 (AdamW, warm-up over the first tenth, linear decay to 0,
dropout as in pretraining, 2 to 4 epochs).
"""

import dataclasses
import math

from bert_tf.budget import Budget
from bert_tf.choices import PRECISIONS
from bert_tf.errors import InputError
from bert_tf.loss_scale import LossScale
from bert_tf.optimization import BertAdamW
from bert_tf.schedules import Schedule
from bert_tf.training import make_step
from bert_tf.training_loop import TrainingLoop
from downstream.batches import TrainingBatches, choose_lengths
from downstream.layerwise import freeze, layer_rate_factors, reinitialise


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is fine-tuned.

    Attributes:
        learning_rate: the peak; None: `usual_learning_rate` of the model's width.
        warmup_share: the part of all steps over which the rate rises.
        bias_correction: correct Adam's moments for their start at 0, as PyTorch does and google-research/bert does not.
        max_shapes: the most padded lengths in use, each of which is compiled once; None: one for 50 steps, at most 12.
        dropout: the probability of every dropout, the head's too; None: those of the model's config.json.
        layer_decay: the rate of a layer as a part of that of the layer above (`downstream.layerwise`); 1.0: all alike.
        freeze_layers: the embeddings and so many of the first layers are not trained; None: all are.
        reinit_layers: so many of the top layers, and the pooler, begin with fresh weights.
        patience: end after so many epochs in a row without a better validation metric; None: never.
        accumulation: micro-batches in a batch, for less memory.
        save_every: steps between checkpoints.
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
    layer_decay: float = 1.0
    freeze_layers: int | None = None
    reinit_layers: int = 0
    patience: int | None = None
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
            ("layer_decay", 0 < self.layer_decay <= 1, "in (0, 1]"),
            ("freeze_layers", self.freeze_layers is None or self.freeze_layers >= 0, "at least 0"),
            ("reinit_layers", self.reinit_layers >= 0, "at least 0"),
            ("patience", self.patience is None or self.patience >= 1, "at least 1"),
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
    """5e-5; for a model narrower than 384, 5e-5 · 768 / hidden_size.

    5e-5 is the largest of the rates for BERT-base (Devlin et al. 2018, appendix A.3); for the compact models the
    published search goes up to 3e-4 (google-research/bert, README), which this gives at width 128. At width 384, on
    SST-2, 5e-5 was better than 1e-4 (benchmarks/RESULTS.md).
    """
    return 5e-5 if hidden_size >= 384 else 5e-5 * 768 / hidden_size


SHARES = (0.9, 0.92, 0.94, 0.96)  # of the tokens computed that are real: the one wanted, and what is tried for it


class FineTuning:
    """A run: its plan, known before the first step, and its loop.

    Frozen layers and fresh ones are so from here on.

    Args:
        model, objective: what is trained (its encoder in `model.bert`) and what it minimises.
        features: the training `Features`.
        recipe: a `Recipe`.
        longest: the longest example of any split, so that all splits share the few padded lengths.
    """

    def __init__(self, model, objective, features, recipe, longest):
        self.model = model
        self.objective = objective
        self.recipe = recipe
        self.fresh = reinitialise(model.bert, recipe.reinit_layers)
        freeze(model.bert, recipe.freeze_layers)
        self.steps = recipe.epochs * math.ceil(len(features) / recipe.batch_size)
        most = recipe.max_shapes or min(12, max(1, self.steps // 50))
        for real_share in SHARES:  # batches of mixed buckets add some padding to what the lengths alone would need
            self.padded_lengths = choose_lengths(features.lengths, real_share, most)
            self.padded_lengths[-1] = max(longest, self.padded_lengths[-1])
            self.batches = TrainingBatches(features, self.padded_lengths, recipe.batch_size, recipe.seed)
            if self.batches.real_share() >= SHARES[0] or len(self.padded_lengths) == most:
                break
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

        Returns {"best_step": …, "best_metrics": {name: value}}; `steps_made` are then the steps of the run, fewer than
        `steps` where it ended early.

        Raises:
            InputError: an update that was not finite.
            SystemExit: status 75 after SIGTERM or SIGINT, with a checkpoint written.
        """
        recipe, model = self.recipe, self.model
        factors = layer_rate_factors(model.config.num_hidden_layers, recipe.layer_decay)
        optimizer = BertAdamW(
            self.learning_rate,
            weight_decay_rate=recipe.weight_decay,
            bias_correction=recipe.bias_correction,
            rate_factors=factors if recipe.layer_decay < 1 else None,
        )
        optimizer.build(model.trainable_variables)
        loss_scale = LossScale() if recipe.precision == "float16" else None
        loop = TrainingLoop(
            run,
            [*model.variables, *optimizer.variables, *(loss_scale.variables if loss_scale else ())],
            Budget(steps=self.steps),
            Schedule(self.learning_rate, self.warmup_steps / self.steps),
            log_every=max(1, min(self.steps // 30, 50)),
            save_every=recipe.save_every,
            evaluate_every=self.batches.per_epoch,
        )
        step = make_step(
            model,
            self.objective,
            optimizer,
            accumulation=recipe.accumulation,
            clip_norm=recipe.clip_norm,
            loss_scale=loss_scale,
        )

        def rank(metrics):
            return metrics[chosen_by], -metrics["loss"]

        def evaluate():
            metrics = validate()
            best = loop.state.get("best")
            if best is None or rank(metrics) > rank(best["best_metrics"]):
                loop.state["best"] = {"best_step": loop.done, "best_metrics": metrics}
                save_model()
            elif recipe.patience and loop.done - best["best_step"] >= recipe.patience * self.batches.per_epoch:
                loop.end_early()
            return {f"validation_{name}": value for name, value in metrics.items()}

        loop.train(step, self.batches.iterate(loop.done), evaluate)
        self.steps_made = loop.done
        return loop.state["best"]
