"""What BERT's basic tokenization does to each Unicode code point, as NumPy arrays.

Follows `BertNormalizer` and `BertPreTokenizer` of Hugging Face's `tokenizers` (the steps of Google's tokenization.py,
BasicTokenizer): remove control characters and turn white space into a space; put spaces around CJK ideographs;
decompose canonically (NFD) and drop nonspacing marks; lower-case each character; split at white space and around
punctuation. Each step maps one character to zero or more characters without looking at its neighbours, so the whole is
one table from a code point to a short sequence (canonical reordering is the one exception: `bert_tf.canonical_order`).

The Unicode data is `data/unicode.npz`, made by tests/make_unicode_table.py, which names the versions. It does not
depend on the Python that runs.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

CODE_POINTS = 0x110000
REMOVED, SPACE, IDEOGRAPH, PUNCTUATION, NONSPACING = 1, 2, 4, 8, 16  # bits of the properties

HANGUL = range(0xAC00, 0xD7A4)  # 19 leading consonants x 21 vowels x 28 trailing consonants, the first of them none
_TABLE = Path(__file__).parent / "data" / "unicode.npz"


class Mapping(NamedTuple):
    """Code points that become something else: `keys[i]` (sorted) becomes values[splits[i]:splits[i + 1]]."""

    keys: np.ndarray
    splits: np.ndarray
    values: np.ndarray


class UnicodeTable(NamedTuple):
    properties: np.ndarray  # uint8 (0x110000,), bits
    combining_class: np.ndarray  # uint8 (0x110000,)
    decomposition: Mapping  # canonical, full, without the Hangul syllables
    lowercase: Mapping
    versions: tuple[str, ...]


class NormalizedCharacters(NamedTuple):
    """Characters of all code points in order: code point `code[i]` yields `character[i]`, alone in its word or not."""

    code: np.ndarray  # int32 (n,), ascending
    character: np.ndarray  # int32 (n,), a space is U+0020
    isolated: np.ndarray  # bool (n,), True for punctuation and spaced ideographs


def read_unicode_table():
    """The Unicode data of this package (see the head of tests/make_unicode_table.py)."""
    with np.load(_TABLE, allow_pickle=False) as file:
        return UnicodeTable(
            file["properties"],
            file["combining_class"],
            Mapping(file["decomposed"], file["decomposed_splits"], file["decomposition"]),
            Mapping(file["cased"], file["cased_splits"], file["lowercase"]),
            tuple(file["versions"].tolist()),
        )


def normalized_characters(table, *, lowercase, strip_accents, space_ideographs):
    """Applies the steps in Hugging Face's order: clean, space ideographs, strip accents, lower-case, split.

    Args:
        table: UnicodeTable.
        lowercase, strip_accents, space_ideographs: bool.

    Returns:
        NormalizedCharacters. A code point that is removed does not appear in it.
    """
    code = np.flatnonzero(table.properties & REMOVED == 0).astype(np.int32)
    character = np.where(table.properties[code] & SPACE, np.int32(0x20), code)
    spaced = (table.properties[code] & IDEOGRAPH != 0) & space_ideographs
    if strip_accents:
        character, (code, spaced) = _replace(character, _with_hangul(table.decomposition), code, spaced)
        kept = table.properties[character] & NONSPACING == 0
        character, code, spaced = character[kept], code[kept], spaced[kept]
    if lowercase:
        character, (code, spaced) = _replace(character, table.lowercase, code, spaced)
    return NormalizedCharacters(code, character, spaced | (table.properties[character] & PUNCTUATION != 0))


def _replace(character, mapping, *companions):
    """Replaces each mapped character by its sequence; each companion array repeats its entry for the whole sequence."""
    index = np.minimum(np.searchsorted(mapping.keys, character), len(mapping.keys) - 1)
    mapped = mapping.keys[index] == character
    lengths = np.where(mapped, np.diff(mapping.splits)[index], 1)
    place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)  # 0, 1, .. in each sequence
    mapped, index = np.repeat(mapped, lengths), np.repeat(index, lengths)
    replaced = np.repeat(character, lengths)
    replaced[mapped] = mapping.values[mapping.splits[index[mapped]] + place[mapped]]
    return replaced, [np.repeat(companion, lengths) for companion in companions]


def _with_hangul(decomposition):
    """Adds the decompositions of the 11,172 Hangul syllables (The Unicode Standard, section 3.12)."""
    syllables = np.arange(len(HANGUL), dtype=np.int32)
    jamo = np.stack([0x1100 + syllables // 588, 0x1161 + syllables % 588 // 28, 0x11A7 + syllables % 28], axis=1)
    present = jamo != 0x11A7  # no trailing consonant
    before = np.searchsorted(decomposition.keys, HANGUL.start)
    split = decomposition.splits[before]
    lengths = np.insert(np.diff(decomposition.splits), before, present.sum(axis=1))
    return Mapping(
        np.insert(decomposition.keys, before, syllables + HANGUL.start),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        np.insert(decomposition.values, split, jamo[present]),
    )
