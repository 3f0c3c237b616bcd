"""One encoder block: self-attention and feed-forward, each with dropout, residual and LayerNorm after it.

Follows `transformer_model` in google-research/bert `modeling.py`. Shapes: B batch, S sequence, H hidden,
I intermediate.
"""

import functools

import keras
from keras import ops

from bert_tf.attention import MultiHeadAttention, kernel_of
from bert_tf.dropout import Dropout, drop
from bert_tf.embeddings import truncated_normal
from bert_tf.fused import add_bias, fused_product, fused_with_gradient
from bert_tf.reductions import row_sums, sum_of_rows

# The activations by their names in config.json. "gelu" is exact, x Φ(x) with erf, as in Hugging Face; "gelu_new" is the
# tanh form that google-research/bert computes. The checkpoint's config decides between them.
ACTIVATIONS = {
    "gelu": lambda x: 0.5 * x * (1.0 + ops.erf(x * 0.5**0.5)),
    "gelu_new": lambda x: ops.gelu(x, approximate=True),
    "relu": ops.relu,
    "silu": ops.silu,
    "tanh": ops.tanh,
}


@functools.cache
def _activation(name):
    """The function (x (…, I), and a bias (I,)) -> activation(x + bias), computed in float32."""

    def activation(x, *bias):
        wide = ops.cast(x, "float32")
        return ops.cast(ACTIVATIONS[name](wide + ops.cast(bias[0], "float32") if bias else wide), x.dtype)

    return activation


@keras.saving.register_keras_serializable(package="bert_tf")
class FeedForward(keras.layers.Layer):
    """hidden (B, S, H) -> (B, S, I), activation -> (B, S, H)."""

    def __init__(self, hidden_size, intermediate_size, hidden_act="gelu", initializer_range=0.02, **kwargs):
        super().__init__(**kwargs)
        # 1. layers
        self.intermediate = keras.layers.Dense(
            intermediate_size,
            kernel_initializer=truncated_normal(initializer_range),
            dtype=self.dtype_policy,
            name="intermediate",
        )
        self.output_dense = keras.layers.Dense(
            hidden_size,
            kernel_initializer=truncated_normal(initializer_range),
            dtype=self.dtype_policy,
            name="output_dense",
        )

        # 2. config
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.initializer_range = initializer_range

    def build(self, input_shape=None):
        self.intermediate.build((None, None, self.hidden_size))
        self.output_dense.build((None, None, self.intermediate_size))

    def call(self, hidden, training=None):
        activation = _activation(self.hidden_act)
        if not training:
            return self.output_dense(activation(self.intermediate(hidden)))
        rows = ops.reshape(hidden, (-1, self.hidden_size))
        expanded = ops.matmul(rows, kernel_of(self.intermediate, rows.dtype))  # (B S, I)
        kernel = kernel_of(self.output_dense, rows.dtype)
        output = fused_product(activation, added=(1,))(kernel, expanded, self.intermediate.bias)
        return ops.reshape(add_bias(output, self.output_dense.bias), ops.shape(hidden))

    def get_config(self):
        return super().get_config() | {
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "hidden_act": self.hidden_act,
            "initializer_range": self.initializer_range,
        }


def residual_norm(x, residual, dropout, layer_norm, training):
    """layer_norm(residual + dropout(x)), all (B, S, H) in the compute dtype; computed in float32."""
    function, forward, backward = _residual_norm(dropout.rate, layer_norm.epsilon)
    if training:
        function = fused_with_gradient(function, forward, backward)
    return function(x, residual, layer_norm.gamma, layer_norm.beta, *dropout.seeds(training))


