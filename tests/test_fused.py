"""Compiled chains give what the functions give, forward and backward, for every kind of argument."""

import keras
import numpy as np
import pytest
from keras import ops

from bert_tf import fused as module
from bert_tf.fused import add_bias, fused, fused_product, fused_with_gradient, matmul_transposed, updating

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow compiles chains")


def scaled(x, y, scale, bias, shift):
    """Vectors, two full tensors, integers, and a small tensor; two results."""
    z = x * scale + ops.tanh(y) * bias + ops.cast(shift, x.dtype)
    return z * z, ops.sum(y * z, axis=-1)


def arguments(rows, dtype):
    rng = np.random.default_rng(rows)
    shapes = ((rows, 3, 8), (rows, 3, 8), (8,), (1, 1, 8))
    floats = [tf.constant(rng.standard_normal(shape), dtype) for shape in shapes]
    return (*floats, tf.constant([[[2]], [[5]], [[7]]][:1], tf.int32))


def values_and_gradients(function, given):
    with tf.GradientTape() as tape:
        tape.watch(given[:4])
        first, second = function(*given)
        total = tf.reduce_sum(tf.sin(first)) + 3 * tf.reduce_sum(second)
    return (first, second), tape.gradient(total, given[:4])


def assert_same(one, other, tolerance):
    for a, b in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True):
        assert a.dtype == b.dtype
        a, b = (tf.cast(x, tf.float64).numpy() for x in (a, b))
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.parametrize("rows", [1, 4, 7])  # halves of 3, 12 and 21 rows: none, two, none
@pytest.mark.parametrize("inside", [False, True])
def test_values_and_gradients(rows, inside):
    """Eager, and inside a function, where the number of rows is not known when it is traced."""
    function, given = fused(scaled), arguments(rows, tf.float32)
    run = lambda *given: values_and_gradients(function, given)  # noqa: E731
    if inside:
        specs = [
            tf.TensorSpec((None, *one.shape[1:]) if one.shape.rank == 3 else one.shape, one.dtype) for one in given
        ]
        run = tf.function(run, input_signature=specs)
    assert_same(run(*given), values_and_gradients(scaled, given), 1e-5)


