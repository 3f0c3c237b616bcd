"""Makes bert_tf/data/unicode.npz: what Hugging Face's `tokenizers` knows about each Unicode code point.

`tokenizers` compiles in three copies of the Unicode Character Database, so no single version reproduces its ids. This
script asks it about each of the 1,112,064 scalar values and writes down the answers. With `tokenizers` 0.23.3 they are
  - general categories (removed characters, punctuation, nonspacing marks) of Unicode 8.0 (crate unicode_categories);
  - canonical decomposition and combining classes of Unicode 9.0 (crate unicode-normalization-alignments);
  - lower case of Unicode 17.0, and white space, which no version changed (Rust's own `char`).
A character added to Unicode later than the version in question is treated as unassigned in that question alone: it is
neither removed nor punctuation nor a mark, and it decomposes to itself.

    python -m tests.make_unicode_table bert_tf/data/unicode.npz        # half a minute; the file has 24 kB

Arrays of the file (no pickle):
  properties       uint8 (0x110000,), bits of `bert_tf.characters`: REMOVED SPACE IDEOGRAPH PUNCTUATION NONSPACING
  combining_class  uint8 (0x110000,), canonical combining class
  decomposed, decomposed_splits, decomposition      full canonical decompositions but for the Hangul syllables, which
                                                    Unicode defines by arithmetic (section 3.12)
  cased, cased_splits, lowercase                    full lower-case mapping of one character without context
  versions         str (n,), what the list above says, found anew
"""

import sys
import unicodedata

import numpy as np
import tokenizers
from tokenizers.normalizers import NFD, BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from bert_tf.characters import CODE_POINTS, HANGUL, IDEOGRAPH, NONSPACING, PUNCTUATION, REMOVED, SPACE
from bert_tf.files import whole_file

SCALARS = [*range(0xD800), *range(0xE000, CODE_POINTS)]  # surrogates are no characters
OFF = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
clean = BertNormalizer(**{**OFF, "clean_text": True}).normalize_str
space_ideographs = BertNormalizer(**{**OFF, "handle_chinese_chars": True}).normalize_str
strip_accents = BertNormalizer(**{**OFF, "strip_accents": True}).normalize_str
lower = BertNormalizer(**{**OFF, "lowercase": True}).normalize_str
decompose = NFD().normalize_str
pre_tokenize = BertPreTokenizer().pre_tokenize_str

LOWEST_MARK, HIGHEST_MARK = "\u0334", "\u0345"  # combining classes 1 and 240


# A character that came with each version of Unicode and that shows it: a nonspacing mark that is sorted; a capital.
MARKS = {
    "7.0": "\u1ab0",
    "8.0": "\u08e3",
    "9.0": "\u1dfb",
    "10.0": "\u1df6",
    "11.0": "\u07fd",
    "12.0": "\u0eba",
    "13.0": "\u1abf",
    "14.0": "\u0898",
    "15.0": "\U00010efd",
    "16.0": "\u0897",
    "17.0": "\u1acf",
}
CAPITALS = {"12.0": "\ua7ba", "13.0": "\ua7c7", "14.0": "\u2c2f", "16.0": "\u1c89", "17.0": "\U00016ea0"}


def newest(witnesses, known):
    """The last version whose witness is known, with all before it."""
    answers = [known(character) for character in witnesses.values()]
    if answers != sorted(answers, reverse=True) or not answers[0]:
        raise SystemExit(f"no one version of Unicode explains what is known of {witnesses}: {answers}")
    return list(witnesses)[sum(answers) - 1]


def properties_of(code):
    """The bits of one code point, each read off the text "a" + character + "b"."""
    character = chr(code)
    text = f"a{character}b"
    bits = {text: 0, "ab": REMOVED, "a b": SPACE}[clean(text)]
    bits |= {text: 0, f"a {character} b": IDEOGRAPH}[space_ideographs(text)]
    pieces = tuple(piece for piece, _ in pre_tokenize(text))
    if pieces == ("a", character, "b"):
        bits |= PUNCTUATION
    elif pieces == ("a", "b"):
        if not bits & (REMOVED | SPACE):
            raise SystemExit(f"U+{code:04X} separates words but is not white space to the cleaning")
    elif pieces != (text,):
        raise SystemExit(f"U+{code:04X} splits {text!r} into {pieces}, which the table cannot say")
    if decompose(character) == character and strip_accents(character) == "":
        bits |= NONSPACING
    return bits


def is_reordered(code):
    """True if the combining class is not 0: the character changes places with a mark of a higher or a lower class."""
    character = chr(code)
    return (
        decompose(HIGHEST_MARK + character) != HIGHEST_MARK + character
        or decompose(character + LOWEST_MARK) != character + LOWEST_MARK
    )


def combining_classes():
    """Combining class of each code point: that of the marks with which it never changes places."""
    marks = [code for code in SCALARS if decompose(chr(code)) == chr(code) and is_reordered(code)]
    representatives = {}  # Python's own database names the classes; the order is what `tokenizers` shows
    for code in marks:
        if unicodedata.combining(chr(code)):
            representatives.setdefault(unicodedata.combining(chr(code)), chr(code))
    classes = np.zeros(CODE_POINTS, np.uint8)
    for code in marks:
        mark = chr(code)
        (classes[code],) = (
            number
            for number, other in representatives.items()
            if decompose(mark + other) == mark + other and decompose(other + mark) == other + mark
        )
    return classes


def mapping(change, skip=()):
    """(keys, splits, values) of the code points that `change` maps to something else."""
    changed = [(code, change(chr(code))) for code in SCALARS if code not in skip]
    changed = [(code, text) for code, text in changed if text != chr(code)]
    keys = np.array([code for code, _ in changed], np.int32)
    splits = np.cumsum([0] + [len(text) for _, text in changed]).astype(np.int32)
    values = np.array([ord(character) for _, text in changed for character in text], np.int32)
    return keys, splits, values


def main(path):
    properties = np.zeros(CODE_POINTS, np.uint8)
    properties[SCALARS] = [properties_of(code) for code in SCALARS]
    properties[0xD800:0xE000] = REMOVED  # decoding never yields one
    decomposed, decomposed_splits, decomposition = mapping(decompose, skip=HANGUL)
    cased, cased_splits, lowercase = mapping(lower)
    versions = [
        f"observed in tokenizers {tokenizers.__version__}",
        f"general categories: Unicode {newest(MARKS, lambda mark: strip_accents(mark) == '')}",
        f"canonical decomposition and combining classes: Unicode {newest(MARKS, lambda mark: is_reordered(ord(mark)))}",
        f"lower case: Unicode {newest(CAPITALS, lambda capital: lower(capital) != capital)}",
    ]
    with whole_file(path) as stream:
        np.savez_compressed(
            stream,
            properties=properties,
            combining_class=combining_classes(),
            decomposed=decomposed,
            decomposed_splits=decomposed_splits,
            decomposition=decomposition,
            cased=cased,
            cased_splits=cased_splits,
            lowercase=lowercase,
            versions=np.array(versions),
        )


if __name__ == "__main__":
    main(sys.argv[1])
