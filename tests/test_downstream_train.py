"""The loop of fine-tuning: where it ends early, what it compiles, and how much of it is padding."""

import numpy as np
import pytest
from keras import ops

import bert_tf.training_loop
from bert_tf.run_directory import RunDirectory
from bert_tf.training import make_deterministic, make_step
from downstream import BertForSequenceClassification
from downstream.features import Features
from downstream.objective import SequenceObjective
from downstream.train import FineTuning, Recipe
from tests.downstream_toys import toy_config

SINGLE = "single_label_classification"


def features(lengths, seed=0):
    """Random tokens with random labels."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(5, 30, offsets[-1], dtype="int32")
    per_token = {"input_ids": ids, "token_type_ids": np.zeros_like(ids)}
    return Features(offsets, per_token, {"labels": rng.integers(0, 2, len(lengths), dtype="int32")}, {})


class Scores:
    """A validation that gives the scores one after the other, whatever the model does; and counts the models saved."""

    def __init__(self, *accuracies):
        self.left = list(accuracies)
        self.saved = 0

    def validate(self):
        return {"accuracy": self.left.pop(0), "loss": 1.0}

    def save_model(self):
        self.saved += 1


def tune(folder, scores, **recipe):
    """(the tuning of 8 epochs of 2 steps, what its run returned)."""
    make_deterministic(1)
    model = BertForSequenceClassification(toy_config())
    recipe = Recipe(epochs=8, batch_size=4, max_shapes=1, **recipe)
    tuning = FineTuning(model, SequenceObjective(SINGLE), features([9] * 8), recipe, longest=9)
    return tuning, tuning.run(RunDirectory(folder, {}), scores.validate, "accuracy", scores.save_model)


def test_a_run_ends_after_its_patience(tmp_path):
    # The best after epoch 2, that is step 4; 0.6 again is no better; two epochs later, at step 8, it ends.
    scores = Scores(0.5, 0.6, 0.55, 0.6, 0.9)
    tuning, best = tune(tmp_path, scores, patience=2)
    assert best == {"best_step": 4, "best_metrics": {"accuracy": 0.6, "loss": 1.0}}
    assert tuning.steps_made == 8 < tuning.steps == 16
    assert (scores.left, scores.saved) == ([0.9], 2)
    # Again: it has ended, and stays so, without a step or a validation.
    again = Scores()
    tuning, best_again = tune(tmp_path, again, patience=2)
    assert (best_again, tuning.steps_made, again.saved) == (best, 8, 0)


def test_patience_begins_anew_with_each_better_epoch(tmp_path):
    tuning, best = tune(tmp_path, Scores(0.5, 0.4, 0.6, 0.5, 0.7, 0.6, 0.8, 0.7), patience=2)
    assert (best["best_step"], tuning.steps_made) == (14, 16)


def test_without_patience_it_never_ends_early(tmp_path):
    tuning, _ = tune(tmp_path, Scores(0.9, *[0.1] * 7))
    assert tuning.steps_made == 16


def test_a_kill_before_the_last_checkpoint_ends_at_the_same_step(tmp_path, monkeypatch):
    # Killed when the run has decided to end but its checkpoint is not written: the epoch is made again, with the same
    # decision. The checkpoint before it is that of step 6.
    def kill(folder, step, variables, progress):
        if progress["ended_early"]:
            raise KeyboardInterrupt
        save(folder, step, variables, progress)

    save = bert_tf.training_loop.save_training_checkpoint
    with monkeypatch.context() as patched:
        patched.setattr(bert_tf.training_loop, "save_training_checkpoint", kill)
        with pytest.raises(KeyboardInterrupt):
            tune(tmp_path, Scores(0.5, 0.6, 0.55, 0.4), patience=2, save_every=3)
    tuning, best = tune(tmp_path, Scores(0.4), patience=2, save_every=3)
    assert (tuning.steps_made, best["best_step"]) == (8, 4)


# ---------------------------------------------------------------------------------------------------------- shapes


def test_each_shape_is_compiled_once_and_nothing_warns(caplog):
    # Eight lengths, each three times in turn: TensorFlow would warn of retracing from the sixth on.
    make_deterministic(1)
    traced = []

    class Counting(SequenceObjective):
        def figures(self, outputs, batch):
            traced.append(tuple(batch["input_ids"].shape))
            return super().figures(outputs, batch)

    step = make_step(BertForSequenceClassification(toy_config()), Counting(SINGLE))
    for _ in range(3):
        for length in range(3, 11):
            batch = {
                "input_ids": np.full((2, length), 7, "int32"),
                "attention_mask": np.ones((2, length), "int32"),
                "token_type_ids": np.zeros((2, length), "int32"),
                "labels": np.array([0, 1], "int32"),
                "example_weights": np.ones(2, "float32"),
            }
            figures = step.evaluate(batch)
    assert float(ops.convert_to_numpy(figures["loss"][1])) == 2.0
    assert traced == [(2, length) for length in range(3, 11)]
    assert not [record for record in caplog.records if "retracing" in record.getMessage()]


def test_nine_tenths_of_what_is_computed_are_real_tokens():
    # Lengths as SST-2 has them, a gamma distribution of mean 13: padded to the longest, 1 in 4 tokens would be real.
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.gamma(1.9, 6, 4000).astype(int) + 3, 3, 40)
    assert lengths.mean() / lengths.max() < 0.4
    model = BertForSequenceClassification(toy_config())
    recipe = Recipe(epochs=5)
    tuning = FineTuning(model, SequenceObjective(SINGLE), features(lengths), recipe, longest=40)
    assert tuning.batches.real_share() >= 0.9
    assert len(tuning.padded_lengths) <= 12
