"""Budgets: progress by steps and by hours, and the settings that they come from."""

import pytest

from bert_tf.budget import Budget
from bert_tf.errors import InputError
from pretraining.settings import PretrainingSettings


def test_progress_by_steps_and_by_hours():
    steps, hours = Budget(steps=8), Budget(hours=0.5)
    assert [steps.progress(done, 1e9) for done in (0, 2, 8, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert [hours.progress(10**9, seconds) for seconds in (0, 450, 1800, 2000)] == [0.0, 0.25, 1.0, 1.0]
    assert steps.seconds_left(2, 1e9, 3.0) == 18.0
    assert hours.seconds_left(10**9, 300.0, 3.0) == 1500.0
    assert [str(Budget(steps=8000)), str(hours)] == ["8,000 steps", "0.5 hours"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "a budget is a number of steps or of hours, got None steps and None hours"),
        ({"steps": 3, "hours": 1.0}, "a budget is a number of steps or of hours, got 3 steps and 1.0 hours"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"hours": 0.0}, "hours must be above 0, got 0.0"),
        ({"hours": float("nan")}, "hours must be above 0, got nan"),
    ],
)
def test_what_is_no_budget(given, sentence):
    with pytest.raises(InputError) as caught:
        Budget(**given)
    assert str(caught.value) == sentence


def test_tokens_are_turned_into_steps():
    """1,000 places at 2 x 50 a step are 10 steps; 1,001 begin an eleventh.

    In two phases, a quarter of the steps at 1 x 200 and the rest at 2 x 50: 125 places in an average step.
    """
    one = {"data": "corpus", "batch_size": 2, "max_seq_length": 50}
    assert PretrainingSettings(**one, tokens=1000).budget() == Budget(steps=10)
    assert PretrainingSettings(**one, tokens=1001).budget() == Budget(steps=11)
    two = one | {"phase2_share": 0.25, "phase2_seq_length": 200, "phase2_batch_size": 1}
    assert PretrainingSettings(**two, tokens=1250).budget() == Budget(steps=10)
    assert [(phase.until, phase.batch_size, phase.max_seq_length) for phase in PretrainingSettings(**two).phases()] == [
        (0.75, 2, 50),
        (1.0, 1, 200),
    ]


def test_the_budget_of_the_paper_is_the_usual_one():
    assert PretrainingSettings(data="corpus").budget() == Budget(steps=1_000_000)
    assert PretrainingSettings(data="corpus", hours=2.0).budget() == Budget(hours=2.0)
