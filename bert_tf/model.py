"""BertModel: embeddings, encoder blocks and pooler (Devlin et al. 2018; `BertModel` in google-research/bert).

Shapes: B batch, S sequence, H hidden, N heads, L layers.
"""

import keras
from keras import ops

from bert_tf.attention import MASKED_SCORE, RelativePositionBias
from bert_tf.embeddings import BertEmbeddings, truncated_normal
from bert_tf.encoder import EncoderBlock
from bert_tf.errors import InputError
from bert_tf.inputs import read_inputs
from bert_tf.packing import sequences_and_positions
from bert_tf.pretrained import Place, PretrainedModel, dense_places, layer_norm_places


@keras.saving.register_keras_serializable(package="bert_tf")
class BertModel(PretrainedModel):
    """The BERT encoder with its pooler.

    Args:
        config: a `BertConfig`.
        add_pooling_layer: False leaves the pooler out (heads that read every token have no use for it).
        pad_vocab_size_multiple_of: rows of zeros pad the word embeddings to a multiple of this many. They change no
            output and no gradient, and no directory that is saved has them.
        dtype: a Keras dtype policy ("float32", "mixed_bfloat16", …); default: the global policy.

    Call: a dictionary of integer arrays (B, S): `input_ids`; `attention_mask`, 1 where a token may be seen (default:
    everywhere); `token_type_ids`, the segment of each token (default: 0); and for rows that hold several sequences
    `sequence_starts` (B, K), as `bert_tf.pack` makes it. Optional `output_hidden_states`, `output_attentions`.
    Returns a dictionary, in the compute dtype:
        last_hidden_state  (B, S, H)
        pooler_output      (B, H), tanh of a dense layer on the first token; unless `add_pooling_layer=False`. With
                           `sequence_starts` (B, K, H), on that of each sequence; worthless where there is none
        hidden_states      L + 1 of (B, S, H), the embeddings first; when asked for
        attentions         L of (B, N, S, S) float32, before dropout; when asked for

    Raises:
        InputError: an id outside the vocabulary or the segments (checked wherever the values are at hand, that is
            outside compiled functions), a sequence beyond `max_position_embeddings`, an unknown or missing input.
    """

    def __init__(self, config, *, add_pooling_layer=True, pad_vocab_size_multiple_of=1, dtype=None, name="bert"):
        super().__init__(
            config,
            dtype=dtype,
            name=name,
            add_pooling_layer=add_pooling_layer,
            pad_vocab_size_multiple_of=pad_vocab_size_multiple_of,
        )
        if not isinstance(pad_vocab_size_multiple_of, int) or pad_vocab_size_multiple_of < 1:
            raise InputError(
                f"pad_vocab_size_multiple_of must be an integer of at least 1, got {pad_vocab_size_multiple_of!r}"
            )
        # 1. layers
        self.embeddings = BertEmbeddings(
            config.vocab_size,
            config.hidden_size,
            config.max_position_embeddings,
            config.type_vocab_size,
            config.hidden_dropout_prob,
            config.initializer_range,
            config.layer_norm_eps,
            config.position_embedding_type,
            pad_vocab_size_multiple_of,
            dtype=self.dtype_policy,
            name="embeddings",
        )
        self.relative_bias = None
        if config.position_embedding_type == "relative":
            self.relative_bias = RelativePositionBias(
                config.num_attention_heads,
                config.relative_attention_num_buckets,
                config.relative_attention_max_distance,
                config.initializer_range,
                dtype=self.dtype_policy,
                name="relative_bias",
            )
        self.blocks = [
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
                name=f"layer_{index}",
            )
            for index in range(config.num_hidden_layers)
        ]
        self.pooler = None
        if add_pooling_layer:
            self.pooler = keras.layers.Dense(
                config.hidden_size,
                activation="tanh",
                kernel_initializer=truncated_normal(config.initializer_range),
                dtype=self.dtype_policy,
                name="pooler",
            )

        # 2. weights, so that they are there from the start
        self.build()

    def build(self, input_shape=None):
        self.embeddings.build()
        if self.relative_bias is not None:
            self.relative_bias.build()
        for block in self.blocks:
            block.build()
        if self.pooler is not None:
            self.pooler.build((None, self.config.hidden_size))

    def call(self, inputs, training=None, output_hidden_states=False, output_attentions=False):
        input_ids, attention_mask, token_type_ids, sequence_starts = read_inputs(
            inputs, self.config.vocab_size, self.config.type_vocab_size
        )
        length = ops.shape(input_ids)[1]
        visible, positions = ops.cast(attention_mask, "float32")[:, None, None, :], None  # (B, 1, 1, S)
        if sequence_starts is not None:
            sequences, positions = sequences_and_positions(sequence_starts, length)  # (B, S)
            same = ops.equal(sequences[:, None, :, None], sequences[:, None, None, :])
            visible = visible * ops.cast(same, "float32")  # (B, 1, S, S)
        bias = (1.0 - visible) * MASKED_SCORE
        if self.relative_bias is not None:
            bias = bias + self.relative_bias(length=length)  # (B, N, S, S)

        hidden = self.embeddings(input_ids, token_type_ids, positions, training=training)  # (B, S, H)
        hidden_states, attentions = [hidden], []
        for block in self.blocks:
            hidden, probabilities = block(hidden, bias, training=training)
            hidden_states.append(hidden)
            attentions.append(probabilities)

        outputs = {"last_hidden_state": hidden}
        if self.pooler is not None:
            first = hidden[:, 0]  # (B, H)
            if sequence_starts is not None:
                places = ops.minimum(ops.cast(sequence_starts, "int32"), length - 1)
                first = ops.take_along_axis(hidden, places[:, :, None], axis=1)  # (B, K, H)
            outputs["pooler_output"] = self.pooler(first)
        if output_hidden_states:
            outputs["hidden_states"] = tuple(hidden_states)
        if output_attentions:
            outputs["attentions"] = tuple(attentions)
        return outputs

    def weight_table(self):
        table = {
            "embeddings.word_embeddings.weight": Place(
                self.embeddings.word_embeddings.embeddings, rows=self.config.vocab_size
            ),
            "embeddings.token_type_embeddings.weight": Place(self.embeddings.token_type_embeddings.embeddings),
        }
        if self.embeddings.position_embeddings is not None:
            table["embeddings.position_embeddings.weight"] = Place(self.embeddings.position_embeddings.embeddings)
        if self.relative_bias is not None:
            table["encoder.relative_attention_bias.weight"] = Place(self.relative_bias.embeddings)
        table |= layer_norm_places("embeddings.LayerNorm", self.embeddings.layer_norm)
        for index, block in enumerate(self.blocks):
            table |= block_places(f"encoder.layer.{index}", block)
        if self.pooler is not None:
            table |= dense_places("pooler.dense", self.pooler)
        return table


def block_places(name, block):
    """The tensors of an `EncoderBlock`, below the name of its layer."""
    table = {}
    for third, part in enumerate(("query", "key", "value")):
        table[f"{name}.attention.self.{part}.weight"] = Place(block.attention.qkv.kernel, transposed=True, third=third)
        table[f"{name}.attention.self.{part}.bias"] = Place(block.attention.qkv.bias, third=third)
    table |= dense_places(f"{name}.attention.output.dense", block.attention.output_dense)
    table |= layer_norm_places(f"{name}.attention.output.LayerNorm", block.attention_layer_norm)
    table |= dense_places(f"{name}.intermediate.dense", block.feed_forward.intermediate)
    table |= dense_places(f"{name}.output.dense", block.feed_forward.output_dense)
    return table | layer_norm_places(f"{name}.output.LayerNorm", block.feed_forward_layer_norm)
