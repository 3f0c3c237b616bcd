"""The two heads of pretraining: masked language model and next sentence prediction.

Follows Devlin et al. 2018, section 3.1 (`get_masked_lm_output` and `get_next_sentence_output` in google-research/bert
`run_pretraining.py`). Shapes: B batch, S sequence, P masked positions, H hidden, V vocabulary.
"""

import keras
from keras import ops

from bert_tf.embeddings import padded_size, truncated_normal
from bert_tf.encoder import ACTIVATIONS
from bert_tf.fused import matmul_transposed
from bert_tf.model import BertModel
from bert_tf.pretrained import Place, PretrainedModel, dense_places, layer_norm_places


@keras.saving.register_keras_serializable(package="bert_tf")
class MaskedLMHead(keras.layers.Layer):
    """Dense, activation, LayerNorm, then the scores of all words with the word embeddings as the output kernel.

    Call: hidden (B, P, H); word_embeddings, the encoder's own (V and its rows of padding, H) -> logits (B, P, V). The
    scores of the padding are cut off: nothing that follows sees them, and their gradient is 0.
    """

    def __init__(
        self,
        vocab_size,
        hidden_size,
        hidden_act,
        initializer_range,
        layer_norm_eps,
        pad_vocab_size_multiple_of=1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # 1. layers
        self.dense = keras.layers.Dense(
            hidden_size,
            kernel_initializer=truncated_normal(initializer_range),
            dtype=self.dtype_policy,
            name="dense",
        )
        self.layer_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_eps, dtype=self.dtype_policy, name="layer_norm"
        )

        # 2. config
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.hidden_act = hidden_act
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.pad_vocab_size_multiple_of = pad_vocab_size_multiple_of

    def build(self, input_shape=None):
        self.dense.build((None, None, self.hidden_size))
        self.layer_norm.build((None, None, self.hidden_size))
        rows = padded_size(self.vocab_size, self.pad_vocab_size_multiple_of)
        self.output_bias = self.add_weight(shape=(rows,), initializer="zeros", name="output_bias")

    def call(self, hidden, word_embeddings):
        hidden = self.layer_norm(ACTIVATIONS[self.hidden_act](self.dense(hidden)))
        rows = ops.reshape(hidden, (-1, self.hidden_size))  # as one product, (B P, H) · (H, V and padding)
        logits = matmul_transposed(rows, ops.cast(word_embeddings, self.compute_dtype))
        logits = ops.add(logits, ops.cast(self.output_bias, self.compute_dtype))  # what oneDNN joins to the product
        logits = ops.reshape(logits, (-1, ops.shape(hidden)[1], logits.shape[-1]))
        return logits if self.vocab_size == logits.shape[-1] else logits[..., : self.vocab_size]

    def get_config(self):
        return super().get_config() | {
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "hidden_act": self.hidden_act,
            "initializer_range": self.initializer_range,
            "layer_norm_eps": self.layer_norm_eps,
            "pad_vocab_size_multiple_of": self.pad_vocab_size_multiple_of,
        }


class _PretrainingModel(PretrainedModel):
    """An encoder with those of the two heads that are asked for; the NSP head reads the pooler."""

    def __init__(self, config, *, masked_lm, next_sentence, dtype, name, **settings):
        super().__init__(config, dtype=dtype, name=name, **settings)
        self.bert = BertModel(config, add_pooling_layer=next_sentence, dtype=self.dtype_policy, **settings)
        self.masked_lm = None
        if masked_lm:
            self.masked_lm = MaskedLMHead(
                config.vocab_size,
                config.hidden_size,
                config.hidden_act,
                config.initializer_range,
                config.layer_norm_eps,
                **settings,
                dtype=self.dtype_policy,
                name="masked_lm",
            )
        self.next_sentence = None
        if next_sentence:
            self.next_sentence = keras.layers.Dense(
                2,
                kernel_initializer=truncated_normal(config.initializer_range),
                dtype=self.dtype_policy,
                name="next_sentence",
            )
        self.build()

    def build(self, input_shape=None):
        if self.masked_lm is not None:
            self.masked_lm.build()
        if self.next_sentence is not None:
            self.next_sentence.build((None, self.config.hidden_size))

    def call(self, inputs, training=None):
        positions = None
        if self.masked_lm is not None and isinstance(inputs, dict) and "masked_lm_positions" in inputs:
            inputs = dict(inputs)
            positions = inputs.pop("masked_lm_positions")
        encoded = self.bert(inputs, training=training)
        outputs = {}
        if self.masked_lm is not None:
            hidden = encoded["last_hidden_state"]  # (B, S, H)
            if positions is not None:
                hidden = ops.take_along_axis(hidden, positions[:, :, None], axis=1)  # (B, P, H)
            word_embeddings = self.bert.embeddings.word_embeddings.embeddings
            outputs["prediction_logits"] = self.masked_lm(hidden, word_embeddings)
        if self.next_sentence is not None:
            outputs["seq_relationship_logits"] = self.next_sentence(encoded["pooler_output"])
        return outputs

    def weight_table(self):
        table = {f"bert.{name}": place for name, place in self.bert.weight_table().items()}
        if self.masked_lm is not None:
            table["cls.predictions.bias"] = Place(self.masked_lm.output_bias, rows=self.config.vocab_size)
            table |= dense_places("cls.predictions.transform.dense", self.masked_lm.dense)
            table |= layer_norm_places("cls.predictions.transform.LayerNorm", self.masked_lm.layer_norm)
        if self.next_sentence is not None:
            table |= dense_places("cls.seq_relationship", self.next_sentence)
        return table


@keras.saving.register_keras_serializable(package="bert_tf")
class BertForPreTraining(_PretrainingModel):
    """BERT with both heads of pretraining.

    Args:
        config: a `BertConfig`.
        pad_vocab_size_multiple_of: as `BertModel`; a multiple of 64 lets the MLM head's matrix product use whole tiles.

    Call: the inputs of `BertModel` and, optionally, `masked_lm_positions` (B, P) int. Returns a dictionary:
        prediction_logits        (B, P, V); without positions (B, S, V), at every token
        seq_relationship_logits  (B, 2): 0 = B follows A, 1 = B is random
    """

    def __init__(self, config, *, pad_vocab_size_multiple_of=1, dtype=None, name="bert_for_pretraining"):
        super().__init__(
            config,
            masked_lm=True,
            next_sentence=True,
            dtype=dtype,
            name=name,
            pad_vocab_size_multiple_of=pad_vocab_size_multiple_of,
        )


@keras.saving.register_keras_serializable(package="bert_tf")
class BertForMaskedLM(_PretrainingModel):
    """BERT with the MLM head alone, without pooler; made and called as `BertForPreTraining`.

    Returns {"prediction_logits": (B, P, V)}.
    """

    def __init__(self, config, *, pad_vocab_size_multiple_of=1, dtype=None, name="bert_for_masked_lm"):
        super().__init__(
            config,
            masked_lm=True,
            next_sentence=False,
            dtype=dtype,
            name=name,
            pad_vocab_size_multiple_of=pad_vocab_size_multiple_of,
        )


@keras.saving.register_keras_serializable(package="bert_tf")
class BertForNextSentencePrediction(_PretrainingModel):
    """BERT with the NSP head alone, on the pooled first token.

    Call: the inputs of `BertModel`. Returns {"seq_relationship_logits": (B, 2)}: 0 = B follows A, 1 = B is random.
    """

    def __init__(self, config, *, dtype=None, name="bert_for_next_sentence_prediction"):
        super().__init__(config, masked_lm=False, next_sentence=True, dtype=dtype, name=name)
