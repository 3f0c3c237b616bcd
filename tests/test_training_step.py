"""One training step (`bert_tf.training`) with the pretraining objective; runs on the backend that Keras runs on."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from bert_tf.errors import InputError
from bert_tf.figures import RunningFigures
from bert_tf.optimization import BertAdamW
from bert_tf.training import make_deterministic, make_step
from pretraining import BertForMaskedLM, BertForPreTraining
from pretraining.objective import PretrainingObjective, cross_entropies
from tests.small_bert import small_config

ROWS, LENGTH, SLOTS = 8, 13, 5


def pretraining_batch(config, seed=0):
    """Random rows of which each has another number of masked words, so that a wrong normaliser shows."""
    rng = np.random.default_rng(seed)
    real = rng.integers(6, LENGTH + 1, ROWS)
    return {
        "input_ids": rng.integers(0, config.vocab_size, (ROWS, LENGTH), dtype="int32"),
        "attention_mask": (np.arange(LENGTH) < real[:, None]).astype("int32"),
        "token_type_ids": rng.integers(0, 2, (ROWS, LENGTH), dtype="int32"),
        "masked_lm_positions": np.sort(
            rng.permuted(np.tile(np.arange(6, dtype="int32"), (ROWS, 1)), axis=1)[:, :SLOTS], axis=1
        ),
        "masked_lm_ids": rng.integers(0, config.vocab_size, (ROWS, SLOTS), dtype="int32"),
        "masked_lm_weights": (np.arange(SLOTS) < np.array([1, 5, 2, 4, 3, 1, 5, 2])[:, None]).astype("float32"),
        "next_sentence_labels": rng.integers(0, 2, ROWS, dtype="int32"),
        "next_sentence_weights": np.array([1, 1, 0, 1, 1, 1, 0, 1], "float32"),
    }


def trained(
    steps, rate=3e-3, *, accumulation=1, optimizer=None, dropout=0.0, model_class=BertForPreTraining, **settings
):
    """(values of the variables before, after, the figures of each step, the norms) of a few steps on one batch."""
    make_deterministic(4)
    config = small_config(
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, initializer_range=0.2, num_hidden_layers=2
    )
    model = model_class(config, **settings)
    before = [np.array(ops.convert_to_numpy(v.value)) for v in model.trainable_variables]
    objective = PretrainingObjective(nsp := model_class is BertForPreTraining)
    step = make_step(model, objective, optimizer or BertAdamW(0.0), accumulation=accumulation)
    batch = pretraining_batch(config)
    if not nsp:
        del batch["next_sentence_labels"]
    history, norms = [], []
    for _ in range(steps):
        figures = {name: float(total) / float(weight) for name, (total, weight) in step.train(batch, rate).items()}
        assert figures.pop("skipped") == 0
        norms.append(figures.pop("gradient_norm"))
        history.append(figures)
    step.sync()
    after = {v.path: np.array(ops.convert_to_numpy(v.value)) for v in model.trainable_variables}
    return before, after, history, norms


def test_one_step_changes_every_variable():
    before, after, _, _ = trained(1)
    for earlier, (path, later) in zip(before, after.items(), strict=True):
        assert not np.array_equal(earlier, later), path


def test_one_repeated_batch_is_learnt():
    _, _, history, _ = trained(60)
    assert history[0]["mlm_loss"] > 0.9 * math.log(61)  # before the first update the model knows nothing
    assert history[-1]["mlm_loss"] < 0.2
    assert history[-1]["nsp_loss"] < 0.05
    assert history[-1]["mlm_accuracy"] == 1
    assert history[-1]["nsp_accuracy"] == 1


def test_rows_that_pad_the_vocabulary_change_no_step_and_stay_zero():
    """61 words in 64 rows: same first values, losses and gradient norms; decay and momentum leave zeros zeros."""
    _, plain, history, norms = trained(3, dropout=0.1)
    before, padded, padded_history, padded_norms = trained(3, dropout=0.1, pad_vocab_size_multiple_of=16)
    for path in ("bert/embeddings/word_embeddings/embeddings", "masked_lm/output_bias"):
        (path,) = [whole for whole in plain if whole.endswith(path)]
        assert (len(plain[path]), len(padded[path])) == (61, 64)
        assert not padded[path][61:].any()
        padded[path] = padded[path][:61]
    assert before[0].shape == (64, 24)
    for path, value in plain.items():
        # The key's bias changes no softmax: its gradient is rounding, of which Adam makes steps as large as any.
        rounding = np.arange(24, 48) if path.endswith("qkv/bias") else []
        later = np.delete(padded[path], rounding, axis=0)
        np.testing.assert_allclose(later, np.delete(value, rounding, axis=0), atol=1e-6, err_msg=path)
    assert padded_norms == pytest.approx(norms, rel=1e-6)
    for expected, figures in zip(history, padded_history, strict=True):
        assert figures == pytest.approx(expected, rel=1e-6)


def test_without_nsp_only_the_mlm_loss_counts():
    _, _, history, _ = trained(30, model_class=BertForMaskedLM)
    assert set(history[0]) == {"mlm_loss", "mlm_accuracy"}
    assert history[-1]["mlm_loss"] < 0.5 * history[0]["mlm_loss"]


@pytest.mark.parametrize("parts", [2, 8])
def test_micro_batches_equal_one_batch(parts):
    """Rows with 1 to 5 masked words: the mean of micro-batch means would differ by far more than rounding.

    With plain gradient descent, so that an update is the clipped gradient; Adam would turn the rounding of a gradient
    that is 0 in exact arithmetic (that of the key bias) into a step of full size.
    """
    before, whole, figures, norms = trained(1, 0.5, optimizer=keras.optimizers.SGD(0.0))
    _, split, split_figures, split_norms = trained(1, 0.5, optimizer=keras.optimizers.SGD(0.0), accumulation=parts)
    for earlier, (path, value) in zip(before, whole.items(), strict=True):
        scale = max(np.linalg.norm(value), np.linalg.norm(value - earlier))
        assert np.linalg.norm(split[path] - value) < 1e-6 * scale, path
    assert figures[0] == pytest.approx(split_figures[0], rel=1e-6)
    assert norms == pytest.approx(split_norms, rel=1e-6)


def test_dropout_makes_two_steps_differ_and_a_seed_repeats_them():
    _, first, history, _ = trained(2, dropout=0.4)
    _, again, _, _ = trained(2, dropout=0.4)
    _, _, plain, _ = trained(2)
    assert all(np.array_equal(first[path], again[path]) for path in first)
    assert history[0] != plain[0]


def test_evaluation_uses_no_dropout_and_changes_nothing():
    make_deterministic(5)
    config = small_config(hidden_dropout_prob=0.5)
    model = BertForPreTraining(config)
    step = make_step(model, PretrainingObjective())
    batch = pretraining_batch(config)
    before = [np.array(ops.convert_to_numpy(v.value)) for v in model.variables]
    figures = [{k: float(s) for k, (s, _) in step.evaluate(batch).items()} for _ in range(2)]
    step.sync()
    assert figures[0] == figures[1]
    assert all(np.array_equal(a, ops.convert_to_numpy(v.value)) for a, v in zip(before, model.variables, strict=True))


def test_figures_by_hand():
    """Two rows of two slots, three words: -ln softmax at the label, weights 1 1 / 1 0, hits 1 0 / 1."""
    logits = np.log(
        np.array([[[0.5, 0.25, 0.25], [0.8, 0.1, 0.1]], [[0.2, 0.2, 0.6], [1 / 3, 1 / 3, 1 / 3]]], "float32")
    )
    batch = {
        "masked_lm_ids": np.array([[0, 2], [2, 1]]),
        "masked_lm_weights": np.array([[1.0, 1.0], [1.0, 0.0]], "float32"),
        "next_sentence_labels": np.array([1, 0]),
        "next_sentence_weights": np.array([1.0, 1.0], "float32"),
    }
    outputs = {"prediction_logits": logits, "seq_relationship_logits": np.array([[0.0, 0.0], [0.0, -1.0]], "float32")}
    figures = {k: (float(s), float(w)) for k, (s, w) in PretrainingObjective().figures(outputs, batch).items()}
    assert figures["mlm_loss"] == pytest.approx((math.log(2) + math.log(10) - math.log(0.6), 3.0), rel=1e-6)
    assert figures["mlm_accuracy"] == (2.0, 3.0)
    # Row 0: equal logits, ln 2, and argmax takes class 0, not 1. Row 1: ln(1 + e^-1), a hit.
    assert figures["nsp_loss"] == pytest.approx((math.log(2) + math.log(1 + math.exp(-1)), 2.0), rel=1e-6)
    assert figures["nsp_accuracy"] == (1.0, 2.0)


@pytest.mark.parametrize("classes", [2, 61])
def test_uniform_logits_cost_log_of_the_classes(classes):
    """Also from bfloat16 logits, since the softmax is float32: in bfloat16, ln 61 would be 4.125 instead of 4.1109."""
    logits = ops.cast(np.full((3, classes), 7.0), "bfloat16")
    np.testing.assert_allclose(cross_entropies(logits, np.arange(3) % classes), [math.log(classes)] * 3, rtol=1e-6)


def test_running_figures_add_up_exactly_and_continue():
    running = RunningFigures()
    for total, weight in ((1.5, 2.0), (0.1, 3.0)):
        running.add({"loss": (total, weight)})
    continued = RunningFigures(running.totals())
    for one in (running, continued):
        one.add({"loss": (0.4, 5.0), "other": (0.0, 0.0)})
    assert running.values() == continued.values() == {"loss": (1.5 + 0.1 + 0.4) / 10.0, "other": 0.0}


def test_training_asks_for_a_backend_that_it_has(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(InputError, match="tensorflow and jax, got torch; set KERAS_BACKEND to one of them"):
        make_step(None, None)
