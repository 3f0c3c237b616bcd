"""Length buckets and the order of batches."""

import itertools

import numpy as np
import pytest

from downstream.batches import TrainingBatches, choose_lengths, make_batch, reading_plan, training_plan
from downstream.features import Features

LENGTHS = np.random.default_rng(5).integers(3, 40, 203)


def features(lengths):
    """Example i has tokens 100 i, 100 i + 1, …, the second half of them in segment 1, and the label i."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.concatenate([100 * index + np.arange(length) for index, length in enumerate(lengths)])
    types = np.concatenate([np.arange(length) >= length // 2 for length in lengths])
    return Features(
        offsets,
        {"input_ids": ids.astype(np.int32), "token_type_ids": types.astype(np.int32)},
        {"labels": np.arange(len(lengths), dtype=np.int32)},
        {"input_ids": 9},
    )


def computed(lengths, padded):
    return sum(min(p for p in padded if p >= length) for length in lengths)


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_chosen_lengths_are_the_best_of_their_number(most):
    # Every other set of as many lengths computes at least as many tokens.
    lengths = np.random.default_rng(most).integers(3, 14, 40)
    chosen = choose_lengths(lengths, real_share=1.0, most=most)
    others = itertools.combinations(range(3, lengths.max()), most - 1)
    best = min(computed(lengths, [*other, lengths.max()]) for other in others)
    assert len(chosen) == most
    assert chosen[-1] == lengths.max()
    assert computed(lengths, chosen) == best


def test_the_fewest_lengths_that_reach_the_share():
    # 30 x 4 + 10 x 10 = 220 real tokens; padded to 10 alone 400 (55 %), to 4 and 10 exactly 220.
    lengths = [4] * 30 + [10] * 10
    assert choose_lengths(lengths, real_share=0.54).tolist() == [10]
    assert choose_lengths(lengths, real_share=0.56).tolist() == [4, 10]
    assert choose_lengths([7, 7]).tolist() == [7]


def test_each_example_once_an_epoch_and_at_most_one_batch_not_full():
    plan = training_plan(LENGTHS, np.array([10, 20, 39]), 16, seed=0, epoch=0)
    assert sorted(np.concatenate(plan)) == list(range(203))
    sizes = [len(chosen) for chosen in plan]
    assert len(plan) == 13  # ceil(203 / 16)
    assert sorted(sizes) == [203 - 12 * 16] + [16] * 12


def test_batches_are_of_like_length():
    # Only what is left over from the two shorter buckets, at most 15 examples each, sits among longer ones.
    plan = training_plan(LENGTHS, np.array([10, 20, 39]), 16, seed=0, epoch=0)
    buckets = [np.searchsorted([10, 20, 39], LENGTHS[chosen]) for chosen in plan]
    assert 0 < sum((bucket < bucket.max()).sum() for bucket in buckets) <= 30


def test_the_order_is_a_pure_function_of_seed_and_epoch():
    def plan(seed, epoch):
        return [chosen.tolist() for chosen in training_plan(LENGTHS, np.array([10, 20, 39]), 16, seed, epoch)]

    np.random.seed(1)  # noqa: NPY002 - the global state must not matter
    first = plan(3, 1)
    np.random.seed(2)  # noqa: NPY002
    assert plan(3, 1) == first
    assert plan(3, 2) != first
    assert plan(4, 1) != first
    assert sorted(map(sorted, plan(3, 2))) != sorted(map(sorted, first))  # other neighbours too, not only another order


def test_iteration_continues_anywhere():
    def take(done, count):
        batches = TrainingBatches(features(LENGTHS), np.array([10, 20, 39]), 16, seed=7)
        steps = list(itertools.islice(batches.iterate(done), count))
        assert [step for step, _ in steps] == list(range(done + 1, done + count + 1))
        return [batch["labels"].tolist() for _, batch in steps]

    whole = take(0, 30)  # an epoch has 13 batches
    for done in (1, 12, 13, 14, 26):
        assert take(done, 30 - done) == whole[done:]


def test_one_length_gives_a_plain_shuffle():
    batches = TrainingBatches(features(LENGTHS), np.array([39]), 16, seed=0)
    assert {batch["input_ids"].shape for _, batch in itertools.islice(batches.iterate(0), 13)} == {(16, 39)}
    longest = [LENGTHS[chosen].max() for chosen in batches.plan(0)]
    assert min(longest) > 30  # no sorting: 16 lengths drawn from 3 to 39 hardly ever all lie below 30


def test_real_share():
    # Two batches of two, padded to 4 and to 10: (3 + 4 + 10 + 8) of 2 x 4 + 2 x 10 tokens.
    assert TrainingBatches(features([3, 10, 4, 8]), np.array([4, 10]), 2, seed=0).real_share() == 25 / 28


def test_reading_plan_sorts_by_length():
    assert [chosen.tolist() for chosen in reading_plan(np.array([5, 3, 9, 3, 4]), 2)] == [[1, 3], [4, 0], [2]]


def test_a_batch_by_hand():
    # Examples 1 (2 tokens) and 0 (3 tokens) in a batch of three rows, padded to 4 with id 9.
    batch = make_batch(features([3, 2, 7]), np.array([1, 0]), np.array([4, 7]), 3)
    assert batch["input_ids"].tolist() == [[100, 101, 9, 9], [0, 1, 2, 9], [100, 101, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]]
    assert batch["labels"].tolist() == [1, 0, 1]
    assert batch["example_weights"].tolist() == [1, 1, 0]
    assert {name: value.dtype.name for name, value in batch.items()} == {
        "input_ids": "int32",
        "attention_mask": "int32",
        "token_type_ids": "int32",
        "labels": "int32",
        "example_weights": "float32",
    }
