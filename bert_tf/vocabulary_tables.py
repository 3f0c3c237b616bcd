"""A vocabulary and the character data of its settings, compiled into the arrays that the tokenizer graph reads.

Characters become symbols, small numbers that mean something to this vocabulary only:
    0                 white space
    1                 a character that no token contains
    2 ..              the characters of the tokens
    first_isolated    a character that is a word of its own (punctuation, CJK ideograph) and no token
    .. + 1 ..         the one-character tokens, as words of their own
    .. ..             the special tokens
so that "what is this code point" and "which node of the trie comes next" are one gather each.
"""

from typing import NamedTuple

import numpy as np

from bert_tf.characters import CODE_POINTS, REMOVED
from bert_tf.wordpiece_trie import Trie, build_trie

SPACE, UNKNOWN, FIRST_LETTER = 0, 1, 2
CONTINUATION = "##"
LONGEST_WORD = 100  # characters; a longer word is unknown (`max_input_chars_per_word`)
WORDS, CONTINUATIONS = 0, 1  # roots of the trie

# An entry says what a code point becomes: START << START_SHIFT | flags | number of symbols, a stretch of the pool.
COUNT_MASK, REMOVED_FLAG, REORDERED_FLAG, START_SHIFT = 7, 8, 16, 5
PAGE = 256  # code points; most pages are alike and are stored once


class VocabularyTables(NamedTuple):
    page_start: np.ndarray  # int32 (pages,): the entry of code point c is entries[page_start[c // 256] + c % 256]
    entries: np.ndarray  # int32
    pool: np.ndarray  # int32, symbols
    first_isolated: int  # symbols from here on are words of their own
    trie: Trie


def build_tables(vocab, special_ids, characters, table, reordered):
    """Compiles one vocabulary.

    Args:
        vocab: list of different, non-empty tokens; a token's id is its place.
        special_ids: ids of the special tokens. Code point 0x110000 + i stands for the i-th of them in the graph, and
            0x110000 + len(special_ids) for nothing (the rest of a special token's text).
        characters: NormalizedCharacters of the settings.
        table: UnicodeTable.
        reordered: bool (0x110000,), code points that `bert_tf.canonical_order` must look at.
    """
    spelt, lengths, root, token = _matchable(vocab)
    alphabet, letters = np.unique(spelt, return_inverse=True)
    singles = np.flatnonzero((lengths == 1) & (root == WORDS))  # sequences of one character
    single_characters = spelt[(np.cumsum(lengths) - lengths)[singles]]
    order = np.argsort(single_characters)
    singles, single_characters = singles[order], single_characters[order]

    first_isolated = FIRST_LETTER + len(alphabet)
    first_single = first_isolated + 1
    first_special = first_single + len(singles)
    specials = np.arange(len(special_ids), dtype=np.int32)

    sequences = np.zeros((len(lengths), lengths.max(initial=1)), np.int32)
    sequences[np.arange(sequences.shape[1]) < lengths[:, None]] = FIRST_LETTER + letters
    alone = np.concatenate([first_single + np.arange(len(singles)), first_special + specials])
    trie = build_trie(
        np.concatenate([sequences, np.pad(alone[:, None], ((0, 0), (0, sequences.shape[1] - 1)))]),
        np.concatenate([lengths, np.ones_like(alone)]),
        np.concatenate([root, np.full_like(alone, WORDS)]),
        np.concatenate([token, token[singles], np.asarray(special_ids, np.int64)]),
        roots=2,
    )

    symbol = np.where(
        characters.isolated,
        _rank(single_characters, characters.character, first_single, absent=first_isolated),
        _rank(alphabet, characters.character, FIRST_LETTER, absent=UNKNOWN),
    )
    symbol[characters.character == ord(" ")] = SPACE
    entries, pool = _pool(
        np.concatenate([characters.code, CODE_POINTS + specials]),
        np.concatenate([symbol, first_special + specials]),
        codes=CODE_POINTS + len(specials) + 1,
        symbols=first_special + len(specials),
    )
    entries[:CODE_POINTS] |= reordered * REORDERED_FLAG | (table.properties & REMOVED != 0) * REMOVED_FLAG
    entries[-1] |= REMOVED_FLAG
    return VocabularyTables(*_pages(entries), pool, first_isolated, trie)


def _matchable(vocab):
    """The tokens that a word can match, without "##": their code points end to end, lengths, roots and ids."""
    root = np.array([token.startswith(CONTINUATION) for token in vocab], np.int64)
    texts = [token[2:] if continues else token for token, continues in zip(vocab, root, strict=True)]
    lengths = np.array([len(text) for text in texts], np.int64)
    token = np.flatnonzero((lengths > 0) & (lengths <= LONGEST_WORD))
    joined = "".join(texts[index] for index in token)
    return np.frombuffer(joined.encode("utf-32-le"), np.uint32).astype(np.int32), lengths[token], root[token], token


def _rank(alphabet, characters, first, *, absent):
    """The symbol of each character: first + its place in the sorted alphabet, or `absent`."""
    if not len(alphabet):
        return np.full_like(characters, absent)
    place = np.minimum(np.searchsorted(alphabet, characters), len(alphabet) - 1)
    return np.where(alphabet[place] == characters, first + place, absent).astype(np.int32)


def _pool(code, symbol, *, codes, symbols):
    """Entries (codes,) and the pool they point into: all symbols in order, then the sequences of two and more."""
    count = np.bincount(code, minlength=codes)
    assert count.max() <= COUNT_MASK
    start = np.append(symbol, 0)[
        np.cumsum(count) - count
    ]  # of a sequence of one; a sequence of none may start anywhere
    longer = count > 1
    start[longer] = symbols + np.cumsum(count[longer]) - count[longer]
    pool = np.concatenate([np.arange(symbols), symbol[longer[code]]])
    return (start << START_SHIFT | count).astype(np.int32), pool.astype(np.int32)


def _pages(entries):
    """The start of each page, and the different pages end to end."""
    pages = np.pad(entries, (0, -len(entries) % PAGE)).reshape(-1, PAGE)
    numbers = {}
    index = [numbers.setdefault(page.tobytes(), len(numbers)) for page in pages]
    return np.array(index, np.int32) * PAGE, np.frombuffer(b"".join(numbers), np.int32)
