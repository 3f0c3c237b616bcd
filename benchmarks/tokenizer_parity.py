"""Compares `BertTokenizer` with Hugging Face's `tokenizers`: ids and offsets of every text must be equal.

    python -m benchmarks.tokenizer_parity --data-dir DIR [--settings published|all] [--checks unicode,random,...]

DIR holds vocab/bert-base-{uncased,cased,chinese,multilingual-cased}-vocab.txt and, for the checks `wikitext` and
`zhwiki`, wikitext-2/*.txt and zhwiki/*.txt. Checks:
    table      each of the 1,112,064 Unicode scalar values, as the words it makes between two letters (no vocabulary)
    unicode    each of them between two letters and alone, as ids
    wikitext   each line of WikiText-2
    zhwiki     each line of a sample of the Chinese Wikipedia
    random     200,000 random texts: scripts, marks, emoji, control characters, unassigned code points, special tokens,
               words of 90 to 220 characters
    pairs      20,000 random pairs, cut longest first to 3 .. 64 tokens
The settings are the published ones of each vocabulary, or all twelve combinations of do_lower_case, strip_accents and
tokenize_chinese_chars. Prints a row for each, and exits with status 1 if anything differs. One check of one vocabulary
takes from seconds to a minute on one core.

Text that is not valid UTF-8 is outside the comparison: `tokenizers` takes no such text. `BertTokenizer` reads each
faulty sequence as U+FFFD, which the cleaning removes.
"""

import argparse
import itertools
import os
import random
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from tokenizers import BertWordPieceTokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from bert_tf import BertTokenizer
from bert_tf.characters import normalized_characters, read_unicode_table

# name of the vocabulary: its published settings
PUBLISHED = {
    "uncased": {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True},
    "cased": {"do_lower_case": False, "strip_accents": None, "tokenize_chinese_chars": True},
    "chinese": {"do_lower_case": False, "strip_accents": None, "tokenize_chinese_chars": True},
    "multilingual-cased": {"do_lower_case": False, "strip_accents": None, "tokenize_chinese_chars": True},
}
ALL_SETTINGS = [
    dict(zip(("do_lower_case", "strip_accents", "tokenize_chinese_chars"), values, strict=True))
    for values in itertools.product((True, False), (None, True, False), (True, False))
]
SCALARS = [*range(0xD800), *range(0xE000, 0x110000)]
CHUNK = 4096  # texts in one call


# ---------------------------------------------------------------------------------------------------------------------
# The two sides


def tokenizer_pair(vocab_file, settings):
    """Ours and theirs with the same vocabulary and settings."""
    theirs = BertWordPieceTokenizer(
        str(vocab_file),
        lowercase=settings["do_lower_case"],
        strip_accents=settings["strip_accents"],
        handle_chinese_chars=settings["tokenize_chinese_chars"],
    )
    return BertTokenizer(vocab_file, **settings), theirs


def differences(ours, theirs, texts, pairs=None, max_length=None):
    """Numbers of the texts whose tokens, types or offsets differ, and the number of tokens compared."""
    theirs.no_truncation()
    if max_length is not None:
        theirs.enable_truncation(max_length)
    different, tokens = [], 0
    for start in range(0, len(texts), CHUNK):
        chunk = slice(start, start + CHUNK)
        inputs = texts[chunk] if pairs is None else list(zip(texts[chunk], pairs[chunk], strict=True))
        batch = ours(texts[chunk], None if pairs is None else pairs[chunk], max_length=max_length, return_offsets=True)
        batch = {key: value.numpy() for key, value in batch.items()}
        lengths = batch["attention_mask"].sum(axis=1)
        for row, expected in enumerate(theirs.encode_batch(inputs)):
            tokens += len(expected.ids)
            length = lengths[row]
            if (
                batch["input_ids"][row, :length].tolist() != expected.ids
                or batch["token_type_ids"][row, :length].tolist() != expected.type_ids
                or [tuple(pair) for pair in batch["offset_mapping"][row, :length].tolist()] != expected.offsets
            ):
                different.append(start + row)
    return different, tokens


