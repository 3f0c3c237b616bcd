"""Multi-head self-attention with one fused query-key-value kernel, and the relative bias of T5.

Follows Vaswani et al. 2017, section 3.2 (`attention_layer` in google-research/bert `modeling.py`) and Raffel et al.
2019 (arXiv 1910.10683), section 2.1. Shapes: B batch, S sequence, H hidden, N heads, D = H/N head size.
"""

import functools

import keras
from keras import ops

from bert_tf.dropout import Dropout, drop
from bert_tf.embeddings import truncated_normal
from bert_tf.errors import InputError
from bert_tf.fused import add_bias, fused, fused_product, matmul_transposed

# Added to the scores of keys that may not be seen. Finite, so that a row with no visible key gives equal
# probabilities instead of NaN; in float32 exp(-1e9 - max) is exactly 0 beside any visible key.
MASKED_SCORE = -1e9


def kernel_of(dense, dtype):
    """The kernel of a dense layer, for products of its own whose bias is added apart.

    Raises:
        InputError: the layer is quantized.
    """
    if dense.quantization_mode is not None:
        raise InputError(
            f"{dense.path} is quantized ({dense.quantization_mode}) and cannot be trained; train it, then quantize it"
        )
    return ops.cast(dense.kernel, dtype)


@functools.cache
def _split_heads(heads, scale):
    """Two functions, the second of the gradients of the first one's results -> the gradient of x.

    The first is (x (B, S, 3H), and a bias (3H,)) -> query · scale, key, value of x + bias, each (B, N, S, D).
    """

    def split_heads(x, *bias):
        length, size = ops.shape(x)[1], x.shape[-1] // 3
        parts = []
        for start in (0, size, 2 * size):
            part = x[..., start : start + size]
            if bias:
                part = part + ops.cast(bias[0][start : start + size], x.dtype)
            parts.append(swapped(ops.reshape(part, (-1, length, heads, size // heads))))
        return parts[0] * ops.cast(scale, x.dtype), parts[1], parts[2]

    def transpose(query, key, value):
        parts = (swapped(part) for part in (query * ops.cast(scale, query.dtype), key, value))
        return ops.reshape(ops.stack(list(parts), axis=2), (-1, ops.shape(query)[2], 3 * heads * query.shape[-1]))

    def swapped(part):
        return ops.transpose(part, (0, 2, 1, 3))

    return split_heads, transpose


@functools.cache
def _attention_weights(rate):
    """The functions of `fused_product` for dropout(softmax(scores + bias)), their gradient written out.

    They take scores (B, N, S, S), bias float32, and a seed where rate > 0. What is kept of a row is the largest biased
    score and Σ exp(score - largest), (B, N, S, 1) float32 each: with them the backward pass goes nine times over
    tensors of the scores' size, where the one that XLA derives goes over them seventeen times.
    """

    def attention_weights(scores, bias, *seeds):
        return dropped(ops.softmax(ops.cast(scores, "float32") + bias, axis=-1), seeds, scores.dtype)

    def forward(scores, bias, *seeds):
        biased = ops.cast(scores, "float32") + bias
        largest = ops.max(biased, axis=-1, keepdims=True)
        exponentials = ops.exp(biased - largest)
        sums = ops.sum(exponentials, axis=-1, keepdims=True)
        return dropped(exponentials / sums, seeds, scores.dtype), (largest, sums)

    def backward(upstream, kept, scores, bias, *seeds):
        largest, sums = kept
        probabilities = ops.exp(ops.cast(scores, "float32") + bias - largest) / sums
        weights = dropped(probabilities, seeds, "float32")
        through = weights * ops.cast(upstream, "float32")
        gradient = through - probabilities * ops.sum(through, axis=-1, keepdims=True)
        return ops.cast(gradient, scores.dtype), ops.cast(weights, scores.dtype)

    def dropped(probabilities, seeds, dtype):
        return ops.cast(drop(probabilities, *seeds, rate) if seeds else probabilities, dtype)

    return attention_weights, forward, backward


@keras.saving.register_keras_serializable(package="bert_tf")
class MultiHeadAttention(keras.layers.Layer):
    """Self-attention: softmax(Q Kᵀ / √D + bias) V, heads side by side, then the output projection.

    The kernel of `qkv` is (H, 3H): columns [query | key | value], each N blocks of D.

    Call: hidden (B, S, H); bias float32, broadcastable to (B, N, S, S), added to the scores ->
        output (B, S, H), probabilities (B, N, S, S) float32 before dropout.
    """

    def __init__(self, num_attention_heads, hidden_size, dropout_prob=0.1, initializer_range=0.02, **kwargs):
        super().__init__(autocast=False, **kwargs)  # or Keras rounds the bias to float16, where -1e9 is -inf
        # 1. layers
        self.qkv = keras.layers.Dense(
            3 * hidden_size,
            kernel_initializer=truncated_normal(initializer_range),
            dtype=self.dtype_policy,
            name="qkv",
        )
        self.dropout = Dropout(dropout_prob, dtype=self.dtype_policy, name="dropout")
        self.output_dense = keras.layers.Dense(
            hidden_size,
            kernel_initializer=truncated_normal(initializer_range),
            dtype=self.dtype_policy,
            name="output_dense",
        )

        # 2. config
        self.num_attention_heads = num_attention_heads
        self.hidden_size = hidden_size
        self.dropout_prob = dropout_prob
        self.initializer_range = initializer_range

    def build(self, input_shape=None):
        self.qkv.build((None, None, self.hidden_size))
        self.output_dense.build((None, None, self.hidden_size))

    def call(self, hidden, bias, training=None):
        length = ops.shape(hidden)[1]
        head_size = self.hidden_size // self.num_attention_heads
        query, key, value = self.project(hidden, head_size**-0.5, training=training)
        scores = matmul_transposed(query, key)
        probabilities = ops.softmax(ops.cast(scores, "float32") + bias, axis=-1)
        seeds = self.dropout.seeds(training)
        if training:
            times_value = fused_product(*_attention_weights(self.dropout_prob), added=(1,))
            context = times_value(value, scores, bias, *seeds)
        else:
            context = ops.matmul(ops.cast(probabilities, self.compute_dtype), value)
        context = ops.reshape(ops.transpose(context, (0, 2, 1, 3)), (-1, self.hidden_size))  # (B S, H)
        if training:
            output = ops.matmul(context, kernel_of(self.output_dense, context.dtype))
            output = add_bias(output, self.output_dense.bias)
        else:
            output = self.output_dense(context)
        return ops.reshape(output, (-1, length, self.hidden_size)), probabilities

    def project(self, hidden, scale=1.0, training=None):
        """(B, S, H) -> query · scale, key, value, each (B, N, S, D)."""
        split_heads, transpose = _split_heads(self.num_attention_heads, scale)
        if training:
            rows = ops.reshape(hidden, (-1, self.hidden_size))
            parts = ops.matmul(rows, kernel_of(self.qkv, hidden.dtype))
            parts = ops.reshape(parts, (-1, ops.shape(hidden)[1], 3 * self.hidden_size))
            return fused(split_heads, added=(1,), transpose=transpose)(parts, self.qkv.bias)
        return split_heads(self.qkv(hidden))

    def get_config(self):
        return super().get_config() | {
            "num_attention_heads": self.num_attention_heads,
            "hidden_size": self.hidden_size,
            "dropout_prob": self.dropout_prob,
            "initializer_range": self.initializer_range,
        }


@keras.saving.register_keras_serializable(package="bert_tf")
class RelativePositionBias(keras.layers.Layer):
    """A learned bias for each head and each bucket of distance key - query, both directions (T5, section 2.1).

    Half of the buckets are for keys after the query. In each half, distances below a half of it have a bucket each;
    larger ones share buckets of logarithmic width up to `max_distance`, beyond which all share the last.

    Call: length S -> (1, N, S, S) float32.
    """

    def __init__(self, num_attention_heads, num_buckets=32, max_distance=128, initializer_range=0.02, **kwargs):
        super().__init__(**kwargs)
        self.num_attention_heads = num_attention_heads
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.initializer_range = initializer_range

    def build(self, input_shape=None):
        self.embeddings = self.add_weight(
            shape=(self.num_buckets, self.num_attention_heads),
            initializer=truncated_normal(self.initializer_range),
            name="embeddings",
        )

    def buckets(self, length):
        """The (S, S) int32 bucket of each pair; row: query, column: key.

        With 8 buckets and max_distance 16 the row of query 0 begins 0 5 6 6 6 6 7 (key 0 is itself, keys after it
        are in buckets 4 to 7); the column of key 0 begins 0 1 2 2 2 2 3.
        """
        positions = ops.arange(length, dtype="int32")
        relative = positions[None, :] - positions[:, None]  # key - query
        half = self.num_buckets // 2
        exact = half // 2
        distance = ops.abs(relative)
        ratio = ops.cast(ops.maximum(distance, 1), "float32") / exact
        scale = (half - exact) / ops.log(ops.cast(self.max_distance / exact, "float32"))
        logarithmic = exact + ops.cast(ops.log(ratio) * scale, "int32")
        logarithmic = ops.minimum(logarithmic, half - 1)
        within = ops.where(distance < exact, distance, logarithmic)
        return within + ops.where(relative > 0, half, 0)

    def call(self, length):
        bias = ops.take(self.embeddings, self.buckets(length), axis=0)  # (S, S, N)
        return ops.cast(ops.transpose(bias, (2, 0, 1))[None], "float32")

    def get_config(self):
        return super().get_config() | {
            "num_attention_heads": self.num_attention_heads,
            "num_buckets": self.num_buckets,
            "max_distance": self.max_distance,
            "initializer_range": self.initializer_range,
        }
