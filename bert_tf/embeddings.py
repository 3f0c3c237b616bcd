"""The input of the encoder: word + position + segment vectors, normalised.

Follows Devlin et al. 2018, figure 2 (`embedding_postprocessor` in google-research/bert `modeling.py`); sinusoidal
positions follow Vaswani et al. 2017, section 3.5. Shapes: B batch, S sequence, H hidden.
"""

import functools

import keras
import numpy as np
from keras import ops

from bert_tf.dropout import Dropout, drop
from bert_tf.errors import InputError
from bert_tf.fused import fused


def truncated_normal(initializer_range):
    """A fresh initializer: one instance shared by two layers would give both the same numbers."""
    return keras.initializers.TruncatedNormal(stddev=initializer_range)


def sinusoids(length, hidden_size):
    """The (length, hidden_size) float32 table sin(pos / 10000^(2i/H)) on even columns, cos of the same on odd ones.

    >>> sinusoids(2, 4).round(4).tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.8414999961853027, 0.5403000116348267, 0.009999999776482582, 0.9998999834060669]]
    """
    positions = np.arange(length, dtype=np.float64)[:, None]
    wavelengths = 10000.0 ** (np.arange(0, hidden_size, 2, dtype=np.float64) / hidden_size)
    table = np.empty((length, hidden_size))
    table[:, 0::2] = np.sin(positions / wavelengths)
    table[:, 1::2] = np.cos(positions / wavelengths)
    return table.astype(np.float32)


@keras.saving.register_keras_serializable(package="bert_tf")
class LearnedPositions(keras.layers.Layer):
    """One learned vector a position; returns the first S of them, (S, H), or those of positions (B, S), (B, S, H)."""

    def __init__(self, max_position_embeddings, hidden_size, initializer_range=0.02, **kwargs):
        super().__init__(**kwargs)
        self.max_position_embeddings = max_position_embeddings
        self.hidden_size = hidden_size
        self.initializer_range = initializer_range

    def build(self, input_shape=None):
        self.embeddings = self.add_weight(
            shape=(self.max_position_embeddings, self.hidden_size),
            initializer=truncated_normal(self.initializer_range),
            name="embeddings",
        )

    def call(self, length, positions=None):
        if positions is not None:
            return ops.take(self.embeddings, positions, axis=0)
        return ops.convert_to_tensor(self.embeddings)[:length]

    def get_config(self):
        return super().get_config() | {
            "max_position_embeddings": self.max_position_embeddings,
            "hidden_size": self.hidden_size,
            "initializer_range": self.initializer_range,
        }