def character_differences(settings, codes=SCALARS):
    """Code points that the character table splits, between two letters, into other words than `tokenizers` does."""
    strip = settings["do_lower_case"] if settings["strip_accents"] is None else settings["strip_accents"]
    characters = normalized_characters(
        read_unicode_table(),
        lowercase=settings["do_lower_case"],
        strip_accents=strip,
        space_ideographs=settings["tokenize_chinese_chars"],
    )
    begin = np.searchsorted(characters.code, codes).tolist()
    end = np.searchsorted(characters.code, codes, side="right").tolist()
    normalize = BertNormalizer(
        handle_chinese_chars=settings["tokenize_chinese_chars"],
        strip_accents=settings["strip_accents"],
        lowercase=settings["do_lower_case"],
    ).normalize_str
    split = BertPreTokenizer().pre_tokenize_str
    different = []
    for code, first, last in zip(codes, begin, end, strict=True):
        text = "a"
        for character, isolated in zip(characters.character[first:last], characters.isolated[first:last], strict=True):
            text += f" {chr(character)} " if isolated else chr(character)
        if (text + "b").split(" ") != [word for word, _ in split(normalize(f"a{chr(code)}b"))]:
            different.append(code)
    return different


# ---------------------------------------------------------------------------------------------------------------------
# The texts


def unicode_texts():
    """Each scalar value between two letters, then alone."""
    return [f"a{chr(code)}b {chr(code)}" for code in SCALARS]


_RANGES = {
    "ascii": [(0x21, 0x7E)],
    "latin": [(0xC0, 0x24F), (0x1E00, 0x1EFF)],
    "greek and cyrillic": [(0x370, 0x3FF), (0x400, 0x52F), (0x1F00, 0x1FFF)],
    "hebrew and arabic": [(0x590, 0x5FF), (0x600, 0x6FF), (0x8A0, 0x8FF)],
    "indic": [(0x900, 0xDFF), (0x1CD0, 0x1CFF), (0x11000, 0x114FF)],
    "south east asia": [(0xE00, 0xFFF), (0x1780, 0x17FF), (0x1A20, 0x1BFF)],
    "hangul": [(0xAC00, 0xD7A3), (0x1100, 0x11FF), (0x302E, 0x302F)],
    "kana": [(0x3040, 0x30FF), (0xFF00, 0xFFEF)],
    "ideographs": [(0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FA1F), (0x2E80, 0x303F)],
    "marks": [(0x300, 0x36F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0x1D165, 0x1D172)],
    "staying marks": [(0x302E, 0x302F), (0x1D165, 0x1D172), (0x1B44, 0x1B44), (0x8D4, 0x8E1), (0x1E000, 0x1E02A)],
    "decomposed to several": [(0x1D15E, 0x1D164), (0x9CB, 0x9CC), (0xDDA, 0xDDE), (0x344, 0x344), (0x1F82, 0x1F87)],
    "symbols and emoji": [(0x2000, 0x2BFF), (0x1F300, 0x1FAFF), (0x200B, 0x200F), (0xFE00, 0xFE0F)],
    "control characters": [(0x00, 0x1F), (0x7F, 0xA0), (0x2028, 0x202F), (0xFFF0, 0xFFFF), (0xE0000, 0xE007F)],
    "anything": [(0, 0xD7FF), (0xE000, 0x10FFFF)],
}
_WORDS = ["the", "Playing", "unaffable", "naïve", "don't", "x1.5", "e.g.", "straße", "İI"]
_SPECIAL = ["[MASK]", "[SEP]", "[CLS]", "[PAD]", "[UNK]", "[mask]", "[MASK", "MASK]", "[[MASK]]", "[", "##"]


