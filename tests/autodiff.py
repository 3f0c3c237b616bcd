"""Outputs, gradients and compiled updates under the backend in force: the one file of tests that names both."""

import keras
import numpy as np
from keras import ops

from tests.small_bert import below


def as_numpy(structure):
    """Every tensor of a structure as a float64 array."""
    return keras.tree.map_structure(lambda x: np.array(ops.convert_to_numpy(x)).astype("float64"), structure)


def outputs_of(layer, *inputs, **options):
    """The outputs, as float64 arrays."""
    return as_numpy(layer(*inputs, **options))


def outputs_and_gradients(layer, inputs, loss, **options):
    """Outputs, and the gradients of a loss.

    Args:
        inputs: positional inputs; those that are float arrays are differentiated too.
        loss: a function of the outputs, made of `keras.ops`, with a scalar value; `dot` makes one.

    Returns:
        outputs; {path below the layer: gradient}; the gradients of the float inputs in their order.
    """
    floats = [index for index, x in enumerate(inputs) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
    inputs = [ops.convert_to_tensor(x, "float32") if index in floats else x for index, x in enumerate(inputs)]
    float_inputs = [inputs[index] for index in floats]
    variables = [variable.value for variable in layer.trainable_variables]
    if keras.backend.backend() == "jax":
        import jax

        def value(variables, float_inputs):
            full = list(inputs)
            for index, x in zip(floats, float_inputs, strict=True):
                full[index] = x
            rest = [variable.value for variable in layer.non_trainable_variables]
            outputs, _ = layer.stateless_call(variables, rest, *full, **options)
            return loss(outputs), outputs

        gradient = jax.value_and_grad(value, argnums=(0, 1), has_aux=True)
        (_, outputs), (of_variables, of_inputs) = gradient(variables, float_inputs)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(float_inputs)
            outputs = layer(*inputs, **options)
            total = loss(outputs)
        of_variables, of_inputs = tape.gradient(total, [variables, float_inputs], unconnected_gradients="zero")
        of_variables = [tf.convert_to_tensor(gradient) for gradient in of_variables]  # from IndexedSlices
    paths = [below(layer, variable) for variable in layer.trainable_variables]
    return as_numpy(outputs), dict(zip(paths, as_numpy(of_variables), strict=True)), as_numpy(of_inputs)


def apply_compiled(optimizer, variables, gradients):
    """Updates the variables once for each list of gradients, in a compiled update."""
    optimizer.build(variables)
    gradients = [[ops.convert_to_tensor(gradient, "float32") for gradient in one] for one in gradients]
    if keras.backend.backend() == "jax":
        import jax

        update = jax.jit(optimizer.stateless_apply)
        values, state = [v.value for v in variables], [v.value for v in optimizer.variables]
        for one in gradients:
            values, state = update(state, one, values)
        for variable, value in zip([*variables, *optimizer.variables], [*values, *state], strict=True):
            variable.assign(value)
    else:
        import tensorflow as tf

        update = tf.function(lambda one: optimizer.apply(one, variables))
        for one in gradients:
            update(one)


def dot(cotangents):
    """The loss Σ output × cotangent; an array, a tuple, or a dictionary for some of a dictionary of outputs."""

    def loss(outputs):
        if isinstance(cotangents, dict):
            pairs = [(outputs[name], cotangent) for name, cotangent in cotangents.items()]
        elif isinstance(cotangents, tuple):
            pairs = zip(outputs, cotangents, strict=True)
        else:
            pairs = [(outputs, cotangents)]
        return sum(ops.sum(ops.cast(output, "float32") * ops.cast(ct, "float32")) for output, ct in pairs)

    return loss


def assert_close(actual, expected, tolerance, what):
    """‖actual - expected‖ <= tolerance ‖expected‖, shapes equal; fails for NaN too."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    norm = np.linalg.norm(expected)
    assert norm > 0, f"{what}: the reference is 0, nothing is compared"
    error = np.linalg.norm(actual - expected) / norm
    assert error <= tolerance, f"{what}: relative error {error:.2e} > {tolerance:.0e}"


def assert_all_close(actual, expected, tolerance):
    """`assert_close` for two dictionaries with the same keys."""
    assert sorted(actual) == sorted(expected)
    for name in sorted(expected):
        assert_close(actual[name], expected[name], tolerance, name)
