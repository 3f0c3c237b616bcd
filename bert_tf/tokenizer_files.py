"""A tokenizer on disk as Hugging Face keeps it: the vocabulary and the settings. Imports no TensorFlow.

Read, the first that names a setting decides:
    special_tokens_map.json    the special tokens; as in `transformers`, only if tokenizer_config.json lists no
                               added_tokens_decoder
    tokenizer_config.json      do_lower_case, strip_accents, tokenize_chinese_chars, the special tokens, ...
    tokenizer.json             the normalizer and the added tokens of the `tokenizers` package
    config.json, bert_config.json    max_position_embeddings, for model_max_length only
    BERT's defaults
The vocabulary is vocab.txt, or that of tokenizer.json where there is no vocab.txt; added tokens follow it by their ids.
Written: vocab.txt with all tokens, and tokenizer_config.json.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from bert_tf.config import read_json
from bert_tf.errors import InputError
from bert_tf.files import whole_file
from bert_tf.vocabulary import Vocabulary

VOCABULARY, CONFIG, SPECIAL_TOKENS_MAP, RUST = (
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
)
SPECIAL_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
SWITCHES = {
    "do_lower_case": (True, False),
    "strip_accents": (None, True, False),
    "tokenize_chinese_chars": (True, False),
    "clean_up_tokenization_spaces": (True, False),
}
DEFAULTS = SPECIAL_TOKENS | {
    "do_lower_case": True,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "clean_up_tokenization_spaces": False,
    "model_max_length": 512,
    "additional_special_tokens": (),
}
_UNLIMITED = 10**6  # `transformers` writes 1e30 where it knows no limit
_WORDPIECE_CLASSES = ("Bert", "DistilBert", "Electra", "MobileBert", "ConvBert")
_ANY_CLASS = ("PreTrainedTokenizer", "TokenizersBackend")  # the class of a tokenizer that is all in tokenizer.json
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized")


class TokenizerFiles(NamedTuple):
    vocabulary: Vocabulary
    settings: dict[str, Any]  # the keys of DEFAULTS
    sources: dict[str, str]  # of each setting: the name of its file, or "default"


def read_tokenizer_files(path):
    """Reads the tokenizer of a model directory.

    Raises:
        InputError: there is no vocabulary, a file is not JSON, or a setting is one that BERT's tokenizer cannot honour.
    """
    path = Path(path)
    config, rust = _read_json(path / CONFIG), _read_json(path / RUST)
    _check_class(config, path / CONFIG)
    _check_rust(rust, path / RUST)
    layers = [
        (SPECIAL_TOKENS_MAP, {} if "added_tokens_decoder" in config else _read_json(path / SPECIAL_TOKENS_MAP)),
        (CONFIG, config),
        (RUST, _rust_settings(rust)),
        *((name, _model_settings(_read_json(path / name))) for name in ("config.json", "bert_config.json")),
    ]
    settings, sources = dict(DEFAULTS), dict.fromkeys(DEFAULTS, "default")
    for name, values in reversed(layers):
        for key, value in checked_settings(values, path / name).items():
            settings[key], sources[key] = value, name

    if rust and not (path / VOCABULARY).exists():
        vocabulary = Vocabulary(_in_order(rust["model"]["vocab"], path / RUST), path / RUST)
    else:
        vocabulary = Vocabulary.read(path / VOCABULARY)
    added = {entry["id"]: entry for entry in rust.get("added_tokens", ())}
    added |= {int(number): entry for number, entry in config.get("added_tokens_decoder", {}).items()}
    vocabulary, special = _with_added(vocabulary, added, path / (CONFIG if "added_tokens_decoder" in config else RUST))
    named = {settings[role] for role in SPECIAL_TOKENS}
    additional = [token for token in (*settings["additional_special_tokens"], *special) if token not in named]
    settings["additional_special_tokens"] = tuple(dict.fromkeys(additional))
    return TokenizerFiles(vocabulary, settings, sources)


def write_tokenizer_files(path, vocabulary, settings):
    """Writes vocab.txt and tokenizer_config.json as `transformers` reads them, each whole or not at all."""
    special = [settings[role] for role in SPECIAL_TOKENS] + list(settings["additional_special_tokens"])
    added = {
        str(vocabulary.ids[token]): {"content": token, **dict.fromkeys(_FLAGS, False), "special": True}
        for token in sorted(set(special), key=vocabulary.ids.get)
    }
    config = {**settings, "added_tokens_decoder": added, "tokenizer_class": "BertTokenizer"}
    vocabulary.write(Path(path) / VOCABULARY)
    with whole_file(Path(path) / CONFIG, "w") as stream:
        json.dump(config, stream, ensure_ascii=False, indent=2, sort_keys=True)
        stream.write("\n")


def _read_json(path):
    """The object in the file; {} where there is no file."""
    return read_json(path) if path.exists() else {}


def checked_settings(values, path):
    """The settings of DEFAULTS among `values`, checked; other keys, and null for a token or a length, are passed over.

    Raises:
        InputError: a value that is none of the allowed ones; it names `path`.
    """
    settings = {}
    for key, allowed in SWITCHES.items():
        if key in values:
            if values[key] not in allowed or (isinstance(values[key], int) and not isinstance(values[key], bool)):
                raise InputError(f"{path}: {key} is {values[key]!r}; expected one of {', '.join(map(repr, allowed))}")
            settings[key] = values[key]
    for key in SPECIAL_TOKENS:
        if values.get(key) is not None:
            settings[key] = _token(values[key], key, path)
    for key in ("additional_special_tokens", "extra_special_tokens"):  # the later name is of transformers 5
        tokens = values.get(key) or ()
        tokens = tokens.values() if isinstance(tokens, dict) else tokens
        if tokens:
            settings["additional_special_tokens"] = tuple(_token(token, key, path) for token in tokens)
    length = values.get("model_max_length")
    if length is not None and (not isinstance(length, int) or length < 3):  # 3 special tokens of a pair
        raise InputError(f"{path}: model_max_length is {length!r}; expected an int of at least 3")
    if length is not None and length <= _UNLIMITED:
        settings["model_max_length"] = length
    for key in ("truncation_side", "padding_side"):
        if values.get(key, "right") != "right":
            raise InputError(f'{path}: {key} is {values[key]!r}; this tokenizer truncates and pads on the "right" only')
    return settings


def _token(value, key, path):
    """The text of a token given as a string or as an AddedToken's fields."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or not isinstance(value.get("content"), str):
        raise InputError(f'{path}: {key} is {value!r}; expected a string or an object with "content"')
    flags = [flag for flag in _FLAGS if value.get(flag)]
    if flags:
        raise InputError(
            f"{path}: the token {value['content']!r} ({key}) has {flags[0]} true; this tokenizer finds added tokens "
            f"letter by letter only, so set {flags[0]} to false if no text depends on it"
        )
    return value["content"]


