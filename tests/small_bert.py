"""A small BERT for tests: sizes that all differ, random parameters everywhere, ragged batches.

Parameters are made by Hugging Face name in PyTorch's orientation, for the NumPy BERT; `layout` says, independently of
the package's own table, which Keras variable holds which of them.
"""

import ml_dtypes
import numpy as np

from bert_tf import BertConfig

# Batch 5, sequence 11, predictions 7, head size 6 complete the list: no two sizes are equal, so that no mistaken axis
# goes unseen; hidden 24 leaves LayerNorm something to normalise.
SIZES = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 19,
    "type_vocab_size": 2,
    "relative_attention_num_buckets": 12,
    "relative_attention_max_distance": 9,
}
BATCH, LENGTH, PREDICTIONS = 5, 11, 7
VISIBLE = (11, 4, 9, 1, 6)  # real tokens of each row


def small_config(**changes):
    return BertConfig(**(SIZES | changes))


def batch(config, seed=0):
    """A dictionary of int32 (5, 11) arrays: random ids and segments, each row padded on the right to another length."""
    rng = np.random.default_rng(seed)
    mask = (np.arange(LENGTH) < np.array(VISIBLE)[:, None]).astype("int32")
    return {
        "input_ids": rng.integers(0, config.vocab_size, (BATCH, LENGTH), dtype="int32"),
        "attention_mask": mask,
        "token_type_ids": rng.integers(0, config.type_vocab_size, (BATCH, LENGTH), dtype="int32"),
    }


def parameters(config, seed=1, kernel_std=0.2):
    """{Hugging Face name: float64 array} for the encoder with pooler and both pretraining heads.

    The values are float32 numbers, so that a model can hold them without rounding; kernels are large enough for
    attention to be far from uniform, and no bias, gamma or beta keeps its initial 0 or 1.
    """
    rng = np.random.default_rng(seed)
    hidden, inner = config.hidden_size, config.intermediate_size
    p = {}

    def normal(name, *shape, mean=0.0, std=0.2):
        p[name] = (mean + std * rng.standard_normal(shape)).astype("float32").astype("float64")

    def dense(name, out, into):
        normal(f"{name}.weight", out, into, std=kernel_std)
        normal(f"{name}.bias", out, std=kernel_std)

    def layer_norm(name):
        normal(f"{name}.weight", hidden, mean=1.0)
        normal(f"{name}.bias", hidden)

    normal("embeddings.word_embeddings.weight", config.vocab_size, hidden, std=0.7)
    normal("embeddings.token_type_embeddings.weight", config.type_vocab_size, hidden, std=0.5)
    if config.position_embedding_type == "absolute":
        normal("embeddings.position_embeddings.weight", config.max_position_embeddings, hidden, std=0.5)
    if config.position_embedding_type == "relative":
        buckets = config.relative_attention_num_buckets
        normal("encoder.relative_attention_bias.weight", buckets, config.num_attention_heads, std=0.9)
    layer_norm("embeddings.LayerNorm")
    for index in range(config.num_hidden_layers):
        name = f"encoder.layer.{index}"
        for part in ("query", "key", "value"):
            dense(f"{name}.attention.self.{part}", hidden, hidden)
        dense(f"{name}.attention.output.dense", hidden, hidden)
        layer_norm(f"{name}.attention.output.LayerNorm")
        dense(f"{name}.intermediate.dense", inner, hidden)
        dense(f"{name}.output.dense", hidden, inner)
        layer_norm(f"{name}.output.LayerNorm")
    dense("pooler.dense", hidden, hidden)
    dense("cls.predictions.transform.dense", hidden, hidden)
    layer_norm("cls.predictions.transform.LayerNorm")
    normal("cls.predictions.bias", config.vocab_size)
    dense("cls.seq_relationship", 2, hidden)
    return p


def bfloat16_parameters(config):
    """Parameters that bfloat16 holds exactly, so that a comparison sees the arithmetic alone.

    Kernels act as BERT-base's do: 0.1 √24 = 0.49, there 0.02 √768 = 0.55.
    """
    p = parameters(config, kernel_std=0.1)
    return {name: value.astype(ml_dtypes.bfloat16).astype("float64") for name, value in p.items()}


# Which Keras variable holds what: {path below the layer: value}. It serves parameters and gradients alike.


def dense_layout(p, name, path):
    return {f"{path}kernel": p[f"{name}.weight"].T, f"{path}bias": p[f"{name}.bias"]}


def layer_norm_layout(p, name, path):
    return {f"{path}gamma": p[f"{name}.weight"], f"{path}beta": p[f"{name}.bias"]}


def attention_layout(p, name, path=""):
    parts = [f"{name}.self.{part}" for part in ("query", "key", "value")]
    return {
        f"{path}qkv/kernel": np.concatenate([p[f"{part}.weight"].T for part in parts], axis=1),
        f"{path}qkv/bias": np.concatenate([p[f"{part}.bias"] for part in parts]),
    } | dense_layout(p, f"{name}.output.dense", f"{path}output_dense/")


def feed_forward_layout(p, name, path=""):
    inner = dense_layout(p, f"{name}.intermediate.dense", f"{path}intermediate/")
    return inner | dense_layout(p, f"{name}.output.dense", f"{path}output_dense/")


def block_layout(p, name, path=""):
    return (
        attention_layout(p, f"{name}.attention", f"{path}attention/")
        | layer_norm_layout(p, f"{name}.attention.output.LayerNorm", f"{path}attention_layer_norm/")
        | feed_forward_layout(p, name, f"{path}feed_forward/")
        | layer_norm_layout(p, f"{name}.output.LayerNorm", f"{path}feed_forward_layer_norm/")
    )


def embeddings_layout(p, path=""):
    parts = [part for part in ("word", "position", "token_type") if f"embeddings.{part}_embeddings.weight" in p]
    tables = {f"{path}{part}_embeddings/embeddings": p[f"embeddings.{part}_embeddings.weight"] for part in parts}
    return tables | layer_norm_layout(p, "embeddings.LayerNorm", f"{path}layer_norm/")


def encoder_layout(p, config, path=""):
    values = embeddings_layout(p, f"{path}embeddings/")
    if config.position_embedding_type == "relative":
        values[f"{path}relative_bias/embeddings"] = p["encoder.relative_attention_bias.weight"]
    for index in range(config.num_hidden_layers):
        values |= block_layout(p, f"encoder.layer.{index}", f"{path}layer_{index}/")
    return values | dense_layout(p, "pooler.dense", f"{path}pooler/")


def pretraining_layout(p, config):
    """`BertForPreTraining`: the encoder below `bert`, and the two heads."""
    return (
        encoder_layout(p, config, "bert/")
        | dense_layout(p, "cls.predictions.transform.dense", "masked_lm/dense/")
        | layer_norm_layout(p, "cls.predictions.transform.LayerNorm", "masked_lm/layer_norm/")
        | {"masked_lm/output_bias": p["cls.predictions.bias"]}
        | dense_layout(p, "cls.seq_relationship", "next_sentence/")
    )


def below(layer, variable):
    """A variable's path below its layer."""
    return variable.path.removeprefix(f"{layer.name}/")


def assign(layer, values):
    """Writes every variable of the layer; the two lists of paths must be the same."""
    paths = sorted(below(layer, variable) for variable in layer.trainable_variables)
    assert paths == sorted(values)
    for variable in layer.trainable_variables:
        variable.assign(values[below(layer, variable)])
