"""Gradients of a model's variables beside a reference by Hugging Face name and in PyTorch's layout."""

import numpy as np

from tests.small_bert import below


def gradient_errors(model, gradients, reference):
    """{Hugging Face name: ‖difference‖ / ‖reference‖} for every tensor of the model.

    Args:
        gradients: {path below the model: array}, of each Keras variable.
        reference: {Hugging Face name: array}, for exactly the tensors of the model.
    """
    table = model.weight_table()
    assert sorted(table) == sorted(reference)
    errors = {}
    for name, place in table.items():
        gradient = place.part(gradients[below(model, place.variable)])
        # One vector added to every key moves no softmax: the gradient of the key's bias is 0 but for rounding.
        scale = reference[name.replace("key.bias", "query.bias")]
        errors[name] = float(np.linalg.norm(gradient - reference[name]) / np.linalg.norm(scale))
    return errors
