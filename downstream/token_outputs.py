"""The outputs of a model for each token of many windows, with the figures of an objective over them."""

import numpy as np

from bert_tf.errors import InputError
from bert_tf.figures import RunningFigures
from downstream.batches import make_batch, reading_plan


def read_token_outputs(forward, features, padded_lengths, batch_size, objective=None):
    """({output: (T, …) float32}, {figure: value}), without dropout.

    Args:
        forward: from `downstream.forward.compile_forward`; each output has the shape (B, S, …).
        features: `Features` of T tokens in all.
        objective: an `Objective` whose figures are measured; None: none.

    Raises:
        InputError: a batch size below 1.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    figures, read = RunningFigures(), {}
    for chosen in reading_plan(features.lengths, batch_size):
        batch = make_batch(features, chosen, padded_lengths, batch_size)
        outputs = forward(batch)
        if objective is not None:
            figures.add(objective.figures(outputs, batch))
        real = batch["attention_mask"][: len(chosen)] == 1
        places = np.concatenate([np.arange(features.offsets[row], features.offsets[row + 1]) for row in chosen])
        for name, values in outputs.items():
            values = np.asarray(values, np.float32)[: len(chosen)][real]
            if name not in read:
                read[name] = np.empty((features.offsets[-1], *values.shape[1:]), np.float32)
            read[name][places] = values
    return read, figures.values()
