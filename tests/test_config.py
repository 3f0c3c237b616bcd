"""The configuration: defaults, named sizes with their published parameter counts, and every refusal."""

import dataclasses
import json
import re

import pytest

from bert_tf import BertConfig, BertModel, InputError
from bert_tf.config import NAMED_SIZES, read_json
from tests.small_bert import small_config


def refused(sentence):
    return pytest.raises(InputError, match="^" + re.escape(sentence))


def encoder_parameters(config):
    """The number of parameters of an encoder with its pooler, added up from the shapes (V, P, T, H, I, L)."""
    h, i = config.hidden_size, config.intermediate_size
    layer_norm = 2 * h
    positions = {
        "absolute": config.max_position_embeddings * h,
        "sinusoidal": 0,
        "relative": config.relative_attention_num_buckets * config.num_attention_heads,
    }[config.position_embedding_type]
    embeddings = (config.vocab_size + config.type_vocab_size) * h + positions + layer_norm
    attention = 4 * (h * h + h) + layer_norm  # query, key, value, output
    feed_forward = (h * i + i) + (i * h + h) + layer_norm
    return embeddings + config.num_hidden_layers * (attention + feed_forward) + (h * h + h)


@pytest.mark.parametrize("positions", ["absolute", "sinusoidal", "relative"])
def test_the_formula_counts_a_built_model(positions):
    config = small_config(position_embedding_type=positions)
    assert BertModel(config).count_params() == encoder_parameters(config)


# The counts that KerasHub states for its conversions of the published checkpoints (keras_hub `bert_presets.py`).
PUBLISHED_PARAMETERS = {
    "bert-tiny": 4_385_920,
    "bert-small": 28_763_648,
    "bert-medium": 41_373_184,
    "bert-base": 109_482_240,
    "bert-base-uncased": 109_482_240,
    "bert-base-cased": 108_310_272,
    "bert-base-chinese": 102_267_648,
    "bert-base-multilingual-cased": 177_853_440,
    "bert-large": 335_141_888,
    "bert-large-uncased": 335_141_888,
    "bert-large-cased": 333_579_264,
}


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_named_sizes_have_the_published_number_of_parameters(name):
    assert encoder_parameters(BertConfig.from_name(name)) == PUBLISHED_PARAMETERS[name]


def test_bert_tiny_as_built():
    assert BertModel(BertConfig.from_name("bert-tiny")).count_params() == 4_385_920


def test_the_24_compact_models():
    """arXiv 1908.08962, table 1: every L in 2 … 12 with every H in 128 … 768, H/64 heads, 4H intermediate units."""
    full = {name for name in NAMED_SIZES if name.startswith("google/")}
    sizes = [(layers, hidden) for layers in (2, 4, 6, 8, 10, 12) for hidden in (128, 256, 512, 768)]
    assert full == {f"google/bert_uncased_L-{layers}_H-{hidden}_A-{hidden // 64}" for layers, hidden in sizes}
    config = BertConfig.from_name("google/bert_uncased_L-10_H-256_A-4")
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (10, 256, 4)
    assert (config.intermediate_size, config.vocab_size, config.head_size) == (1024, 30522, 64)


@pytest.mark.parametrize(
    ("name", "layers", "hidden"),
    [("tiny", 2, 128), ("mini", 4, 256), ("small", 4, 512), ("medium", 8, 512), ("base", 12, 768), ("large", 24, 1024)],
)
def test_short_names(name, layers, hidden):
    config = BertConfig.from_name(f"bert-{name}")
    assert (config.num_hidden_layers, config.hidden_size) == (layers, hidden)


def test_overrides_of_a_named_size():
    config = BertConfig.from_name("bert-tiny", vocab_size=8000, hidden_act="gelu_new")
    assert (config.vocab_size, config.hidden_act, config.hidden_size) == (8000, "gelu_new", 128)
    with refused("the overrides of bert-tiny has the unknown key 'vocab'; the nearest known key is 'vocab_size'"):
        BertConfig.from_name("bert-tiny", vocab=8000)


def test_unknown_name():
    with refused(
        "no BERT size is named 'bert-base-uncase'; the nearest name is 'bert-base-uncased' (known: bert-base-"
    ):
        BertConfig.from_name("bert-base-uncase")


def test_defaults_are_those_of_bert_base():
    """`bert_config.json` of uncased_L-12_H-768_A-12, and Hugging Face's names for it."""
    assert BertConfig().to_dict() == {
        "vocab_size": 30522,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
    }


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        BertConfig().hidden_size = 3


# Values out of range

AT_LEAST_ONE = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
    "type_vocab_size relative_attention_num_buckets relative_attention_max_distance"
).split()


