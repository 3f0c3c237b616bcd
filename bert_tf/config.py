"""The hyperparameters of a BERT encoder, and the sizes that have names.

Names and defaults are those of `bert_config.json` in google-research/bert and of Hugging Face's `BertConfig`.
A configuration is frozen, checked when it is made, and strict: an unknown key stops, naming the nearest known one.
"""

import dataclasses
import difflib
import json
import math
from pathlib import Path

from bert_tf.errors import InputError

HIDDEN_ACTS = ("gelu", "gelu_new", "relu", "silu", "tanh")  # "gelu" is the erf form, "gelu_new" the tanh form
POSITION_EMBEDDING_TYPES = ("absolute", "sinusoidal", "relative")

# Vocabulary size of the published checkpoints (the line count of each vocab.txt in google-research/bert, README).
_PUBLISHED = {
    "bert-base-uncased": ("L-12_H-768", 30522),
    "bert-base-cased": ("L-12_H-768", 28996),
    "bert-base-chinese": ("L-12_H-768", 21128),
    "bert-base-multilingual-cased": ("L-12_H-768", 119547),
    "bert-base-multilingual-uncased": ("L-12_H-768", 105879),
    "bert-large-uncased": ("L-24_H-1024", 30522),
    "bert-large-cased": ("L-24_H-1024", 28996),
}

# The 24 models of "Well-Read Students Learn Better" (arXiv 1908.08962, table 1): L layers of width H, H/64 heads,
# 4H intermediate units; five of them have names of their own.
_COMPACT = {
    f"google/bert_uncased_L-{layers}_H-{hidden}_A-{hidden // 64}": (f"L-{layers}_H-{hidden}", 30522)
    for layers in (2, 4, 6, 8, 10, 12)
    for hidden in (128, 256, 512, 768)
}
_COMPACT_NAMES = {
    "bert-tiny": "google/bert_uncased_L-2_H-128_A-2",
    "bert-mini": "google/bert_uncased_L-4_H-256_A-4",
    "bert-small": "google/bert_uncased_L-4_H-512_A-8",
    "bert-medium": "google/bert_uncased_L-8_H-512_A-8",
    "bert-base": "google/bert_uncased_L-12_H-768_A-12",
}

NAMED_SIZES = _PUBLISHED | _COMPACT | {name: _COMPACT[full] for name, full in _COMPACT_NAMES.items()}
NAMED_SIZES["bert-large"] = NAMED_SIZES["bert-large-uncased"]

