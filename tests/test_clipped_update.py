"""Clipping on TensorFlow: the optimizer multiplies gradients by their factor, and takes narrow ones as they are."""

import keras
import numpy as np
import pytest
from keras import ops

from bert_tf.lamb import Lamb
from bert_tf.loss_scale import LossScale
from bert_tf.muon import Muon
from bert_tf.optimization import BertAdamW
from bert_tf.training import make_step
from pretraining import BertForPreTraining
from pretraining.objective import PretrainingObjective
from tests.optimizer_steps import random_gradients, small_model, values_of
from tests.small_bert import below, small_config
from tests.test_training_step import pretraining_batch

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX clips the gradients themselves")


@pytest.mark.parametrize("optimizer", [BertAdamW, Lamb, Muon])
def test_factor(optimizer):
    """A quarter, which rounds nothing, of each gradient; the next update knows nothing of it."""
    quartered, plain = small_model(), small_model()
    first, second = optimizer(0.1), optimizer(0.1)
    gradients = [
        [ops.convert_to_tensor(one[below(plain, variable)]) for variable in plain.trainable_variables]
        for one in random_gradients(plain)[:2]
    ]
    first.apply(gradients[0], quartered.trainable_variables, factor=0.25)
    second.apply([0.25 * one for one in gradients[0]], plain.trainable_variables)
    for updating, model in ((first, quartered), (second, plain)):
        updating.apply(gradients[1], model.trainable_variables)
    for path, value in values_of(quartered).items():
        np.testing.assert_array_equal(value, values_of(plain)[path], path)


def narrow_step(**settings):
    config = small_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    keras.utils.set_random_seed(0)
    model = BertForPreTraining(config, dtype=settings.pop("dtype", "mixed_bfloat16"))
    optimizer = BertAdamW(0.0)
    step = make_step(model, PretrainingObjective(), optimizer, clip_norm=0.1, **settings)
    return model, optimizer, step, pretraining_batch(config)


def test_clipped_in_mixed_precision():
    """After a step the first moment is a tenth of the clipped gradient, of float32 and narrow gradients alike."""
    model, optimizer, step, batch = narrow_step()
    _, gradients, _, _ = step._compiled_figures_and_gradients(batch, ops.ones(()))
    gradients = [ops.convert_to_numpy(ops.cast(one, "float64")) for one in gradients]
    norm = np.sqrt(sum((one**2).sum() for one in gradients))
    assert norm > 1
    assert float(step.train(batch, 1e-3)["gradient_norm"][0]) == pytest.approx(norm, rel=1e-5)
    for variable, moment, gradient in zip(model.trainable_variables, optimizer._momentums, gradients, strict=True):
        expected = 0.1 * (0.1 / norm) * gradient
        error = np.linalg.norm(ops.convert_to_numpy(moment) - expected)
        assert error <= 1e-5 * np.linalg.norm(expected), variable.path


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "bfloat16"),
        ({"accumulation": 2}, "float32"),  # their sum is float32
        ({"dtype": "mixed_float16", "loss_scale": True}, "float32"),  # unscaled, they may be too small for float16
    ],
    ids=["bfloat16", "accumulated", "float16"],
)
def test_how_wide_gradients_are(settings, expected):
    if "loss_scale" in settings:
        settings = settings | {"loss_scale": LossScale()}
    model, _, step, batch = narrow_step(**settings)
    _, gradients, _, _ = step._compiled_figures_and_gradients(batch, ops.ones(()))
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        if variable.path.endswith("kernel"):
            assert gradient.dtype == expected, variable.path
        if variable.path.endswith("word_embeddings/embeddings"):  # the sum of two gradients
            assert gradient.dtype == "float32"
