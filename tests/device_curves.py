"""Updates on meshes of four virtual CPU devices; run by `test_devices.py` as a process on JAX. Prints JSON:

curves         {mesh: [{figure: value}]}: 20 updates, then an evaluation with the norm of the weights
layouts        {path: axes} of the variables that a mesh divides
communication  names of the operations between devices in a compiled update with micro-batches
"""

import json
import re

import keras
import numpy as np

from bert_tf import BertConfig
from bert_tf.devices import Devices, open_devices
from bert_tf.figures import RunningFigures
from bert_tf.loss_scale import LossScale
from bert_tf.optimization import BertAdamW
from bert_tf.training import make_deterministic, make_step
from pretraining import BertForPreTraining
from pretraining.objective import PretrainingObjective

ROWS, LENGTH, SLOTS, WORDS, STEPS = 16, 13, 5, 61, 20


def batch(rng):
    """Rows of different lengths with different numbers of masked words: their devices have different weights."""
    real = rng.integers(6, LENGTH + 1, ROWS)
    return {
        "input_ids": rng.integers(0, WORDS, (ROWS, LENGTH), dtype="int32"),
        "attention_mask": (np.arange(LENGTH) < real[:, None]).astype("int32"),
        "token_type_ids": rng.integers(0, 2, (ROWS, LENGTH), dtype="int32"),
        "masked_lm_positions": rng.integers(0, 6, (ROWS, SLOTS), dtype="int32"),
        "masked_lm_ids": rng.integers(0, WORDS, (ROWS, SLOTS), dtype="int32"),
        "masked_lm_weights": (np.arange(SLOTS) < rng.integers(1, SLOTS + 1, ROWS)[:, None]).astype("float32"),
        "next_sentence_labels": rng.integers(0, 2, ROWS, dtype="int32"),
        "next_sentence_weights": rng.integers(0, 2, ROWS).astype("float32"),
    }


def make(devices, dropout=0.0, accumulation=1, scaled=False):
    make_deterministic(4)
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=20,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.2,
    )
    return make_step(
        BertForPreTraining(config, pad_vocab_size_multiple_of=4),  # or 61 words could not be halved
        PretrainingObjective(),
        BertAdamW(0.0),
        accumulation=accumulation,
        loss_scale=LossScale() if scaled else None,
        distribution=devices.distribution,
    )


def curve(devices, **options):
    """The figures of 20 updates and of an evaluation, and the norm of all weights at the end."""
    step = make(devices, **options)
    before = [keras.ops.convert_to_numpy(variable.value).copy() for variable in step.model.variables]
    rng, figures = np.random.default_rng(0), []
    for _ in range(STEPS):
        rows = batch(rng)
        running = RunningFigures()
        running.add(step.train(rows, 3e-3))
        figures.append(running.values())
    running = RunningFigures()
    running.add(step.evaluate(rows))
    for earlier, variable in zip(before, step.model.variables, strict=True):  # they wait for sync
        np.testing.assert_array_equal(earlier, keras.ops.convert_to_numpy(variable.value))
    step.sync()
    weights = [keras.ops.convert_to_numpy(variable.value) for variable in step.model.trainable_variables]
    return [*figures, running.values() | {"weights": float(np.sqrt(sum((value**2).sum() for value in weights)))}]


def layouts(devices):
    """{path: axes} of the variables that are divided."""
    step = make(devices)
    variables = [*step.model.variables, *step.optimizer.variables]
    axes = {variable.path: devices.distribution.get_variable_layout(variable).axes for variable in variables}
    return {path: axes for path, axes in axes.items() if any(axes)}


def communication(devices, **options):
    """The names of the operations between devices in the compiled update."""
    shapes = {name: (values.shape, str(values.dtype)) for name, values in batch(np.random.default_rng(0)).items()}
    text = make(devices, **options).compiled(shapes).as_text()
    return sorted(set(re.findall(r" (all-[a-z-]+|collective-[a-z-]+|reduce-scatter)\(", text)))


if __name__ == "__main__":
    one, two, four, halves = Devices(), open_devices(2), open_devices("all"), open_devices(4, 2)
    curves = {
        "one": curve(one),
        "two": curve(two),
        "four": curve(four),
        "halves": curve(halves),
        "one, dropout": curve(one, dropout=0.3),
        "halves, dropout": curve(halves, dropout=0.3),
        "four, micro-batches": curve(four, accumulation=2, scaled=True),
    }
    between = communication(four, accumulation=2)
    print(json.dumps({"curves": curves, "layouts": layouts(halves), "communication": between}))
