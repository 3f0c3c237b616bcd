"""Chains of elementwise operations, computed as one kernel in a training step on a CPU.

Between the matrix products of a BERT lie chains of cheap operations, such as dropout, residual, LayerNorm. Each of them
by itself reads and writes whole activations, in bfloat16 with a conversion on either side, so that together they take
as long as the products. XLA makes one loop of a chain; the products stay with oneDNN, whose are faster.
"""

import functools
import itertools

import keras

from bert_tf.reductions import sum_of_rows


def fused(function, added=(), transpose=None):
    """`function` of tensors, and its gradient, each compiled as one where that pays: on TensorFlow without a GPU.

    Elsewhere it is the function itself: JAX, and TensorFlow on a GPU, compile the whole step. The gradient computes
    the function again from its arguments: nothing in between is kept in memory from the forward to the backward pass.

    Args:
        function: of tensors alone, with one result or a tuple; made of Keras operations. It must be the same object at
            every call, as it is compiled once for each set of shapes.
        added: the places of arguments that are added to the first, broadcast, such as a bias: theirs is its gradient,
            summed, which is cheaper than to sum what is computed once more.
        transpose: (the gradients of the results) -> the gradient of the first argument, of a function that is linear in
            it and has no others but those in `added`. The first argument is not kept in memory then.
    """
    return _fused(function, tuple(added), transpose) if _pays() else function


def fused_product(function, forward=None, backward=None, added=()):
    """(other, *arguments) -> the matrix product of function(*arguments), with one result, and `other`; see `fused`.

    What the function gives is not kept in memory for the gradient of `other`: the kernel of the other gradients makes
    it again.

    Args:
        forward, backward: the gradient written out, that of the first argument, where XLA's own would be slow:
            (*arguments) -> (the same result, what the backward pass needs of it); (the gradient of the result, what was
            kept, *arguments) -> (the gradient of the first argument, the result again).
        added: as in `fused`.
    """
    if _pays():
        return _fused_product(function, forward, backward, tuple(added))
    return lambda other, *arguments: keras.ops.matmul(function(*arguments), other)


def fused_with_gradient(function, forward, backward):
    """`function` with its gradient written out, where XLA's own would be slow.

    Args:
        function: of tensors, with one result; what is computed where `fused` would compute the function itself.
        forward: (*arguments) -> (the same result, what the backward pass needs of it).
        backward: (the gradient of the result, what was kept, *arguments) -> a tuple, the gradients of the first
            arguments; the others have none.
    """
    return _fused_with_gradient(forward, backward) if _pays() else function


def add_bias(x, bias):
    """x (…, H) + bias (H,), in the dtype of x.

    Where chains are compiled, oneDNN joins it to the matrix product that x is, and the bias' gradient is summed in
    float32.
    """
    return _add_bias()(x, bias) if _pays() else x + keras.ops.cast(bias, x.dtype)


def matmul_transposed(x, y):
    """x (…, M, K) · yᵀ of y (…, N, K); on TensorFlow the gradient of y is not transposed afterwards either."""
    if keras.backend.backend() != "tensorflow":
        return keras.ops.matmul(x, keras.ops.swapaxes(y, -1, -2))
    import tensorflow as tf

    return tf.matmul(x, y, transpose_b=True)


def updating(function):
    """(variables, *arguments): gives the variables the values function(*variables, *arguments), a tuple.

    They are Keras variables or, as its optimizers have them on TensorFlow, TensorFlow's own. Where chains are
    compiled it is one kernel that writes into the memory of the variables.
    """
    if _pays():
        return lambda variables, *arguments: _updating(function)(_tensors(variables), *arguments)
    return lambda variables, *arguments: _assign(variables, function(*variables, *arguments))


@functools.cache
def _pays():
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


@functools.cache
def _updating(function):
    import tensorflow as tf

    def update(variables, *arguments):
        _assign(variables, function(*(variable.value() for variable in variables), *arguments))

    # TensorFlow's own variables, as arguments: one program serves all of a shape.
    return tf.function(update, jit_compile=True, autograph=False)


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _tensors(variables):
    return [variable.value if isinstance(variable, keras.Variable) else variable for variable in variables]


@functools.cache
def _compiled(function):
    import tensorflow as tf

    one = tf.function(function, jit_compile=True, autograph=False)
    return lambda *arguments: one(*tf.nest.map_structure(tf.convert_to_tensor, arguments))  # some are variables


