"""How long a run goes on: a number of steps or a number of hours, both as progress from 0 to 1.

Whatever ends with the run (the decay of the rate, a second phase) is a function of the progress alone. With a budget of
steps a run can be repeated to the bit; with one of hours it ends on time, and where it ends depends on the machine.
"""

import dataclasses

from bert_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Budget:
    """Exactly one of `steps` and `hours`.

    Attributes:
        steps: updates.
        hours: of training, evaluation and saving; the time between an interruption and its continuation is not counted.
    """

    steps: int | None = None
    hours: float | None = None

    def __post_init__(self):
        if (self.steps is None) == (self.hours is None):
            raise InputError(
                f"a budget is a number of steps or of hours, got {self.steps} steps and {self.hours} hours"
            )
        if self.steps is not None and self.steps < 1:
            raise InputError(f"steps must be at least 1, got {self.steps}")
        if self.hours is not None and not 0 < self.hours < float("inf"):
            raise InputError(f"hours must be above 0, got {self.hours}")

    def progress(self, done, seconds):
        """The share of the budget used after `done` updates and `seconds`: from 0.0 to 1.0."""
        return min(1.0, done / self.steps if self.steps else seconds / (3600 * self.hours))

    def seconds_left(self, done, seconds, seconds_a_step):
        """How long it still takes at this pace."""
        return (self.steps - done) * seconds_a_step if self.steps else 3600 * self.hours - seconds

    def __str__(self):
        return f"{self.steps:,} steps" if self.steps else f"{self.hours:g} hours"
