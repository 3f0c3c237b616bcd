"""The settings of a pretraining run: everything that decides its result, each with what `--help` says of it.

Defaults are those of BERT-base (Devlin et al. 2018, appendix A.2).
"""

import argparse
import dataclasses

from bert_tf.errors import InputError

PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # -> the Keras dtype policy


def _setting(default, description):
    return dataclasses.field(default=default, metadata={"help": description})


@dataclasses.dataclass(frozen=True)
class PretrainingSettings:
    """See the help of each field.

    Raises:
        InputError: a value out of its range.
    """

    data: str = _setting(dataclasses.MISSING, "the prepared corpus (bert-pretrain prepare makes it)")
    config: str = _setting("bert-base-uncased", "a named size or a config.json; the vocabulary's size is the corpus'")
    dropout: float | None = _setting(
        None, "both dropout probabilities of the pretraining; the model directory keeps the configuration's"
    )
    initializer_range: float | None = _setting(
        None, "standard deviation of the initial weights; narrow models learn sooner with about 1/sqrt(hidden_size)"
    )
    max_seq_length: int = _setting(128, "tokens in a sequence, with [CLS] and [SEP]")
    max_predictions: int = _setting(20, "masked tokens in a sequence, at most")
    masked_lm_prob: float = _setting(0.15, "share of the tokens to predict")
    whole_word_masking: bool = _setting(False, "mask all pieces of a word together")
    nsp: bool = _setting(True, "next sentence prediction; --no-nsp packs full sentences instead of pairs")
    short_seq_prob: float = _setting(0.1, "share of pairs that aim at a shorter length")
    batch_size: int = _setting(256, "sequences in an update")
    accumulation: int = _setting(1, "parts that an update is computed in, to save memory")
    steps: int = _setting(1_000_000, "updates")
    warmup_steps: int = _setting(10_000, "updates in which the rate rises from 0")
    learning_rate: float = _setting(1e-4, "the highest rate; it falls to 0 at the last step")
    weight_decay: float = _setting(0.01, "decoupled decay of kernels and embeddings")
    precision: str = _setting("float32", "what the model computes in: float32 or bfloat16 (weights stay float32)")
    seed: int = _setting(0, "decides the initial weights, the order, the masks and the dropout")
    log_every: int = _setting(100, "steps between lines of metrics.jsonl")
    evaluate_every: int = _setting(1000, "steps between evaluations on held-out documents")
    evaluation_batches: int = _setting(100, "held-out batches of an evaluation, at most")
    save_every: int = _setting(1000, "steps between checkpoints")

    def __post_init__(self):
        counts = "batch_size accumulation steps max_predictions log_every evaluate_every evaluation_batches save_every"
        for name in counts.split():
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch_size % self.accumulation:
            raise InputError(
                f"batch_size must be a multiple of accumulation, got {self.batch_size} and {self.accumulation}"
            )
        if not 0 <= self.warmup_steps < self.steps:
            raise InputError(f"warmup_steps must be below the {self.steps} steps, got {self.warmup_steps}")
        if self.learning_rate <= 0:
            raise InputError(f"learning_rate must be above 0, got {self.learning_rate}")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")


def add_arguments(parser):
    """One option a field of `PretrainingSettings`: `--batch-size`, `--nsp` and `--no-nsp`, …"""
    for field in dataclasses.fields(PretrainingSettings):
        option = "--" + field.name.replace("_", "-")
        text = field.metadata["help"]
        if field.type is bool:
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=field.default, help=text)
        elif field.default is dataclasses.MISSING:
            parser.add_argument(option, required=True, help=text)
        else:
            kind = {float | None: float}.get(field.type, field.type)
            parser.add_argument(option, type=kind, default=field.default, help=text)