def padded_size(vocab_size, multiple_of):
    """Rows for a vocabulary, padded.

    >>> padded_size(61, 64), padded_size(64, 64), padded_size(61, 1)
    (64, 64, 61)
    """
    return -(-vocab_size // multiple_of) * multiple_of


@keras.saving.register_keras_serializable(package="bert_tf")
class WordVectors(keras.initializers.Initializer):
    """Truncated normal vectors for the words, 0 in the rows of padding behind them.

    No id looks a row of padding up and the MLM head cuts its score off: its gradient is 0, and it stays 0.
    """

    def __init__(self, vocab_size, initializer_range):
        self.vocab_size = vocab_size
        self.initializer_range = initializer_range
        self._words = truncated_normal(initializer_range)

    def __call__(self, shape, dtype=None):
        words = self._words((self.vocab_size, shape[1]), dtype)
        return ops.pad(words, ((0, shape[0] - self.vocab_size), (0, 0)))

    def get_config(self):
        return {"vocab_size": self.vocab_size, "initializer_range": self.initializer_range}


@functools.cache
def _norm_dropout(epsilon, rate):
    """The function (hidden (B, S, H), gamma, beta, seed where rate > 0) -> dropout(LayerNorm), computed in float32."""

    def norm_dropout(hidden, gamma, beta, *seeds):
        normal = ops.layer_normalization(ops.cast(hidden, "float32"), gamma, beta, axis=-1, epsilon=epsilon)
        return ops.cast(drop(normal, *seeds, rate) if seeds else normal, hidden.dtype)

    return norm_dropout


@keras.saving.register_keras_serializable(package="bert_tf")
class BertEmbeddings(keras.layers.Layer):
    """Sums the word, position and segment vectors, then LayerNorm and dropout.

    Args:
        position_embedding_type: "absolute" (learned), "sinusoidal", or "relative" (none here: the encoder adds a bias).
        pad_vocab_size_multiple_of: the word embeddings get rows of padding until their number is a multiple of this.

    Call: input_ids (B, S) int, token_type_ids (B, S) int, positions (B, S) int where rows hold several sequences ->
        (B, S, H) in the compute dtype.

    Raises:
        InputError: a sequence longer than `max_position_embeddings` (the bias of "relative" has no such limit).
    """

    def __init__(
        self,
        vocab_size,
        hidden_size,
        max_position_embeddings=512,
        type_vocab_size=2,
        hidden_dropout_prob=0.1,
        initializer_range=0.02,
        layer_norm_eps=1e-12,
        position_embedding_type="absolute",
        pad_vocab_size_multiple_of=1,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)  # the weights of the LayerNorm stay float32
        # 1. layers
        self.word_embeddings = keras.layers.Embedding(
            padded_size(vocab_size, pad_vocab_size_multiple_of),
            hidden_size,
            embeddings_initializer=WordVectors(vocab_size, initializer_range),
            dtype=self.dtype_policy,
            name="word_embeddings",
        )
        self.position_embeddings = None
        if position_embedding_type == "absolute":
            self.position_embeddings = LearnedPositions(
                max_position_embeddings,
                hidden_size,
                initializer_range,
                dtype=self.dtype_policy,
                name="position_embeddings",
            )
        self.token_type_embeddings = keras.layers.Embedding(
            type_vocab_size,
            hidden_size,
            embeddings_initializer=truncated_normal(initializer_range),
            dtype=self.dtype_policy,
            name="token_type_embeddings",
        )
        self.layer_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_eps, dtype=self.dtype_policy, name="layer_norm"
        )
        self.dropout = Dropout(hidden_dropout_prob, dtype=self.dtype_policy, name="dropout")

        # 2. config
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.hidden_dropout_prob = hidden_dropout_prob
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.position_embedding_type = position_embedding_type
        self.pad_vocab_size_multiple_of = pad_vocab_size_multiple_of
        self._sinusoids = None
        if position_embedding_type == "sinusoidal":
            self._sinusoids = sinusoids(max_position_embeddings, hidden_size)

    def build(self, input_shape=None):
        self.word_embeddings.build((None, None))
        self.token_type_embeddings.build((None, None))
        if self.position_embeddings is not None:
            self.position_embeddings.build()
        self.layer_norm.build((None, None, self.hidden_size))

    def call(self, input_ids, token_type_ids, positions=None, training=None):
        length = ops.shape(input_ids)[1]
        limited = self.position_embedding_type != "relative"
        if limited and isinstance(length, int) and length > self.max_position_embeddings:
            raise InputError(
                f"a sequence of {length} tokens is longer than max_position_embeddings "
                f"{self.max_position_embeddings}; cut it (max_length of the tokenizer) or take a model with more"
            )
        hidden = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)  # (B, S, H)
        if self.position_embeddings is not None:
            hidden = hidden + self.position_embeddings(length=length, positions=positions)  # (S, H) over every row
        elif self._sinusoids is not None:
            table = ops.cast(self._sinusoids, self.compute_dtype)
            hidden = hidden + (table[:length] if positions is None else ops.take(table, positions, axis=0))
        function = _norm_dropout(self.layer_norm.epsilon, self.dropout.rate)
        if training:
            function = fused(function)
        return function(hidden, self.layer_norm.gamma, self.layer_norm.beta, *self.dropout.seeds(training))

    def get_config(self):
        return super().get_config() | {
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "max_position_embeddings": self.max_position_embeddings,
            "type_vocab_size": self.type_vocab_size,
            "hidden_dropout_prob": self.hidden_dropout_prob,
            "initializer_range": self.initializer_range,
            "layer_norm_eps": self.layer_norm_eps,
            "position_embedding_type": self.position_embedding_type,
            "pad_vocab_size_multiple_of": self.pad_vocab_size_multiple_of,
        }