@functools.cache
def _add_bias():
    import tensorflow as tf

    @tf.custom_gradient
    def call(x, bias):
        def gradient(upstream):
            return upstream, _summed(upstream, bias)

        return tf.nn.bias_add(x, tf.cast(bias, x.dtype)), gradient

    return lambda x, bias: call(x, tf.convert_to_tensor(bias))


@functools.cache
def _fused(function, added, transpose):
    import tensorflow as tf

    @tf.custom_gradient
    def call(*arguments):
        def gradient(*upstream):
            if transpose is None:
                return _gradients(function, arguments, upstream, added)
            return _with_sums(_compiled(transpose)(*upstream), arguments, added)

        return _compiled(function)(*arguments), gradient

    return lambda *arguments: call(*map(tf.convert_to_tensor, arguments))


@functools.cache
def _fused_product(function, forward, backward, added):
    import tensorflow as tf

    def result_and_kept(*arguments):
        return _compiled(forward)(*arguments) if forward else (_compiled(function)(*arguments), ())

    def gradients(upstream, kept, arguments):
        """[the gradient of each argument, the result again]"""
        if backward is None:
            return _gradients(function, arguments, (upstream,), added, again=True)
        first, again = _compiled(backward)(upstream, kept, *arguments)
        return [*_with_sums(first, arguments, added), again]

    def rows(x, other):
        """(…, H) -> (-1, H) where the other factor is one matrix for all."""
        return tf.reshape(x, (-1, x.shape[-1])) if other.shape.rank == 2 else x

    @tf.custom_gradient
    def call(other, *arguments):
        result, kept = result_and_kept(*arguments)
        shape = tf.shape(result)

        def gradient(upstream):
            upstream = rows(upstream, other)
            of_result = tf.reshape(tf.matmul(upstream, other, transpose_b=True), shape)
            *found, again = gradients(of_result, kept, arguments)
            return tf.matmul(rows(again, other), upstream, transpose_a=True), *found

        return keras.ops.matmul(result, other), gradient

    return lambda *arguments: call(*map(tf.convert_to_tensor, arguments))


@functools.cache
def _fused_with_gradient(forward, backward):
    import tensorflow as tf

    @tf.custom_gradient
    def call(*arguments):
        result, kept = _compiled(forward)(*arguments)

        def gradient(upstream):
            found = _compiled(backward)(upstream, kept, *arguments)
            return *found, *[None] * (len(arguments) - len(found))

        return result, gradient

    return lambda *arguments: call(*map(tf.convert_to_tensor, arguments))


def _gradients(function, arguments, upstream, added, again=False):
    """A list: the gradient of each argument, None of integers; with `again` the result after them."""
    dtypes = [argument.dtype for argument in arguments]
    places = tuple(place for place, dtype in enumerate(dtypes) if dtype.is_floating and place not in added)
    values = _backward(function, places, again)(arguments, upstream)
    found = dict(zip(places, values, strict=False))
    found |= {place: _summed(found[0], arguments[place]) for place in added}
    return [found.get(place) for place in range(len(dtypes))] + values[len(places) :]


@functools.cache
def _backward(function, places, again):
    """(arguments, gradients of the results) -> the gradients at these places, with `again` the result after them."""
    import tensorflow as tf

    def backward(arguments, upstream):
        # A vector, such as a scale, is spread over all rows of the first argument: XLA's own sum over them is slow.
        arguments = list(arguments)
        vectors = [arguments[place].shape.rank == 1 for place in places]
        for place in itertools.compress(places, vectors):
            arguments[place] = tf.broadcast_to(arguments[place], tf.shape(arguments[0]))
        asked = [arguments[place] for place in places]
        with tf.GradientTape() as tape:
            tape.watch(asked)
            result = function(*arguments)
        found = tape.gradient(result, asked, upstream if isinstance(result, tuple) else upstream[0])
        found = [
            tf.cast(sum_of_rows(one), one.dtype) if vector else one for one, vector in zip(found, vectors, strict=True)
        ]
        return [*found, result] if again else found

    return _compiled(backward)


def _with_sums(first, arguments, added):
    """The gradients of all arguments from that of the first, on which those in `added` depend; None of the others."""
    return [
        first,
        *(_summed(first, arguments[place]) if place in added else None for place in range(1, len(arguments))),
    ]


def _summed(x, argument):
    """x summed over the axes that the argument was broadcast along, as the argument."""
    import tensorflow as tf

    if argument.shape.rank == 1 and argument.shape[0] == x.shape[-1]:
        return tf.cast(_compiled(sum_of_rows)(x), argument.dtype)
    axes = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(x), s1=tf.shape(argument)).r1
    return tf.reshape(tf.reduce_sum(tf.cast(x, argument.dtype), axes), tf.shape(argument))
