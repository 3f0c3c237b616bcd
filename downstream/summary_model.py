"""BertForExtractiveSummarization: which sentences of a document belong in its summary.

Follows BERTSUM (Liu 2019, arXiv 1903.10318, section 2.2, "inter-sentence Transformer"); its layers are BERT's own
blocks, with LayerNorm after the residual. Shapes: B batch, S sequence, H hidden, N heads.
"""

import keras
from keras import ops

from bert_tf.attention import MASKED_SCORE
from bert_tf.embeddings import truncated_normal
from bert_tf.encoder import EncoderBlock
from bert_tf.errors import InputError
from bert_tf.model import BertModel, block_places
from bert_tf.pretrained import PretrainedModel, dense_places


@keras.saving.register_keras_serializable(package="bert_tf")
class BertForExtractiveSummarization(PretrainedModel):
    """BERT on [CLS] sentence [SEP] [CLS] sentence [SEP] …, and layers in which the [CLS] of all sentences meet.

    Each token that is the same as the first of its row is the [CLS] of a sentence. To its hidden state the sinusoidal
    position of the sentence in the row is added; then come the layers, in which [CLS] tokens alone are seen, and a
    dense layer whose sigmoid is the probability that the sentence belongs in the summary.

    Args:
        config: a `BertConfig`.
        num_summary_layers: layers between sentences (2 in BERTSUM).

    Call: the inputs of `BertModel`. Returns {"logits": (B, S)}, which mean something at the [CLS] tokens.

    Raises:
        InputError: a number of layers below 0.
    """

    def __init__(self, config, *, num_summary_layers=2, dtype=None, name="bert_for_extractive_summarization"):
        if not isinstance(num_summary_layers, int) or num_summary_layers < 0:
            raise InputError(f"num_summary_layers must be an integer of at least 0, got {num_summary_layers!r}")
        super().__init__(config, dtype=dtype, name=name, num_summary_layers=num_summary_layers)
        self.bert = BertModel(config, add_pooling_layer=False, dtype=self.dtype_policy)
        self.summary_blocks = [
            EncoderBlock(
                config.hidden_size,
                config.num_attention_heads,
                config.intermediate_size,
                config.hidden_act,
                config.hidden_dropout_prob,
                config.attention_probs_dropout_prob,
                config.initializer_range,
                config.layer_norm_eps,
                dtype=self.dtype_policy,
                name=f"summary_layer_{index}",
            )
            for index in range(num_summary_layers)
        ]
        self.output_dense = keras.layers.Dense(
            1,
            kernel_initializer=truncated_normal(config.initializer_range),
            dtype=self.dtype_policy,
            name="summary_output",
        )
        self.build()

    def build(self, input_shape=None):
        for block in self.summary_blocks:
            block.build()
        self.output_dense.build((None, None, self.config.hidden_size))

    def call(self, inputs, training=None):
        hidden = self.bert(inputs, training=training)["last_hidden_state"]  # (B, S, H)
        ids = inputs["input_ids"]
        is_start = ops.cast(ops.equal(ids, ids[:, :1]), "float32")  # (B, S); padding is another token
        sentences = ops.cumsum(is_start, axis=1) - 1.0  # (B, S), the number of each token's sentence
        hidden = hidden + ops.cast(sinusoids(sentences, self.config.hidden_size), self.compute_dtype)
        bias = (1.0 - is_start)[:, None, None, :] * MASKED_SCORE  # (B, 1, 1, S)
        for block in self.summary_blocks:
            hidden, _ = block(hidden, bias, training=training)
        return {"logits": self.output_dense(hidden)[..., 0]}  # (B, S)

    def weight_table(self):
        table = {f"bert.{name}": place for name, place in self.bert.weight_table().items()}
        for index, block in enumerate(self.summary_blocks):
            table |= block_places(f"summarizer.layer.{index}", block)
        return table | dense_places("summarizer.output", self.output_dense)

    @staticmethod
    def write_head_settings(head_settings):
        return {"num_summary_layers": head_settings["num_summary_layers"]}

    @staticmethod
    def read_head_settings(values):
        return {"num_summary_layers": values.get("num_summary_layers", 2)}


def sinusoids(positions, width):
    """sin and cos of position / 10000^(2i / width), sines first (Vaswani et al. 2017, section 3.5): (…) -> (…, W)."""
    half = (width + 1) // 2
    frequencies = ops.exp(-ops.log(10000.0) * ops.arange(half, dtype="float32") * 2.0 / width)
    angles = positions[..., None] * frequencies
    return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)[..., :width]
