"""The settings of a pretraining run: everything that decides its result, each with what `--help` says of it.

Defaults are those of BERT-base (Devlin et al. 2018, appendix A.2).
"""

import argparse
import dataclasses
import math
import types
import typing
from decimal import Decimal

from bert_tf.budget import Budget
from bert_tf.choices import OPTIMIZERS, PRECISIONS
from bert_tf.errors import InputError
from bert_tf.schedules import Schedule


def _setting(default, description):
    return dataclasses.field(default=default, metadata={"help": description})


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a run with batches of one shape, from where the phase before it ended.

    Attributes:
        until: the progress of the budget at which it ends.
        max_seq_length, max_predictions, batch_size, accumulation: as in `PretrainingSettings`.
    """

    until: float
    max_seq_length: int
    max_predictions: int
    batch_size: int
    accumulation: int


@dataclasses.dataclass(frozen=True)
class PretrainingSettings:
    """See the help of each field.

    Raises:
        InputError: a value out of its range, two budgets, or two models to start from.
    """

    data: str = _setting(dataclasses.MISSING, "the prepared corpus (bert-pretrain prepare makes it)")
    config: str | None = _setting(
        None, "a named size or a config.json, bert-base-uncased if not given; the vocabulary's size is the corpus'"
    )
    model: str | None = _setting(
        None,
        "start from this checkpoint (any format that opens) instead of from random weights; the corpus is prepared "
        "with its tokenizer, or with one that adds words to it: their vectors begin as the mean of their old pieces",
    )
    dropout: float | None = _setting(
        None, "both dropout probabilities of the pretraining; the model directory keeps the configuration's"
    )
    initializer_range: float | None = _setting(
        None, "standard deviation of the initial weights; narrow models learn sooner with about 1/sqrt(hidden_size)"
    )
    pad_vocab_size_multiple_of: int = _setting(
        1, "pad the word embeddings in memory to a multiple of this, for speed (64 on GPUs); it changes no result"
    )
    max_seq_length: int = _setting(128, "tokens in a sequence, with [CLS] and [SEP]")
    max_predictions: int = _setting(20, "masked tokens in a sequence, at most")
    masked_lm_prob: float = _setting(0.15, "share of the tokens to predict")
    masking: str = _setting("token", "what is masked together: token, whole_word, ngram or span")
    nsp: bool = _setting(True, "next sentence prediction; --no-nsp packs full sentences instead of pairs")
    short_seq_prob: float = _setting(0.1, "share of pairs that aim at a shorter length")
    batch_size: int = _setting(256, "sequences in an update")
    accumulation: int = _setting(1, "parts that an update is computed in, to save memory")
    phase2_share: float = _setting(0.0, "the last part of the budget trains at another length; BERT: 0.1")
    phase2_seq_length: int = _setting(512, "its tokens in a sequence")
    phase2_predictions: int = _setting(76, "its masked tokens in a sequence, at most")
    phase2_batch_size: int | None = _setting(None, "its sequences in an update; as before if not given")
    phase2_accumulation: int | None = _setting(None, "its parts of an update; as before if not given")
    steps: int | None = _setting(None, "the budget as updates; 1,000,000 if no budget is given")
    tokens: int | None = _setting(None, "the budget as places in sequences, padding included, rounded up to an update")
    hours: float | None = _setting(None, "the budget as time: everything that ends with the run ends then")
    optimizer: str = _setting("adamw", "adamw (BERT's), lamb (batches of thousands) or muon (for the hidden matrices)")
    learning_rate: float = _setting(1e-4, "the highest rate; it falls to 0 at the end of the budget")
    schedule: str = _setting("linear", "how it falls: linear, cosine, or wsd (constant, then linear)")
    warmup_share: float = _setting(0.01, "share of the budget in which the rate rises from 0")
    decay_share: float = _setting(0.2, "share of the budget in which the rate of wsd falls")
    weight_decay: float = _setting(0.01, "decoupled decay of kernels and embeddings")
    clip_norm: float = _setting(1.0, "largest global norm of the gradient of an update")
    precision: str = _setting(
        "float32", "what the model computes in: float32, bfloat16, or float16 with loss scaling (weights stay float32)"
    )
    skip_non_finite: bool = _setting(False, "skip and count updates whose gradient is not finite, instead of stopping")
    seed: int = _setting(0, "decides the initial weights, the order, the masks and the dropout")
    log_every: int = _setting(100, "steps between lines of metrics.jsonl")
    evaluate_every: int = _setting(1000, "steps between evaluations on held-out documents")
    evaluation_batches: int = _setting(100, "held-out batches of an evaluation, at most")
    save_every: int = _setting(1000, "steps between checkpoints")

    def __post_init__(self):
        for name in ("phase2_batch_size", "phase2_accumulation"):
            _require(getattr(self, name) is None or getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for phase in self.phases():
            for name in ("batch_size", "accumulation", "max_predictions"):
                _require(getattr(phase, name) >= 1, name, "at least 1", getattr(phase, name))
            if phase.batch_size % phase.accumulation:
                raise InputError(
                    f"batch_size must be a multiple of accumulation, got {phase.batch_size} and {phase.accumulation}"
                )
        for name in "log_every evaluate_every evaluation_batches save_every pad_vocab_size_multiple_of".split():
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        _require(0 <= self.phase2_share < 1, "phase2_share", "in [0, 1)", self.phase2_share)
        _require(self.optimizer in OPTIMIZERS, "optimizer", f"one of {', '.join(OPTIMIZERS)}", self.optimizer)
        _require(0 <= self.weight_decay < math.inf, "weight_decay", "at least 0", self.weight_decay)
        for name in ("learning_rate", "clip_norm"):
            _require(0 < getattr(self, name) < math.inf, name, "above 0", getattr(self, name))
        _require(self.precision in PRECISIONS, "precision", f"one of {', '.join(PRECISIONS)}", self.precision)
        if self.model is not None and (self.config is not None or self.initializer_range is not None):
            raise InputError("--model brings its own configuration; leave --config and --initializer-range out")
        self.budget()
        self.rate()

    def rate(self):
        """The learning rate as a function of the progress, a `Schedule`."""
        return Schedule(self.learning_rate, self.warmup_share, self.schedule, self.decay_share)

    def phases(self):
        """The phases of the run, one or two, as a list."""
        # As decimals, since 1.0 - 0.7 > 3 / 10 in floats: a step too many for the first phase.
        until = float(1 - Decimal(str(self.phase2_share)))
        first = Phase(until, self.max_seq_length, self.max_predictions, self.batch_size, self.accumulation)
        second = Phase(
            1.0,
            self.phase2_seq_length,
            self.phase2_predictions,
            self.phase2_batch_size or self.batch_size,
            self.phase2_accumulation or self.accumulation,
        )
        return [first, second] if self.phase2_share else [first]

    def budget(self):
        """The `Budget`; tokens are turned into steps, each phase with its share of them."""
        given = [name for name in ("steps", "tokens", "hours") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"a run has one budget, got {' and '.join(given)}; give one of them")
        if self.tokens is not None:
            share_before, places = 0.0, 0.0  # of an average step
            for phase in self.phases():
                places += (phase.until - share_before) * phase.batch_size * phase.max_seq_length
                share_before = phase.until
            _require(self.tokens >= 1, "tokens", "at least 1", self.tokens)
            return Budget(steps=math.ceil(self.tokens / places))
        if self.hours is not None:
            return Budget(hours=self.hours)
        return Budget(steps=1_000_000 if self.steps is None else self.steps)


def _require(holds, name, expected, value):
    if not holds:
        raise InputError(f"{name} must be {expected}, got {value!r}")


def check_length(max_seq_length, config, source):
    """Stops where sequences are longer than the positions of the model that `source` (a name or a path) describes."""
    limit = config.max_position_embeddings
    if config.position_embedding_type != "relative" and max_seq_length > limit:
        raise InputError(
            f"max_seq_length {max_seq_length} is beyond max_position_embeddings {limit} of {source}; choose a shorter "
            "length or more positions"
        )


def check_segments(config, source):
    """Stops where the model that `source` describes has no second segment for the second text of a pair."""
    if config.type_vocab_size < 2:
        raise InputError(
            f"next sentence prediction needs a type_vocab_size of at least 2, got {config.type_vocab_size} in "
            f"{source}; change it, or train with --no-nsp"
        )


# Those that decide the compiled step.
PLANNED = (
    "config dropout pad_vocab_size_multiple_of max_seq_length max_predictions nsp batch_size accumulation optimizer "
    "clip_norm precision"
).split()


def add_arguments(parser, names=None):
    """One option a field of `PretrainingSettings`, of all or those in `names`: `--batch-size`, `--nsp`/`--no-nsp`, …"""
    for field in dataclasses.fields(PretrainingSettings):
        if names is not None and field.name not in names:
            continue
        option = "--" + field.name.replace("_", "-")
        text = field.metadata["help"]
        if field.type is bool:
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=field.default, help=text)
        elif field.default is dataclasses.MISSING:
            parser.add_argument(option, required=True, help=text)
        else:
            optional = isinstance(field.type, types.UnionType)
            kind = typing.get_args(field.type)[0] if optional else field.type
            parser.add_argument(option, type=kind, default=field.default, help=text)


def add_device_arguments(parser):
    """The options of `bert_tf.devices.open_devices`: where a run is computed, which does not decide its result."""
    parser.add_argument(
        "--devices", type=_device_count, default=1, help="how many devices train together, or all; several need JAX"
    )
    parser.add_argument(
        "--model-parallel", type=int, default=1, help="how many of them share one copy of the large weights"
    )
    parser.add_argument(
        "--coordinator", help="for several hosts, on each: HOST:PORT of process 0, or auto on a cluster that knows it"
    )
    parser.add_argument("--num-processes", type=int, help="for several hosts: how many processes; not with auto")
    parser.add_argument(
        "--process-id", type=int, help="for several hosts: which of them this is, from 0; not with auto"
    )


def _device_count(text):
    if text != "all" and not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, or all, got {text!r}")
    return text if text == "all" else int(text)