def random_word(source):
    """Up to ten characters of one or two scripts; one word in fifty has 90 to 220 characters."""
    scripts = source.sample(list(_RANGES.values()), source.choice((1, 1, 2)))
    length = source.randint(90, 220) if source.random() < 0.02 else source.randint(1, 10)
    ranges = [source.choice(source.choice(scripts)) for _ in range(length)]
    return "".join(chr(source.randint(*ends)) for ends in ranges)


def random_text(source, words=8):
    """Random words between random separators, with special tokens, whole and broken, among them."""
    parts = []
    for _ in range(source.randint(0, words)):
        kind = source.random()
        if kind < 0.1:
            parts.append(source.choice(_SPECIAL))
        elif kind < 0.4:
            parts.append(source.choice(_WORDS))
        else:
            parts.append(random_word(source))
        parts.append(source.choice((" ", " ", " ", "", "  ", "\t", "\n", "\u3000", "-")))
    return "".join(parts)


def random_texts(count, seed=0):
    source = random.Random(seed)
    return [random_text(source) for _ in range(count)]


# ---------------------------------------------------------------------------------------------------------------------
# The checks


def lines(folder):
    return [line for path in sorted(folder.glob("*.txt")) if path.name != "SOURCE.txt" for line in read_lines(path)]


def read_lines(path):
    return path.read_text(encoding="utf-8").split("\n")


def check_pairs(ours, theirs):
    """20,000 pairs; each chunk is cut to another length."""
    texts, others = random_texts(20_000, seed=1), random_texts(20_000, seed=2)
    different, tokens = [], 0
    for number, start in enumerate(range(0, len(texts), 250)):
        chunk = slice(start, start + 250)
        found, count = differences(ours, theirs, texts[chunk], others[chunk], max_length=3 + number % 62)
        different += [start + index for index in found]
        tokens += count
    return texts, different, tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--vocab", nargs="*", default=list(PUBLISHED), choices=list(PUBLISHED))
    parser.add_argument("--settings", choices=("published", "all"), default="published")
    parser.add_argument("--checks", default="table,unicode,wikitext,zhwiki,random,pairs")
    arguments = parser.parse_args()
    corpora = {
        "unicode": unicode_texts,
        "wikitext": lambda: lines(arguments.data_dir / "wikitext-2"),
        "zhwiki": lambda: lines(arguments.data_dir / "zhwiki"),
        "random": lambda: random_texts(200_000),
    }
    checks = arguments.checks.split(",")
    texts = {name: make() for name, make in corpora.items() if name in checks}
    tf.config.threading.set_intra_op_parallelism_threads(1)
    print(f"{'vocabulary':20}{'lower':>6}{'strip':>6}{'cjk':>6}  check{'texts':>17}{'tokens':>12}{'different':>10}  s")
    failed = False

    def report(name, settings, check, texts, tokens, different, began):
        columns = "".join(f"{value!s:>6}" for value in settings.values())
        print(
            f"{name:20}{columns}  {check:10}{texts:12,}{tokens:12,}{len(different):10,}  {time.time() - began:.0f}",
            flush=True,
        )
        for example in different[:3]:
            print(f"    {example!a}")
        return bool(different)

    for settings in ALL_SETTINGS if "table" in checks else ():
        began = time.time()
        different = [chr(code) for code in character_differences(settings)]
        failed |= report("none", settings, "table", len(SCALARS), 0, different, began)
    for name in arguments.vocab:
        for settings in ALL_SETTINGS if arguments.settings == "all" else [PUBLISHED[name]]:
            ours, theirs = tokenizer_pair(arguments.data_dir / "vocab" / f"bert-base-{name}-vocab.txt", settings)
            for check in checks:
                began = time.time()
                if check == "pairs":
                    compared, different, tokens = check_pairs(ours, theirs)
                elif check in texts:
                    compared = texts[check]
                    different, tokens = differences(ours, theirs, compared)
                else:
                    continue
                different = [compared[index] for index in different]
                failed |= report(name, settings, check, len(compared), tokens, different, began)
    sys.exit(failed)


if __name__ == "__main__":
    main()
