"""Learning rates by hand, and their end at exactly 0."""

import math

import numpy as np
import pytest

from bert_tf import InputError
from bert_tf.schedules import SHAPES, Schedule


def rates_of(schedule, steps):
    """The rates of a run of so many steps, and the one after its end."""
    return [schedule(step / steps) for step in range(steps + 1)]


def test_linear_by_hand():
    """Peak 8, warm-up 4 of 12: 0 2 4 6, then 8 down by 1 a step to 0 at the end."""
    assert rates_of(Schedule(8.0, 4 / 12), 12) == pytest.approx([0, 2, 4, 6, 8, 7, 6, 5, 4, 3, 2, 1, 0])


def test_linear_without_warm_up():
    assert rates_of(Schedule(8.0), 4) == [8, 6, 4, 2, 0]


def test_linear_of_bert():
    """1e-4, 10,000 of 1,000,000 steps (section A.2): half the peak at 5,000 and in the middle of the decay."""
    schedule = Schedule(1e-4, 0.01)
    assert [schedule(step / 1e6) for step in (0, 5000, 10**4, 505_000, 10**6)] == pytest.approx(
        [0, 5e-5, 1e-4, 5e-5, 0]
    )


def test_cosine_by_hand():
    """Peak 8, warm-up 4 of 10; then 4 (1 + cos(k 30°)): at 30° it is 4 + 2√3, at 60° 6, at 90° 4, at 120° 2."""
    root = 2 * math.sqrt(3)
    expected = [0, 2, 4, 6, 8, 4 + root, 6, 4, 2, 4 - root, 0]
    assert rates_of(Schedule(8.0, 0.4, "cosine"), 10) == pytest.approx(expected)


def test_warmup_stable_decay_by_hand():
    """Peak 8, warm-up 2 of 10, decay over 40 % of 10 = 4 steps: 8 up to step 6, then 6 4 2 0."""
    assert rates_of(Schedule(8.0, 0.2, "wsd", 0.4), 10) == pytest.approx([0, 4, 8, 8, 8, 8, 8, 6, 4, 2, 0])
    # Without being asked the decay takes the last fifth.
    assert rates_of(Schedule(8.0, 0.2, "wsd"), 10)[7:] == pytest.approx([8, 8, 4, 0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("warmup_share", [0.0, 1 / 3000, 0.01, 0.4])
def test_every_shape_rises_holds_falls_and_ends_at_0(shape, warmup_share):
    """The 0 is exact; the peak is reached where the warm-up ends and never passed."""
    schedule = Schedule(3e-4, warmup_share, shape)
    places = np.linspace(0, 1, 201)
    rates = np.array([schedule(place) for place in places])
    assert schedule(1.0) == 0
    assert schedule(warmup_share) == pytest.approx(3e-4, rel=1e-12)
    assert rates.max() <= 3e-4 * (1 + 1e-12)
    assert rates[0] == (0 if warmup_share else pytest.approx(3e-4))
    assert (np.diff(rates[places >= warmup_share]) <= 1e-12).all()
    assert (np.diff(rates[places <= warmup_share]) > 0).all()
    assert (rates[1:-1] > 0).all()


def test_settings_that_cannot_be():
    with pytest.raises(InputError, match="the schedule must be one of linear, cosine, wsd, got 'step'"):
        Schedule(1.0, shape="step")
    for share in (1.0, -0.1):
        with pytest.raises(InputError, match=rf"warmup_share must be in \[0, 1\), got {share}"):
            Schedule(1.0, share)
    for share in (0, 1.5):
        with pytest.raises(InputError, match=f"decay_share must be above 0 and at most 1, got {share}"):
            Schedule(1.0, 0.0, "wsd", share)
    message = "a warm-up over 60% and a decay over 50% of the budget do not fit into it; shorten one of them"
    with pytest.raises(InputError, match=message):
        Schedule(1.0, 0.6, "wsd", 0.5)
    Schedule(1.0, 0.5, "wsd", 0.5)
