"""One whole update of pretraining, as the backend compiles it, against the NumPy BERT.

`test_jax_backend.py` runs this module again on JAX.
"""

import keras
import numpy as np
import pytest
from keras import ops

from bert_tf.training import make_step
from pretraining import BertForPreTraining
from pretraining.objective import PretrainingObjective
from tests import small_bert
from tests.small_bert import below, parameters, small_config
from tests.test_pretraining_heads import numpy_pretraining, pretraining_batch

EXACT, CLIP = 1e-5, 0.25


def values_of(model):
    return {below(model, v): np.array(ops.convert_to_numpy(v.value), "float64") for v in model.trainable_variables}


def test_five_micro_batches_clipped():
    """Descent at the rate 1: w falls by the gradient of the whole batch's loss, scaled to the norm 0.25.

    The rows have different numbers of predictions that count, one has none for NSP: a mean of the micro-batches' means
    would be another gradient, and so would five gradients clipped one by one.
    """
    config = small_config(num_hidden_layers=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    p, data = parameters(config), pretraining_batch(config)
    _, (mlm_loss, nsp_loss), grads = numpy_pretraining(p, config, data)
    gradients = small_bert.pretraining_layout(grads, config)
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
    counts = data["masked_lm_weights"].sum(axis=1)
    assert norm > 2 * CLIP
    assert len(set(counts.tolist())) >= 3

    model = BertForPreTraining(config)
    small_bert.assign(model, small_bert.pretraining_layout(p, config))
    before = values_of(model)
    step = make_step(model, PretrainingObjective(), keras.optimizers.SGD(0.0), accumulation=5, clip_norm=CLIP)
    figures = step.train(data, 1.0)
    step.sync()
    after = values_of(model)

    assert float(ops.convert_to_numpy(figures["gradient_norm"][0])) == pytest.approx(norm, rel=EXACT)
    for path, gradient in gradients.items():
        expected = gradient * CLIP / norm
        error = np.linalg.norm(before[path] - after[path] - expected)
        # A float32 weight of size w holds its movement to 6e-8 w.
        assert error <= EXACT * np.linalg.norm(expected) + 6e-8 * np.linalg.norm(before[path]), path
    for name, loss, count in (("mlm_loss", mlm_loss, counts.sum()), ("nsp_loss", nsp_loss, 4)):
        total, weight = (float(ops.convert_to_numpy(part)) for part in figures[name])
        assert total / weight == pytest.approx(loss, rel=EXACT)
        assert weight == count
