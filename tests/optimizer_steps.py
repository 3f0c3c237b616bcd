"""Ten compiled steps of an optimizer on a small BERT, for comparison with formulas in float64."""

import keras
import numpy as np
from keras import ops

from pretraining import BertForPreTraining
from tests.autodiff import apply_compiled, assert_close
from tests.small_bert import assign, below, parameters, pretraining_layout, small_config

PEAK, WARMUP, STEPS = 0.05, 3, 10
RATES = [PEAK * step / WARMUP for step in range(WARMUP)] + [
    PEAK * (STEPS - step) / (STEPS - WARMUP) for step in range(WARMUP, STEPS)
]


def small_model():
    """One block of width 24 and both heads, random parameters everywhere."""
    config = small_config(num_hidden_layers=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = BertForPreTraining(config)
    assign(model, pretraining_layout(parameters(config), config))
    return model


def schedule():
    """Its rates are RATES."""
    return keras.optimizers.schedules.PiecewiseConstantDecay(list(range(STEPS - 1)), RATES)


def random_gradients(model, seed=1):
    """{path: gradient} for each step, from 1e-4 to 1e2 in size, each variable's and step's another."""
    rng = np.random.default_rng(seed)
    return [
        {
            below(model, v): (rng.standard_normal(v.shape) * 10.0 ** rng.integers(-4, 3)).astype("float32")
            for v in model.trainable_variables
        }
        for _ in range(STEPS)
    ]


def values_of(model):
    return {below(model, v): np.array(ops.convert_to_numpy(v.value), "float64") for v in model.trainable_variables}


def assert_steps_equal(optimizer, numpy_step, tolerance):
    """The optimizer moves every variable as the formula does, within `tolerance` of the movement.

    Args:
        optimizer: its rate is `schedule()`.
        numpy_step: (path, weight, gradient, rate, t, state) -> the new weight, in float64; t is 1 in the first step,
            and state a dictionary of the variable's own.
    """
    model = small_model()
    before, gradients = values_of(model), random_gradients(model)
    states = {path: {} for path in before}
    expected = dict(before)
    for t, (rate, step_gradients) in enumerate(zip(RATES, gradients, strict=True), 1):
        for path, gradient in step_gradients.items():
            expected[path] = numpy_step(path, expected[path], gradient.astype("float64"), rate, t, states[path])
    apply_compiled(optimizer, model.trainable_variables, [list(step.values()) for step in gradients])
    after = values_of(model)
    for path, start in before.items():
        assert_close(after[path] - start, expected[path] - start, tolerance, path)
        assert np.linalg.norm(expected[path] - start) > 0.01, path
