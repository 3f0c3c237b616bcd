"""Rates by layer, frozen layers and fresh ones, on a toy classifier; under the backend in force.

`test_jax_backend.py` runs this module again on JAX.
"""

import numpy as np
import pytest
from keras import ops

from bert_tf import InputError
from bert_tf.optimization import BertAdamW
from bert_tf.training import make_deterministic, make_step
from downstream import BertForSequenceClassification
from downstream.layerwise import freeze, layer_rate_factors, reinitialise
from downstream.objective import SequenceObjective
from tests.downstream_toys import toy_config

LAYERS = 3


def classifier():
    make_deterministic(3)
    dropouts = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertForSequenceClassification(toy_config(num_hidden_layers=LAYERS, **dropouts))


def batch():
    rng = np.random.default_rng(0)
    return {
        "input_ids": rng.integers(5, 30, (6, 9), dtype="int32"),
        "attention_mask": np.ones((6, 9), "int32"),
        "token_type_ids": rng.integers(0, 2, (6, 9), dtype="int32"),
        "labels": np.array([0, 1, 1, 0, 1, 1], "int32"),
        "example_weights": np.ones(6, "float32"),
    }


def values(model):
    return {v.path: np.array(ops.convert_to_numpy(v.value)) for v in model.variables if v.dtype == "float32"}


def after_one_step(model, optimizer, rate=0.01):
    """The change of each variable by one update that is not clipped, and the gradients by path."""
    step = make_step(model, SequenceObjective("single_label_classification"), optimizer, clip_norm=1e9)
    gradients = [np.array(ops.convert_to_numpy(gradient), "float64") for gradient in step.gradients(batch())]
    before = values(model)
    step.train(batch(), rate)
    step.sync()
    changes = {path: value - before[path] for path, value in values(model).items()}
    return changes, dict(zip((v.path for v in model.trainable_variables), gradients, strict=True))


def expected_factor(path):
    """0.5 for each layer that lies above, by the layer that the path names."""
    if "embeddings/" in path:
        return 0.5**4
    return next((0.5 ** (LAYERS - index) for index in range(LAYERS) if f"/layer_{index}/" in path), 1.0)


def test_each_layer_has_its_rate():
    # The first update without bias correction and decay: rate · factor · 0.1 g / (√(0.001 g²) + 1e-6).
    model = classifier()
    optimizer = BertAdamW(0.0, weight_decay_rate=0.0, rate_factors=layer_rate_factors(LAYERS, 0.5))
    changes, gradients = after_one_step(model, optimizer)
    factors = {path: expected_factor(path) for path in gradients}
    assert sorted(set(factors.values())) == [0.0625, 0.125, 0.25, 0.5, 1.0]
    for path, gradient in gradients.items():
        step = -0.01 * factors[path] * 0.1 * gradient / (np.sqrt(0.001 * gradient**2) + 1e-6)
        clear = np.abs(gradient) > 1e-4  # where rounding does not decide the sign
        assert clear.any() or path.endswith("qkv/bias"), path
        np.testing.assert_allclose(changes[path][clear], step[clear], rtol=1e-2, atol=1e-6, err_msg=path)


def test_the_factors_are_part_of_the_optimizer():
    factors = layer_rate_factors(2, 0.8)
    assert factors["(^|/)layer_1/"] == 0.8
    assert factors["(^|/)embeddings/"] == pytest.approx(0.8**3)
    assert BertAdamW.from_config(BertAdamW(rate_factors=factors).get_config()).rate_factors == factors


def test_layer_1_is_not_layer_11():
    factors = BertAdamW(rate_factors=layer_rate_factors(12, 0.9))
    assert factors._rate_factor("bert/layer_1/attention/qkv/kernel") == pytest.approx(0.9**11)
    assert factors._rate_factor("bert/layer_11/attention/qkv/kernel") == pytest.approx(0.9)


@pytest.mark.parametrize(("layers", "frozen"), [(0, 0), (2, 2)])
def test_frozen_layers_stay_and_have_no_gradient(layers, frozen):
    model = classifier()
    freeze(model.bert, layers)
    changes, gradients = after_one_step(model, BertAdamW(0.0))
    below = ("embeddings/", *(f"/layer_{index}/" for index in range(frozen)))
    assert {path for path in changes if not any(part in path for part in below)} == set(gradients)
    for path, change in changes.items():
        assert change.any() == (path in gradients), path


def test_nothing_is_frozen_unless_asked_for():
    model = classifier()
    freeze(model.bert, None)
    assert len(model.trainable_variables) == len(values(model))


def test_top_layers_begin_fresh():
    model = classifier()
    for variable in model.trainable_variables:
        variable.assign(np.full(variable.shape, 0.7, "float32"))
    names = reinitialise(model.bert, 1)
    assert {name.split(".")[0] for name in names} == {"encoder", "pooler"}
    table = model.bert.weight_table()
    for name, place in table.items():
        fresh = name.startswith(("encoder.layer.2.", "pooler."))
        assert (name in names) == fresh
        assert (place.read() == 0.7).all() != fresh, name
    assert (table["encoder.layer.2.output.LayerNorm.weight"].read() == 1).all()
    kernels = [table[f"encoder.layer.2.{name}.weight"].read() for name in ("output.dense", "intermediate.dense")]
    assert all(0.1 < kernel.std() < 0.3 for kernel in kernels)  # initializer_range 0.2
    assert reinitialise(model.bert, 0) == []


def test_more_layers_than_there_are():
    with pytest.raises(InputError, match=r"freeze_layers must be at most the 3 layers, got 4$"):
        freeze(classifier().bert, 4)
    with pytest.raises(InputError, match=r"reinit_layers must be at most the 3 layers, got 5$"):
        reinitialise(classifier().bert, 5)