# Keys of a Hugging Face config.json that say nothing about what the encoder computes.
_DESCRIPTIVE_KEYS = frozenset(
    "_name_or_path _num_labels architectures attn_implementation bos_token_id chunk_size_feed_forward "
    "classifier_dropout directionality dtype eos_token_id finetuning_task gradient_checkpointing id2label label2id "
    "language max_length model_type num_labels num_summary_layers output_attentions output_hidden_states "
    "pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type problem_type "
    "return_dict sep_token_id task_specific_params tie_word_embeddings torch_dtype torchscript transformers_version "
    "use_cache _attn_implementation_autoset".split()
)
# Keys that would change what is computed; the value beside each is the only one that this encoder has.
_FIXED_KEYS = {
    "is_decoder": False,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
    "cross_attention_hidden_size": None,
    "pruned_heads": {},
}


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """What a BERT encoder is made of (Devlin et al. 2018, section 3; defaults: BERT-base, uncased).

    Raises:
        InputError: a value out of its range, or a hidden size that the attention heads do not divide.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    # "absolute": learned vectors; "sinusoidal": section 3.5 of "Attention is all you need" (arXiv 1706.03762);
    # "relative": a learned bias on the attention scores (T5, arXiv 1910.10683, section 2.1).
    position_embedding_type: str = "absolute"
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128

    def __post_init__(self):
        for name in (
            "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
            "type_vocab_size relative_attention_num_buckets relative_attention_max_distance"
        ).split():
            _require(_is_int(getattr(self, name)) and getattr(self, name) >= 1, name, "an integer of at least 1", self)
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            _require(_is_number(getattr(self, name)) and 0 <= getattr(self, name) < 1, name, "a number in [0, 1)", self)
        for name in ("initializer_range", "layer_norm_eps"):
            _require(
                _is_number(getattr(self, name)) and 0 < getattr(self, name) < math.inf, name, "a number above 0", self
            )
        _require(self.hidden_act in HIDDEN_ACTS, "hidden_act", f"one of {', '.join(HIDDEN_ACTS)}", self)
        _require(
            self.position_embedding_type in POSITION_EMBEDDING_TYPES,
            "position_embedding_type",
            f"one of {', '.join(POSITION_EMBEDDING_TYPES)}",
            self,
        )
        _require(
            _is_int(self.pad_token_id) and 0 <= self.pad_token_id < self.vocab_size,
            "pad_token_id",
            f"an id below vocab_size {self.vocab_size}",
            self,
        )
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size must be a multiple of num_attention_heads, got {self.hidden_size} and "
                f"{self.num_attention_heads}; change one of them"
            )
        if self.position_embedding_type == "sinusoidal" and self.hidden_size % 2:
            raise InputError(f"sinusoidal positions need an even hidden_size, got {self.hidden_size}; change it")
        if self.position_embedding_type == "relative" and (
            self.relative_attention_num_buckets % 4
            or self.relative_attention_max_distance <= self.relative_attention_num_buckets // 4
        ):
            raise InputError(
                "relative positions need relative_attention_num_buckets to be a multiple of 4 and "
                "relative_attention_max_distance to be more than a quarter of it, got "
                f"{self.relative_attention_num_buckets} and {self.relative_attention_max_distance}"
            )

    @property
    def head_size(self):
        return self.hidden_size // self.num_attention_heads

    @classmethod
    def from_name(cls, name, **overrides):
        """The configuration of a named size, `overrides` replacing single values.

        Example: `BertConfig.from_name("bert-tiny", vocab_size=8000)`.
        """
        if name not in NAMED_SIZES:
            near = difflib.get_close_matches(name, NAMED_SIZES, n=1, cutoff=0)
            raise InputError(f"no BERT size is named {name!r}; the nearest name is {near[0]!r} ({_names()})")
        shape, vocab_size = NAMED_SIZES[name]
        layers, hidden = (int(part[2:]) for part in shape.split("_"))
        values = {
            "vocab_size": vocab_size,
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": hidden // 64,
            "intermediate_size": 4 * hidden,
        }
        return cls.from_dict(values | overrides, source=f"the overrides of {name}")

    @classmethod
    def from_dict(cls, values, *, source="the configuration"):
        """Reads the dictionary of a `config.json` or `bert_config.json`; `source` names it in errors.

        Raises:
            InputError: an unknown key (with the nearest known name), or a setting of another architecture.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if values.get("model_type", "bert") != "bert":
            raise InputError(f"{source} describes a {values['model_type']!r} model, expected model_type 'bert'")
        for key in values:
            if key in known or key in _DESCRIPTIVE_KEYS:
                continue
            if key not in _FIXED_KEYS:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
                raise InputError(f"{source} has the unknown key {key!r}; the nearest known key is {near!r}")
            if values[key] != _FIXED_KEYS[key] and values[key] is not None:
                raise InputError(
                    f"{source} sets {key} to {values[key]!r}; this encoder computes only {key} = {_FIXED_KEYS[key]!r}"
                )
        return cls(**{key: value for key, value in values.items() if key in known})

    @classmethod
    def from_json_file(cls, path):
        """Reads `config.json` (Hugging Face) or `bert_config.json` (google-research/bert)."""
        return cls.from_dict(read_json(path), source=str(path))

    def to_dict(self):
        """The values in the order of the fields, ready for JSON."""
        return dataclasses.asdict(self)

    def replace(self, **changes):
        """A copy with some values changed; unknown names stop as in `from_dict`."""
        return type(self).from_dict(self.to_dict() | changes, source="replace()")


def read_json(path):
    """The dictionary in a JSON file, or one sentence that says why there is none."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; expected a JSON file there") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON: {error}; make the file again or restore it") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; expected a JSON file there") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds a JSON {type(values).__name__}, expected an object of names and values")
    return values


def _require(holds, name, expected, config):
    if not holds:
        raise InputError(f"{name} must be {expected}, got {getattr(config, name)!r}")


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names():
    return (
        "known: "
        + ", ".join(name for name in NAMED_SIZES if not name.startswith("google/"))
        + ", and the 24 google/bert_uncased_L-*_H-*_A-*"
    )
