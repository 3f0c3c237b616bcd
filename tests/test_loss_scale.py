"""Updates that are not finite: the loss scale, the update that is not made, the tensor that is named."""

import numpy as np
import pytest
from keras import ops

from bert_tf.loss_scale import GROWTH_INTERVAL, LARGEST_SCALE, LossScale
from bert_tf.non_finite import first_non_finite
from bert_tf.optimization import BertAdamW
from bert_tf.training import make_deterministic, make_step
from pretraining import BertForPreTraining
from pretraining.objective import PretrainingObjective
from tests.small_bert import small_config
from tests.test_training_step import pretraining_batch


@pytest.fixture
def training():
    """(model, optimizer, step, loss scale, batch) in mixed float16."""
    make_deterministic(4)
    config = small_config(num_hidden_layers=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = BertForPreTraining(config, dtype="mixed_float16")
    optimizer, scale = BertAdamW(0.0), LossScale()
    step = make_step(model, PretrainingObjective(), optimizer, loss_scale=scale)
    return model, optimizer, step, scale, pretraining_batch(config)


def values(variables):
    return [np.array(ops.convert_to_numpy(variable.value)) for variable in variables]


def read(figures):
    return {name: (float(total), float(weight)) for name, (total, weight) in figures.items()}


@pytest.mark.parametrize(
    ("before", "finite", "after"),
    [
        ((1024.0, 7.0), True, (1024.0, 8.0)),
        ((1024.0, 7.0), False, (512.0, 0.0)),
        ((1024.0, GROWTH_INTERVAL - 1.0), True, (2048.0, 0.0)),
        ((LARGEST_SCALE, GROWTH_INTERVAL - 1.0), True, (LARGEST_SCALE, 0.0)),
        ((1.0, 0.0), False, (1.0, 0.0)),
    ],
)
def test_the_scale_that_follows(before, finite, after):
    assert tuple(map(float, LossScale.following(*before, ops.convert_to_tensor(finite)))) == after


def test_float16_gives_the_gradient_of_float32(training):
    """Without a scale, the gradients of this model below 6e-8 would be 0; with it they are those of float32."""
    model, _, step, _, batch = training
    figures = read(step.train(batch, 0.0))
    exact = BertForPreTraining(model.config, dtype="float32")
    for variable, other in zip(exact.variables, model.variables, strict=True):
        variable.assign(other.value)
    expected = read(make_step(exact, PretrainingObjective(), BertAdamW(0.0)).train(batch, 0.0))
    assert figures["gradient_norm"][0] == pytest.approx(expected["gradient_norm"][0], rel=1e-2)
    assert figures["mlm_loss"][0] == pytest.approx(expected["mlm_loss"][0], rel=1e-3)


def test_an_overflow_costs_one_update_and_halves_the_scale(training):
    """A scale of 2^120 makes every gradient infinite in float16; nothing but the scale may change."""
    model, optimizer, step, scale, batch = training
    step.train(batch, 1e-3)
    step.sync()
    scale.scale.assign(2.0**120)
    step = make_step(model, PretrainingObjective(), optimizer, loss_scale=scale)  # on JAX it reads the variables once
    before = values([*model.trainable_variables, *optimizer.variables])
    figures = read(step.train(batch, 1e-3))
    step.sync()
    assert figures["skipped"] == (1.0, 1.0)
    assert figures["mlm_loss"] == figures["gradient_norm"] == (0.0, 0.0)
    assert [float(ops.convert_to_numpy(one.value)) for one in scale.variables] == [2.0**119, 0.0]
    for old, new, variable in zip(
        before, values([*model.trainable_variables, *optimizer.variables]),
        [*model.trainable_variables, *optimizer.variables], strict=True
    ):  # fmt: skip
        if variable is not optimizer.learning_rate:
            np.testing.assert_array_equal(new, old, err_msg=variable.path)


def test_the_first_tensor_that_is_not_finite_is_named():
    """Poisoned at one place after the other, from the last that is computed to the first."""
    make_deterministic(4)
    model = BertForPreTraining(small_config(num_hidden_layers=2))
    step, batch = make_step(model, PretrainingObjective(), BertAdamW(0.0)), pretraining_batch(model.config)
    assert first_non_finite(model, step, batch) is None

    poisoned = batch | {"masked_lm_weights": np.full_like(batch["masked_lm_weights"], np.inf)}
    assert first_non_finite(model, step, poisoned) == "the figure mlm_loss"
    block = model.bert.blocks[0]
    for variable, value, name in (
        (model.masked_lm.output_bias, 3e38, "the output prediction_logits"),
        (block.feed_forward_layer_norm.gamma, 3e38, "the hidden state 1"),
        (block.attention.qkv.kernel, np.nan, f"the variable {block.attention.qkv.kernel.path}"),
    ):
        variable.assign(np.full(variable.shape, value))
        if name.startswith("the output"):  # a finite bias of 3e38 overflows only with a weight as large
            model.masked_lm.layer_norm.beta.assign(np.full(model.masked_lm.layer_norm.beta.shape, 3e38))
        step = make_step(model, PretrainingObjective(), BertAdamW(0.0))
        assert first_non_finite(model, step, batch) == name


def test_a_finite_step_after_a_skipped_one_counts(training):
    """The weight of a skipped update is 0, so that a line of the log is the mean of the updates that were made."""
    model, _, step, _, batch = training
    bad = batch | {"masked_lm_weights": np.full_like(batch["masked_lm_weights"], np.inf)}
    before = values(model.trainable_variables)
    assert read(step.train(bad, 1e-3))["skipped"] == (1.0, 1.0)
    figures = read(step.train(batch, 1e-3))
    step.sync()
    assert figures["skipped"] == (0.0, 1.0)
    assert figures["mlm_loss"][1] == batch["masked_lm_weights"].sum()
    assert not all(np.array_equal(a, b) for a, b in zip(before, values(model.trainable_variables), strict=True))