def _with_added(vocabulary, added, path):
    """The vocabulary with the added tokens behind it, and those of them that are special."""
    tokens, special = list(vocabulary.tokens), []
    for number, entry in sorted(added.items()):
        token = _token(entry, "added token", path)
        if not entry.get("special"):
            raise InputError(
                f"{path}: the added token {token!r} (id {number}) is not special; this tokenizer finds special tokens "
                f"only, so put {token!r} into {VOCABULARY} as a word, or mark it special"
            )
        special.append(token)
        if number == len(tokens):
            tokens.append(token)
        elif number > len(tokens) or tokens[number] != token:
            raise InputError(
                f"{path}: the added token {token!r} has id {number}, where {vocabulary.where} has "
                f"{repr(tokens[number]) if number < len(tokens) else f'only {len(tokens)} tokens'}: the files disagree"
            )
    return Vocabulary(tokens, vocabulary.where), special


def _check_class(config, path):
    name = config.get("tokenizer_class") or "BertTokenizer"
    if name.removesuffix("Fast") not in {f"{kind}Tokenizer" for kind in _WORDPIECE_CLASSES} | {*_ANY_CLASS}:
        raise InputError(
            f"{path}: tokenizer_class is {name!r}, which does not split text as BERT does; expected one of "
            f"{', '.join(f'{kind}Tokenizer' for kind in _WORDPIECE_CLASSES)}"
        )


def _check_rust(rust, path):
    """Refuses a tokenizer.json that is not BERT's: another model, normalizer, prefix or longest word."""
    if not rust:
        return
    model, normalizer = rust.get("model") or {}, rust.get("normalizer") or {}
    expected = {
        "model.type": (model.get("type", "WordPiece"), "WordPiece"),
        "model.continuing_subword_prefix": (model.get("continuing_subword_prefix"), "##"),
        "model.max_input_chars_per_word": (model.get("max_input_chars_per_word"), 100),
        "normalizer.type": (normalizer.get("type"), "BertNormalizer"),
        "normalizer.clean_text": (normalizer.get("clean_text"), True),
        "pre_tokenizer.type": ((rust.get("pre_tokenizer") or {}).get("type"), "BertPreTokenizer"),
    }
    for key, (value, wanted) in expected.items():
        if value != wanted:
            raise InputError(
                f"{path}: {key} is {value!r}; BERT's tokenizer has {wanted!r}, and this package knows no other"
            )


def _rust_settings(rust):
    """What tokenizer.json says about the settings."""
    if not rust:
        return {}
    names = {
        "lowercase": "do_lower_case",
        "strip_accents": "strip_accents",
        "handle_chinese_chars": "tokenize_chinese_chars",
    }
    settings = {names[key]: value for key, value in rust["normalizer"].items() if key in names}
    return settings | {"unk_token": rust["model"].get("unk_token")}


def _model_settings(values):
    return {"model_max_length": values.get("max_position_embeddings")}


def _in_order(ids, path):
    """Tokens of a token -> id mapping in the order of the ids."""
    tokens = sorted(ids, key=ids.get)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise InputError(f"{path}: the ids of model.vocab are not 0 .. {len(tokens) - 1}, each once")
    return tokens
