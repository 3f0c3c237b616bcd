"""Names the first tensor of a batch that is not finite, in the order in which a step computes them."""

import numpy as np
from keras import ops

from bert_tf.inputs import INPUT_NAMES


def first_non_finite(model, step, batch):
    """A name such as "the variable bert/pooler/kernel" or "the hidden state 3"; None where all of them are finite.

    In this order: the model's variables, the hidden states of its encoder (0: the embeddings), its outputs, the losses
    and metrics, the gradients. Nothing is trained; dropout is drawn anew.

    Args:
        model: a model with its encoder in `model.bert`, or an encoder.
        step: its training step (`bert_tf.training.make_step`).
        batch: the batch of the update that failed.
    """
    step.sync()
    for variable in model.trainable_variables:
        if not _finite(variable.value):
            return f"the variable {variable.path}"
    objective = step.objective
    encoder = getattr(model, "bert", model)
    inputs = {name: batch[name] for name in INPUT_NAMES if name in batch}
    for index, hidden in enumerate(encoder(inputs, output_hidden_states=True)["hidden_states"]):
        if not _finite(hidden):
            return f"the hidden state {index}"
    outputs = model(objective.inputs(batch), training=True)
    for name, output in outputs.items():
        if not _finite(output):
            return f"the output {name}"
    for name, (total, _) in objective.figures(outputs, batch).items():
        if not _finite(total):
            return f"the figure {name}"
    for variable, gradient in zip(model.trainable_variables, step.gradients(batch), strict=True):
        if not _finite(gradient):
            return f"the gradient of {variable.path}"
    return None


def _finite(tensor):
    return bool(np.isfinite(ops.convert_to_numpy(ops.cast(tensor, "float32"))).all())
