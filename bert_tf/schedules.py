"""The learning rate over a run: up from 0, and down to exactly 0 at the end of the budget.

Sources: linear, Devlin et al. 2018, appendix A.2; cosine, Loshchilov & Hutter, arXiv 1608.03983, without restarts and
to 0; warmup-stable-decay (wsd), MiniCPM, arXiv 2404.06395, section 4, with a decay that is linear to 0 (Hägele et al.,
arXiv 2405.18392).
"""

import dataclasses
import math

from bert_tf.errors import InputError

SHAPES = ("linear", "cosine", "wsd")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The rate as a function of the progress p of a run, from 0 to 1, whatever its budget is counted in.

    With a warm-up w (`warmup_share`) and, for wsd, a decay d (`decay_share`):

    rate(p) = peak · p / w                               for p < w; from there on
        linear   peak · (1 - p) / (1 - w)
        cosine   peak · (1 + cos(π (p - w) / (1 - w))) / 2
        wsd      peak, and peak · (1 - p) / d from 1 - d on

    google-research/bert lets the linear decay run from step 0, so that its rate drops by w when the warm-up ends; like
    Hugging Face's `get_linear_schedule_with_warmup`, this one has no such step.

    Raises:
        InputError: an unknown shape, or a warm-up that leaves the decay no room.
    """

    peak: float
    warmup_share: float = 0.0
    shape: str = "linear"
    decay_share: float = 0.2

    def __post_init__(self):
        if self.shape not in SHAPES:
            raise InputError(f"the schedule must be one of {', '.join(SHAPES)}, got {self.shape!r}")
        if not 0 <= self.warmup_share < 1:
            raise InputError(f"warmup_share must be in [0, 1), got {self.warmup_share}")
        if not 0 < self.decay_share <= 1:
            raise InputError(f"decay_share must be above 0 and at most 1, got {self.decay_share}")
        if self.shape == "wsd" and self.warmup_share > 1 - self.decay_share:
            raise InputError(
                f"a warm-up over {self.warmup_share:.0%} and a decay over {self.decay_share:.0%} of the budget do not "
                "fit into it; shorten one of them"
            )

    def __call__(self, progress):
        """The rate of the update that begins at `progress`."""
        if progress < self.warmup_share:
            return self.peak * progress / self.warmup_share
        left = 1.0 - progress
        if self.shape == "linear":
            return self.peak * left / (1.0 - self.warmup_share)
        if self.shape == "cosine":
            return self.peak * math.sin(math.pi / 2 * left / (1.0 - self.warmup_share)) ** 2  # (1 + cos x) / 2
        return self.peak * min(left / self.decay_share, 1.0)
