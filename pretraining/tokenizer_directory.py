"""The tokenizer directory (`vocab.txt` and `tokenizer_config.json`, as Hugging Face writes them for BertTokenizer), and
the tokenizer of the Rust `tokenizers` package that `prepare` makes of it, without TensorFlow.

Special tokens are looked for in no text: "[MASK]" in a corpus becomes "[", "mask", "]", as in google-research/bert's
`tokenization.py`, so that a shard holds no [CLS], [SEP], [MASK] or [PAD] that the text has not got from us.
"""

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from bert_tf.errors import InputError
from pretraining.places import place, write_whole

VOCABULARY, CONFIG = "vocab.txt", "tokenizer_config.json"
SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_SETTINGS = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}  # BertTokenizer's defaults
MAX_WORD_CHARACTERS = 100  # a longer word is [UNK]: `max_input_chars_per_word` of Hugging Face's BertTokenizer


@dataclasses.dataclass(frozen=True)
class TokenizerDirectory:
    """What the two files say.

    Attributes:
        path: the place (places.py) of the directory.
        tokens: the vocabulary; a token's id is its place.
        settings: `do_lower_case`, `strip_accents` (None: as `do_lower_case`) and `tokenize_chinese_chars`.
        pad_id, unk_id, cls_id, sep_id, mask_id: ids of the special tokens.
        vocabulary_sha256: hash of the bytes of `vocab.txt`.
    """

    path: Any
    tokens: tuple[str, ...]
    settings: dict
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    vocabulary_sha256: str

    @property
    def vocab_size(self):
        return len(self.tokens)

    @property
    def token_dtype(self):
        """The smallest unsigned integer that holds every id: uint16 up to 65,536 tokens, else uint32."""
        return np.dtype("<u2") if len(self.tokens) <= 2**16 else np.dtype("<u4")

    @property
    def special_ids(self):
        """The five in the order of their numbers."""
        return np.array(sorted({self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id}))

    def continuations(self):
        """bool [vocab_size]: True where the token continues a word ("##ing")."""
        return np.fromiter((token.startswith("##") for token in self.tokens), bool, len(self.tokens))

    def rust_tokenizer(self):
        """The `tokenizers.Tokenizer` of this directory, without special tokens or templates."""
        vocabulary = {token: index for index, token in enumerate(self.tokens)}
        unknown = self.tokens[self.unk_id]
        tokenizer = Tokenizer(
            models.WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=MAX_WORD_CHARACTERS)
        )
        tokenizer.normalizer = bert_normalizer(self.settings)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return tokenizer


def bert_normalizer(settings):
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings["tokenize_chinese_chars"],
        strip_accents=settings["strip_accents"],
        lowercase=settings["do_lower_case"],
    )


def read_tokenizer_directory(path):
    """Reads and checks a tokenizer directory, at a path or a URL.

    Raises:
        InputError: a file is missing or is not what it should be, a token stands twice in `vocab.txt`, or a special
            token is not in it.
    """
    path = place(path)
    for name in (VOCABULARY, CONFIG):
        if not (path / name).is_file():
            raise InputError(
                f"{path} is not a tokenizer directory: it has no {name} (make one with bert-pretrain vocab)"
            )
    try:
        config = json.loads((path / CONFIG).read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path / CONFIG} is not JSON: {error}") from None
    settings = {name: config.get(name, default) for name, default in _SETTINGS.items()}
    for name, value in settings.items():
        if not isinstance(value, bool) and not (name == "strip_accents" and value is None):
            raise InputError(f"{path / CONFIG}: {name} must be true or false, not {value!r}")

    content = (path / VOCABULARY).read_bytes()
    try:
        tokens = tuple(line.rstrip("\r") for line in content.decode("utf-8").removesuffix("\n").split("\n"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path / VOCABULARY} is not UTF-8 text: byte offset {error.start}") from None
    ids = {}
    for index, token in enumerate(tokens):
        if token in ids:
            raise InputError(
                f"{path / VOCABULARY} has the token {token!r} twice, on lines {ids[token] + 1} and {index + 1}"
            )
        ids[token] = index
    special = {}
    for name, default in SPECIAL_TOKENS.items():
        token = config.get(name, default)
        token = token.get("content") if isinstance(token, dict) else token  # an AddedToken, as `transformers` writes it
        if token not in ids:
            raise InputError(f"{path / VOCABULARY} has no {token}, the {name} of pretraining: use another vocabulary")
        special[name.replace("_token", "_id")] = ids[token]
    return TokenizerDirectory(path, tokens, settings, vocabulary_sha256=hashlib.sha256(content).hexdigest(), **special)


def write_tokenizer_directory(path, tokens, settings, model_max_length):
    """Writes `tokenizer_config.json`, then `vocab.txt` (a token a line, in the order of ids): with it all is there."""
    config = SPECIAL_TOKENS | settings | {"model_max_length": model_max_length, "tokenizer_class": "BertTokenizer"}
    write_whole(place(path) / CONFIG, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
    write_whole(place(path) / VOCABULARY, "".join(token + "\n" for token in tokens).encode())