def test_bfloat16_is_not_rounded_in_between():
    """A chain that casts to float32 and back is rounded once; a vector's gradient is summed in float32."""

    def chain(x, bias):
        return ops.cast(ops.tanh(ops.cast(x, "float32") + ops.cast(bias, "float32")), x.dtype)

    rng = np.random.default_rng(0)
    x, bias = tf.constant(rng.standard_normal((64, 16)), tf.bfloat16), tf.constant(rng.standard_normal(16), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(bias)
        y = fused(chain)(x, bias)
        total = tf.reduce_sum(tf.cast(y, tf.float32))
    exact = np.tanh(tf.cast(x, tf.float64).numpy() + bias.numpy())
    np.testing.assert_allclose(tf.cast(y, tf.float32), exact, rtol=2**-8)
    np.testing.assert_allclose(tape.gradient(total, bias), (1 - exact**2).sum(0), rtol=1e-5)


def chain(x, bias, seed):
    return ops.tanh(x + bias) * ops.cast(seed, x.dtype)


def product_arguments(rows, of_all):
    """The other factor, one matrix of all rows or one of each; x, bias; an integer."""
    rng = np.random.default_rng(rows)
    shapes = ((8, 6) if of_all else (rows, 8, 6), (rows, 4, 8), (8,))
    return (*(tf.constant(rng.standard_normal(shape), tf.float32) for shape in shapes), tf.constant(3))


def product_and_gradients(function, given):
    with tf.GradientTape() as tape:
        tape.watch(given[:3])
        result = function(*given)
        total = tf.reduce_sum(tf.sin(result))
    return result, tape.gradient(total, given[:3])


@pytest.mark.parametrize("of_all", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_product(of_all, known):
    """Where the number of rows is known when it is traced, and where it is not."""
    given = product_arguments(5, of_all)
    specs = [
        tf.TensorSpec(one.shape if known or one.shape.rank < 3 else (None, *one.shape[1:]), one.dtype) for one in given
    ]
    run = tf.function(lambda *given: product_and_gradients(fused_product(chain), given), input_signature=specs)
    plain = product_and_gradients(lambda other, *rest: ops.matmul(chain(*rest), other), given)
    assert_same(run(*given), plain, 1e-5)


def shifted(x, shift):
    return ops.tanh(x + shift)


def shifted_and_kept(x, shift):
    return shifted(x, shift), (x + shift,)


def shifted_by_hand(upstream, kept, x, shift):
    """Ten times the gradient, so that nobody takes it for the one that TensorFlow finds."""
    again = ops.tanh(kept[0])
    return 10 * upstream * (1 - again * again), again


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("shape", [(), (1, 1, 6), (3, 1, 1), (3, 4, 6)])
def test_product_with_its_gradient_written_out(known, shape):
    """What is added to the first argument has its gradient, summed over what it was broadcast along."""
    rng = np.random.default_rng(0)
    other, x = (rng.standard_normal(size).astype("float32") for size in ((3, 6, 5), (3, 4, 6)))
    shift = np.asarray(rng.standard_normal(shape), "float32")

    def run(other, x, shift):
        with tf.GradientTape() as tape:
            tape.watch((other, x, shift))
            product = fused_product(shifted, shifted_and_kept, shifted_by_hand, added=(1,))(other, x, shift)
            total = tf.reduce_sum(tf.sin(product))
        return product, tape.gradient(total, (other, x, shift))

    specs = [tf.TensorSpec(one.shape if known else [None] * one.ndim) for one in (other, x, shift)]
    given = tf.function(run, input_signature=specs)(other, x, shift)
    weights = np.tanh(x.astype("float64") + shift)
    upstream = np.cos(weights @ other)
    of_x = 10 * (upstream @ other.transpose(0, 2, 1)) * (1 - weights**2)
    of_shift = of_x.sum(tuple(axis for axis in range(3) if shift.ndim and shift.shape[axis] == 1), keepdims=True)
    of_shift = of_shift if shift.ndim else of_x.sum()
    expected = (weights @ other, (weights.transpose(0, 2, 1) @ upstream, of_x, of_shift))
    assert_same(given, tf.nest.map_structure(lambda one: np.asarray(one, "float32"), expected), 1e-5)


def halves(x, bias):
    y = ops.reshape(x + bias, (-1, 2, 4))
    return y[:, 0], 2 * y[:, 1]


def of_halves(first, second):
    """Ten times the gradient, so that nobody takes it for the one that TensorFlow finds."""
    return 10 * ops.concatenate([first, 2 * second], axis=1)


@pytest.mark.parametrize("rows", [3, None])
def test_linear(rows):
    def both(x, bias):
        with tf.GradientTape() as tape:
            tape.watch((x, bias))
            first, second = fused(halves, added=(1,), transpose=of_halves)(x, bias)
            total = tf.reduce_sum(tf.sin(first)) + tf.reduce_sum(tf.cos(second))
        return tape.gradient(total, (x, bias))

    rng = np.random.default_rng(0)
    x, bias = rng.standard_normal((3, 8)).astype("float32"), rng.standard_normal(8).astype("float32")
    specs = [tf.TensorSpec((rows, 8)), tf.TensorSpec((8,))]
    y = (x + bias).astype("float64")
    expected = 10 * np.concatenate([np.cos(y[:, :4]), -2 * np.sin(2 * y[:, 4:])], axis=1)
    assert_same(
        tf.function(both, input_signature=specs)(x, bias), (expected.astype("f"), expected.sum(0).astype("f")), 1e-5
    )


@pytest.mark.parametrize("shape", [(8,), (1,), (4, 1)])
def test_added(shape):
    """The gradient of what is added to the first argument is its gradient, summed; beside a gradient of its own."""

    def run(x, shift, scale):
        with tf.GradientTape() as tape:
            tape.watch((x, shift, scale))
            total = tf.reduce_sum(tf.sin(fused(scaled_sum, added=(1,))(x, shift, scale)))
        return tape.gradient(total, (x, shift, scale))

    rng = np.random.default_rng(0)
    x, shift, scale = (rng.standard_normal(size).astype("float32") for size in ((3, 4, 8), shape, (8,)))
    y = x.astype("float64") + shift
    of_x = np.cos(y * scale) * scale
    axes = {(8,): (0, 1), (1,): (0, 1, 2), (4, 1): (0, 2)}[shape]
    expected = of_x, of_x.sum(axes).reshape(shape), (np.cos(y * scale) * y).sum((0, 1))
    assert_same(run(*map(tf.constant, (x, shift, scale))), [one.astype("f") for one in expected], 1e-5)


def scaled_sum(x, shift, scale):
    return (x + shift) * scale


@pytest.mark.parametrize("pays", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bias(monkeypatch, pays, dtype):
    """The bias' gradient is summed in float32: 3,001 ones are no multiple of what bfloat16 can tell apart."""
    monkeypatch.setattr(module, "_pays", lambda: pays)
    bias = tf.constant([0.5, -1.0])
    with tf.GradientTape() as tape:
        tape.watch(bias)
        y = add_bias(tf.ones((3001, 2), dtype), bias)
    assert y.dtype == dtype
    np.testing.assert_array_equal(tf.cast(y[7], tf.float32), [1.5, 0.0])
    if pays:
        np.testing.assert_array_equal(tape.gradient(y, bias), [3001.0, 3001.0])


def test_matmul_transposed():
    rng = np.random.default_rng(0)
    x, y, upstream = (rng.standard_normal(size).astype("f") for size in ((3, 4, 5), (3, 6, 5), (3, 4, 6)))
    with tf.GradientTape() as tape:
        given = tf.constant(x), tf.constant(y)
        tape.watch(given)
        product = matmul_transposed(*given)
    assert_same(
        (product, *tape.gradient(product, given, upstream)),
        (x @ y.swapaxes(1, 2), upstream @ y, upstream.swapaxes(1, 2) @ x),
        1e-6,
    )


def squares(x, shift):
    return x * x + ops.cast(shift, x.dtype)


def squares_and_doubled(x, shift):
    return squares(x, shift), 2 * x


def by_hand(upstream, doubled, x, shift):
    """Ten times the gradient, so that nobody takes it for the one that TensorFlow finds."""
    return (10 * upstream * doubled + 0 * (x + ops.cast(shift, x.dtype)),)


@pytest.mark.parametrize("rows", [3, None])
def test_gradient_written_out(rows):
    """It is what counts, with what the forward pass kept; the other arguments have none."""

    def both(x, shift):
        with tf.GradientTape() as tape:
            tape.watch((x, shift))
            y = fused_with_gradient(squares, squares_and_doubled, by_hand)(x, shift)
            total = tf.reduce_sum(tf.sin(y))
        of_x, of_shift = tape.gradient(total, (x, shift))
        assert of_shift is None
        return y, of_x

    x = np.random.default_rng(0).standard_normal((3, 8)).astype("float32")
    y = x.astype("float64") ** 2 + 2.0
    given = tf.function(both, input_signature=[tf.TensorSpec((rows, 8)), tf.TensorSpec(())])(x, 2.0)
    assert_same(given, (y.astype("f"), (10 * np.cos(y) * 2 * x).astype("f")), 1e-5)


def readers(tensor):
    return sorted(operation.type for operation in tensor.consumers())


def test_what_is_kept_for_the_backward_pass():
    """Of a product the arguments and not the result of the chain, of a linear function nothing."""
    seen = {}

    def run(other, x, bias, seed):
        with tf.GradientTape() as tape:
            tape.watch((other, x, bias))
            doubled, halved = x * 2.0, x * 0.5
            product = fused_product(chain)(other, doubled, bias, seed)
            parts = fused(lambda x, bias: x + bias, added=(1,), transpose=lambda x: x + 0)(halved, bias)
            total = tf.reduce_sum(product * product) + tf.reduce_sum(parts * parts)
        (forward,) = [one for one in doubled.consumers() if "Call" in one.type]
        gradients = tape.gradient(total, (other, x, bias))
        seen.update(chain=readers(forward.outputs[0]), doubled=readers(doubled), halved=readers(halved))
        return gradients

    given = product_arguments(5, of_all=True)
    tf.function(run).get_concrete_function(*given)
    assert len(seen["chain"]) == 1, seen  # the product itself
    assert len([reader for reader in seen["doubled"] if "Call" in reader]) == 2
    assert len([reader for reader in seen["halved"] if "Call" in reader]) == 1


def test_takes_keras_variables():
    variable = keras.Variable(np.arange(8.0, dtype="float32"))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(fused(ops.multiply)(tf.ones((2, 8)), variable))
    np.testing.assert_array_equal(tape.gradient(total, variable.value), np.full(8, 2.0))


def test_elsewhere_it_is_the_function_itself(monkeypatch):
    monkeypatch.setattr(module, "_pays", lambda: False)
    assert fused(scaled) is scaled
    assert fused_with_gradient(squares, squares_and_doubled, by_hand) is squares
    given = product_arguments(2, of_all=False)
    assert_same(fused_product(chain)(*given), ops.matmul(chain(*given[1:]), given[0]), 0)


def moved(x, y, by):
    return x + by, ops.square(y) + x


@pytest.mark.parametrize("pays", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_updating(monkeypatch, pays, own):
    """Two variables from the old values of both; Keras' and TensorFlow's own, alone and inside a function."""
    monkeypatch.setattr(module, "_pays", lambda: pays)
    x, y = keras.Variable([1.0, 2.0]), keras.Variable([3.0, 4.0])
    given = (x.value, y.value) if own else (x, y)
    updating(moved)(given, 0.5)
    tf.function(lambda by: updating(moved)(given, by))(tf.constant(1.5))
    np.testing.assert_array_equal(x, [3.0, 4.0])
    np.testing.assert_array_equal(y, [101.5, 326.5])


def test_updating_writes_into_the_memory_of_the_variables():
    """One program for two variables of a shape; a new value would lie elsewhere."""
    calls = []

    def doubled(x):
        calls.append(x.shape)
        return (2 * x,)

    variables = [keras.Variable(np.full(5000, value, "float32")) for value in (1, 3)]
    update = tf.function(lambda: [updating(doubled)((variable,)) for variable in variables])
    update()
    places = [variable.value.numpy().ctypes.data for variable in variables]  # the memory itself on a CPU
    update()
    update()
    assert [variable.value.numpy().ctypes.data for variable in variables] == places
    assert [float(variable.value[7]) for variable in variables] == [8.0, 24.0]
    assert len(calls) == 1


def test_updating_leaves_what_was_read_as_it_was():
    variable = keras.Variable(np.ones(5000, "float32"))
    double = updating(lambda x: (2 * x,))
    double((variable,))
    read = [variable.numpy(), np.asarray(variable), variable.value.numpy(), variable.value.read_value()]
    double((variable,))
    assert [float(one[7]) for one in read] == [2.0] * 4
    assert float(variable.value[7]) == 4.0
