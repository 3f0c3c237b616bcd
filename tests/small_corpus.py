"""A small tokenizer and a small text for the tests of the pretraining data."""

import json
import random

from pretraining.prepare import prepare

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["the", "cat", "sat", "on", "mat", "dog", "ran", "far", "away", "rain", "fell", "all", "night", "green", "old"]
TOKENS = [*SPECIAL, ".", ",", *LETTERS, *("##" + letter for letter in LETTERS), *WORDS, "##ing", "##ed"]
IDS = {token: index for index, token in enumerate(TOKENS)}
# "raining" is "rain ##ing", "catted" is "cat ##t ##ed", "zoo" is "z ##o ##o", "§" is not in the vocabulary.
TEXT_WORDS = [*WORDS, "raining", "catted", "zoo", "farness", "§"]


def make_tokenizer(path, **config):
    """Writes the tokenizer directory; returns its path."""
    path.mkdir(parents=True)
    (path / "vocab.txt").write_text("\n".join(TOKENS) + "\n", "utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True} | config))
    return path


def make_text(documents, seed, sentences=(1, 12), words=(1, 9)):
    """Documents of so many sentences, a sentence a line, of so many words; the first line tells them apart."""
    draw = random.Random(seed)
    texts = []
    for index in range(documents):
        lines = [" ".join("abcdefghij"[int(digit)] for digit in str(index)) + " ."]
        for _ in range(draw.randint(*sentences) - 1):
            lines.append(" ".join(draw.choice(TEXT_WORDS) for _ in range(draw.randint(*words))) + " .")
        texts.append("\n".join(lines))
    return "\n\n".join(texts) + "\n"


def make_prepared(folder, text, **options):
    """Prepares `text` in `folder`/prepared, a sentence a line; returns that path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.txt").write_text(text, "utf-8")
    tokenizer = make_tokenizer(folder / "tokenizer")
    prepare([folder / "text.txt"], tokenizer, folder / "prepared", **{"language": None} | options)
    return folder / "prepared"


def files_of(path):
    """Every file below a folder, with its bytes."""
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
