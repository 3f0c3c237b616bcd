"""Reductions that cost less than those of `keras.ops`, where TensorFlow or XLA computes them on a CPU."""

import keras


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


def sum_of_rows(x):
    """(…, H) -> (H,) float32: halves are added to halves, as long as they are even, which keeps to whole vectors."""
    rows = keras.ops.cast(keras.ops.reshape(x, (-1, x.shape[-1])), "float32")
    while rows.shape[0] and rows.shape[0] % 2 == 0:
        rows = rows[: rows.shape[0] // 2] + rows[rows.shape[0] // 2 :]
    return keras.ops.sum(rows, axis=0)


def row_sums(x):
    """(…, H) -> (…, 1): halves are added to halves down to a hundred columns; the rest XLA sums one by one."""
    while x.shape[-1] > 100 and x.shape[-1] % 2 == 0:
        x = x[..., : x.shape[-1] // 2] + x[..., x.shape[-1] // 2 :]
    return keras.ops.sum(x, axis=-1, keepdims=True)
