"""What a client may ask of a server, and how it answers many: the options of `bert-tf serve`."""

import dataclasses

from bert_tf.errors import InputError


def _limit(default, about):
    return dataclasses.field(default=default, metadata={"help": about})


@dataclasses.dataclass(frozen=True)
class Limits:
    """The limits of a server; each field says in its metadata what it is.

    Raises:
        InputError: a number below 1 (max_wait_ms: below 0).
    """

    max_batch: int = _limit(32, "texts of one call of the model")
    max_wait_ms: float = _limit(2.0, "milliseconds that a text waits for others")
    max_queue: int = _limit(256, "texts that may wait; more get the status 503")
    max_body_bytes: int = _limit(2**20, "bytes of a request; more get 413")
    max_text_bytes: int = _limit(100_000, "bytes of a text; more get 413")
    body_seconds: float = _limit(10.0, "seconds in which a request must come; later it gets 408")

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            least = 0 if name == "max_wait_ms" else 1
            if value < least:
                raise InputError(f"{name} must be at least {least}, got {value}")
