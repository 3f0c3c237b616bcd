"""Chains of elementwise operations, computed as one kernel in a training step on a CPU.

Between the matrix products of a BERT lie chains of cheap operations, such as dropout, residual, LayerNorm. Each of them
by itself reads and writes whole activations, in bfloat16 with a conversion on either side, so that together they take
as long as the products. XLA makes one loop of a chain; the products stay with oneDNN, whose are faster. With them stand
two reductions that TensorFlow has cheaper than `keras.ops`.
"""

import functools
import itertools

import keras


def fused(function, linear=False):
    """`function` of tensors, and its gradient, each compiled as one where that pays: on TensorFlow without a GPU.

    Elsewhere it is the function itself: JAX, and TensorFlow on a GPU, compile the whole step. The gradient computes
    the function again from its arguments: nothing in between is kept in memory from the forward to the backward pass.

    Args:
        function: of tensors alone, with one result or a tuple; made of Keras operations. It must be the same object at
            every call, as it is compiled once for each set of shapes.
        linear: the gradient does not depend on the arguments, which then are not kept in memory either.
    """
    return _fused(function, linear) if _pays() else function


def fused_product(function, forward=None, backward=None, added=()):
    """(other, *arguments) -> the matrix product of function(*arguments), with one result, and `other`; see `fused`.

    What the function gives is not kept in memory for the gradient of `other`: the kernel of the other gradients makes
    it again.

    Args:
        forward, backward: the gradient written out, that of the first argument, where XLA's own would be slow:
            (*arguments) -> (the same result, what the backward pass needs of it); (the gradient of the result, what was
            kept, *arguments) -> (the gradient of the first argument, the result again).
        added: with them, the places of arguments that are added to the first, broadcast: theirs is its gradient,
            summed, and left out of a graph that has no use for it.
    """
    if _pays():
        return _fused_product(function, forward, backward, tuple(added))
    return lambda other, *arguments: keras.ops.matmul(function(*arguments), other)


def fused_with_gradient(function, forward, backward):
    """`function` with its gradient written out, that of the first argument alone, where XLA's own would be slow.

    Args:
        function: of tensors, with one result; what is computed where `fused` would compute the function itself.
        forward: (*arguments) -> (the same result, what the backward pass needs of it).
        backward: (the gradient of the result, what was kept, *arguments) -> the gradient of the first argument.
    """
    return _fused_with_gradient(forward, backward) if _pays() else function


def compiled(function):
    """`fused` for a function that has several results and needs no gradient."""
    return _compiled(function) if _pays() else function


@functools.cache
def _pays():
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def sum_of_squares(tensors):
    """Of all elements of them all, a float32 scalar; on TensorFlow without the squares in memory."""
    tensors = [keras.ops.cast(tensor, "float32") for tensor in tensors]
    if keras.backend.backend() != "tensorflow":
        return sum(keras.ops.sum(keras.ops.square(tensor)) for tensor in tensors)
    import tensorflow as tf

    return 2.0 * tf.add_n([tf.nn.l2_loss(tensor) for tensor in tensors])


def argmax(x):
    """The place of the first largest element along the last axis, int32; Keras' own also tells -0.0 from 0.0."""
    if keras.backend.backend() != "tensorflow":
        return keras.ops.cast(keras.ops.argmax(x, axis=-1), "int32")
    import tensorflow as tf

    return tf.argmax(x, axis=-1, output_type=tf.int32)


@functools.cache
def _compiled(function):
    import tensorflow as tf

    one = tf.function(function, jit_compile=True, autograph=False)
    return lambda *arguments: one(*tf.nest.map_structure(tf.convert_to_tensor, arguments))  # some are variables


@functools.cache
def _fused(function, linear):
    import tensorflow as tf

    @tf.custom_gradient
    def call(*arguments):
        def gradient(*upstream):
            return _gradients(function, arguments, upstream, linear=linear)

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
            return _gradients(function, arguments, (upstream,), again=True)
        first, again = _compiled(backward)(upstream, kept, *arguments)
        of_added = [summed(first, argument) if place in added else None for place, argument in enumerate(arguments)]
        return [first, *of_added[1:], again]

    def summed(x, argument):
        """Over the axes that the argument was broadcast along."""
        axes = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(x), s1=tf.shape(argument)).r1
        return tf.reshape(tf.reduce_sum(tf.cast(x, argument.dtype), axes), tf.shape(argument))

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
            return _compiled(backward)(upstream, kept, *arguments), *[None] * (len(arguments) - 1)

        return result, gradient

    return lambda *arguments: call(*map(tf.convert_to_tensor, arguments))


def _gradients(function, arguments, upstream, linear=False, again=False):
    """A list: the gradient of each argument, None of integers; with `again` the result after them."""
    specs = None
    if linear and all(argument.shape.is_fully_defined() for argument in arguments):
        specs, arguments = tuple((tuple(argument.shape), argument.dtype) for argument in arguments), ()
    dtypes = [dtype for _, dtype in specs] if specs else [argument.dtype for argument in arguments]
    places = tuple(place for place, dtype in enumerate(dtypes) if dtype.is_floating)
    values = _backward(function, places, specs, again)(arguments, upstream)
    found = dict(zip(places, values, strict=False))
    return [found.get(place) for place in range(len(dtypes))] + values[len(places) :]


@functools.cache
def _backward(function, places, specs, again):
    """(arguments, gradients of the results) -> the gradients at these places, with `again` the result after them.

    Args:
        specs: shapes and dtypes of the arguments where their values do not matter, and are not passed; else None.
    """
    import tensorflow as tf

    def backward(arguments, upstream):
        # A vector, such as a bias, is spread over all rows of the first argument: XLA's own sum over them is slow.
        arguments = [tf.zeros(shape, dtype) for shape, dtype in specs] if specs else list(arguments)
        vectors = [arguments[place].shape.rank == 1 for place in places]
        for place in itertools.compress(places, vectors):
            arguments[place] = tf.broadcast_to(arguments[place], tf.shape(arguments[0]))
        asked = [arguments[place] for place in places]
        with tf.GradientTape() as tape:
            tape.watch(asked)
            result = function(*arguments)
        found = tape.gradient(result, asked, upstream if isinstance(result, tuple) else upstream[0])
        found = [sum_of_rows(one) if vector else one for one, vector in zip(found, vectors, strict=True)]
        return [*found, result] if again else found

    def sum_of_rows(x):
        """(…, H) -> (H,): halves are added to halves, as long as they are even, which keeps to whole vectors."""
        rows = tf.cast(tf.reshape(x, (-1, x.shape[-1])), tf.float32)
        while rows.shape[0] and rows.shape[0] % 2 == 0:
            rows = rows[: rows.shape[0] // 2] + rows[rows.shape[0] // 2 :]
        return tf.cast(tf.reduce_sum(rows, axis=0), x.dtype)

    return _compiled(backward)