@functools.cache
def _residual_norm(rate, epsilon):
    """The functions of `fused_with_gradient` for LayerNorm(residual + dropout(x)).

    They take x, residual (…, H), gamma, beta (H,), and a seed where rate > 0. What is kept of a row is its mean and
    1 / √(variance + ε), (…, 1) float32 each.
    """

    def residual_norm(x, residual, gamma, beta, *seeds):
        normal = ops.layer_normalization(added(x, residual, seeds), gamma, beta, axis=-1, epsilon=epsilon)
        return ops.cast(normal, x.dtype)

    def forward(x, residual, gamma, beta, *seeds):
        total = added(x, residual, seeds)
        mean = row_sums(total) / x.shape[-1]
        scale = ops.rsqrt(row_sums(ops.square(total - mean)) / x.shape[-1] + epsilon)
        return ops.cast((total - mean) * scale * gamma + beta, x.dtype), (mean, scale)

    def backward(upstream, kept, x, residual, gamma, beta, *seeds):
        mean, scale = kept
        total, wide = added(x, residual, seeds), ops.cast(upstream, "float32")
        of_normal = wide * gamma
        shift = scale * row_sums(of_normal) / x.shape[-1]
        slope = scale**3 * row_sums(of_normal * (total - mean)) / x.shape[-1]
        of_total = of_normal * scale - (shift - mean * slope) - total * slope
        of_x = drop(of_total, *seeds, rate) if seeds else of_total
        of_gamma, of_beta = sum_of_rows(wide * ((total - mean) * scale)), sum_of_rows(wide)
        gradients = of_x, of_total, of_gamma, of_beta
        return tuple(ops.cast(one, like.dtype) for one, like in zip(gradients, (x, residual, gamma, beta), strict=True))

    def added(x, residual, seeds):
        x = ops.cast(x, "float32")
        return ops.cast(residual, "float32") + (drop(x, *seeds, rate) if seeds else x)

    return residual_norm, forward, backward


@keras.saving.register_keras_serializable(package="bert_tf")
class EncoderBlock(keras.layers.Layer):
    """One layer of the encoder.

    Call: hidden (B, S, H) in the compute dtype; bias float32, broadcastable to (B, N, S, S) ->
        hidden (B, S, H), attention probabilities (B, N, S, S) float32.
    """

    def __init__(
        self,
        hidden_size,
        num_attention_heads,
        intermediate_size,
        hidden_act="gelu",
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        initializer_range=0.02,
        layer_norm_eps=1e-12,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)  # the bias stays float32, as in MultiHeadAttention
        # 1. layers
        self.attention = MultiHeadAttention(
            num_attention_heads,
            hidden_size,
            attention_probs_dropout_prob,
            initializer_range,
            dtype=self.dtype_policy,
            name="attention",
        )
        self.attention_dropout = Dropout(hidden_dropout_prob, dtype=self.dtype_policy, name="attention_dropout")
        self.attention_layer_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_eps, dtype=self.dtype_policy, name="attention_layer_norm"
        )
        self.feed_forward = FeedForward(
            hidden_size, intermediate_size, hidden_act, initializer_range, dtype=self.dtype_policy, name="feed_forward"
        )
        self.feed_forward_dropout = Dropout(hidden_dropout_prob, dtype=self.dtype_policy, name="feed_forward_dropout")
        self.feed_forward_layer_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_eps, dtype=self.dtype_policy, name="feed_forward_layer_norm"
        )

        # 2. config
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps

    def build(self, input_shape=None):
        self.attention.build()
        self.attention_layer_norm.build((None, None, self.hidden_size))
        self.feed_forward.build()
        self.feed_forward_layer_norm.build((None, None, self.hidden_size))

    def call(self, hidden, bias, training=None):
        attended, probabilities = self.attention(hidden, bias, training=training)
        hidden = residual_norm(
            attended,
            hidden,
            self.attention_dropout,
            self.attention_layer_norm,
            training,
        )
        expanded = self.feed_forward(hidden, training=training)
        hidden = residual_norm(
            expanded,
            hidden,
            self.feed_forward_dropout,
            self.feed_forward_layer_norm,
            training,
        )
        return hidden, probabilities

    def get_config(self):
        return super().get_config() | {
            "hidden_size": self.hidden_size,
            "num_attention_heads": self.num_attention_heads,
            "intermediate_size": self.intermediate_size,
            "hidden_act": self.hidden_act,
            "hidden_dropout_prob": self.hidden_dropout_prob,
            "attention_probs_dropout_prob": self.attention_probs_dropout_prob,
            "initializer_range": self.initializer_range,
            "layer_norm_eps": self.layer_norm_eps,
        }