@pytest.mark.parametrize("name", AT_LEAST_ONE)
@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3", None])
def test_sizes(name, value):
    with refused(f"{name} must be an integer of at least 1, got {value!r}"):
        BertConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hidden_dropout_prob", 1.0, "a number in [0, 1)"),
        ("hidden_dropout_prob", -0.1, "a number in [0, 1)"),
        ("attention_probs_dropout_prob", "0.1", "a number in [0, 1)"),
        ("attention_probs_dropout_prob", float("nan"), "a number in [0, 1)"),
        ("initializer_range", 0, "a number above 0"),
        ("initializer_range", True, "a number above 0"),
        ("layer_norm_eps", -1e-12, "a number above 0"),
        ("layer_norm_eps", float("inf"), "a number above 0"),
        ("hidden_act", "gelu_fast", "one of gelu, gelu_new, relu, silu, tanh"),
        ("position_embedding_type", "relative_key", "one of absolute, sinusoidal, relative"),
        ("pad_token_id", 30522, "an id below vocab_size 30522"),
        ("pad_token_id", -1, "an id below vocab_size 30522"),
    ],
)
def test_values(name, value, expected):
    with refused(f"{name} must be {expected}, got {value!r}"):
        BertConfig(**{name: value})


def test_heads_that_do_not_divide():
    with refused("hidden_size must be a multiple of num_attention_heads, got 100 and 12; change one of them"):
        BertConfig(hidden_size=100)


def test_sinusoids_need_pairs_of_columns():
    with refused("sinusoidal positions need an even hidden_size, got 15; change it"):
        BertConfig(hidden_size=15, num_attention_heads=3, position_embedding_type="sinusoidal")
    assert BertConfig(hidden_size=15, num_attention_heads=3).hidden_size == 15


@pytest.mark.parametrize(("buckets", "furthest", "good"), [(12, 3, False), (12, 4, True), (10, 128, False)])
def test_relative_buckets(buckets, furthest, good):
    """12 buckets: 6 a direction, 3 of them exact, so the furthest distance must be beyond 3."""
    values = {"relative_attention_num_buckets": buckets, "relative_attention_max_distance": furthest}
    BertConfig(**values)  # unused with learned positions
    if good:
        BertConfig(**values, position_embedding_type="relative")
        return
    with refused(
        "relative positions need relative_attention_num_buckets to be a multiple of 4 and "
        f"relative_attention_max_distance to be more than a quarter of it, got {buckets} and {furthest}"
    ):
        BertConfig(**values, position_embedding_type="relative")


# Dictionaries and files


def test_unknown_key():
    with refused("here has the unknown key 'num_hiden_layers'; the nearest known key is 'num_hidden_layers'"):
        BertConfig.from_dict({"num_hiden_layers": 3}, source="here")
    with refused("replace() has the unknown key 'dropout'; the nearest known key is"):
        BertConfig().replace(dropout=0.0)


def test_replace():
    config = BertConfig()
    changed = config.replace(hidden_dropout_prob=0.0)
    assert (changed.hidden_dropout_prob, config.hidden_dropout_prob) == (0.0, 0.1)
    assert changed.to_dict() == config.to_dict() | {"hidden_dropout_prob": 0.0}


def test_a_hugging_face_config():
    """Keys that say nothing about the encoder pass; settings of another architecture stop."""
    values = {"model_type": "bert", "architectures": ["BertModel"], "transformers_version": "4.1", "id2label": {},
              "is_decoder": False, "pruned_heads": {}, "cross_attention_hidden_size": None}  # fmt: skip
    assert BertConfig.from_dict(values | {"hidden_size": 48}) == BertConfig(hidden_size=48)
    with refused("the configuration sets is_decoder to True; this encoder computes only is_decoder = False"):
        BertConfig.from_dict(values | {"is_decoder": True})
    with refused("the configuration describes a 'roberta' model, expected model_type 'bert'"):
        BertConfig.from_dict(values | {"model_type": "roberta"})


def test_a_google_config():
    """`bert_config.json` of google-research/bert, the compact models' (the GELU there is the file's word)."""
    values = {"hidden_size": 128, "hidden_act": "gelu", "initializer_range": 0.02, "vocab_size": 30522,
              "hidden_dropout_prob": 0.1, "num_attention_heads": 2, "type_vocab_size": 2, "intermediate_size": 512,
              "max_position_embeddings": 512, "num_hidden_layers": 2, "attention_probs_dropout_prob": 0.1}  # fmt: skip
    assert BertConfig.from_dict(values) == BertConfig.from_name("bert-tiny")


def test_json_round_trip(tmp_path):
    config = small_config(hidden_act="gelu_new", position_embedding_type="relative", layer_norm_eps=1e-5)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    assert BertConfig.from_json_file(tmp_path / "config.json") == config


def test_json_that_is_none(tmp_path):
    path = tmp_path / "config.json"
    with refused(f"{path} does not exist; expected a JSON file there"):
        read_json(path)
    path.write_text('{"hidden_size": 12')
    with refused(f"{path} is not JSON: Expecting ',' delimiter: line 1 column 19 (char 18); make the file again or"):
        read_json(path)
    path.write_bytes(b'{"a": "\xff"}')
    with refused(f"{path} is not JSON: 'utf-8' codec can't decode byte 0xff in position 7"):
        read_json(path)
    path.write_text("[1, 2]")
    with refused(f"{path} holds a JSON list, expected an object of names and values"):
        read_json(path)
    path.write_text('{"hiden_size": 12}')
    with refused(f"{path} has the unknown key 'hiden_size'; the nearest known key is 'hidden_size'"):
        BertConfig.from_json_file(path)
