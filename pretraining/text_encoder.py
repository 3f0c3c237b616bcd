"""Text to token ids for `prepare`: the words of a whole text at once, each looked up in a table of the words seen.

Cleaning, accents, lower-casing, Chinese spacing, punctuation and WordPiece (`tokenizers`) never look across a space
(U+0020) nor across ASCII punctuation, so the ids of a text are those of its words in a row (a punctuation mark is a
word), and a word met before costs one look-up. The look-ups are NumPy's: the bytes of a word are its key, so that no
two words share an entry, and the table never changes an id.
"""

import numpy as np

KEY_BYTES = 15  # a word of more bytes (one in a thousand) has its entry in a Python dictionary
LONG_WORD_BYTES = 100  # a word of more bytes is not kept

_SPACE, _MARK, _NEW_LINE = 1, 2, 3  # kinds of bytes; 0: of a word
_KINDS = np.zeros(256, np.uint8)
_KINDS[np.frombuffer(b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", np.uint8)] = _MARK
_KINDS[np.frombuffer(b" ", np.uint8)] = _SPACE
_KINDS[np.frombuffer(b"\n", np.uint8)] = _NEW_LINE
_KEPT_BYTES = (1 << 8 * np.arange(8, dtype=np.uint64)) - np.uint64(1)  # [n] keeps the n first bytes of a uint64, n < 8


class TextEncoder:
    """Sentences to token ids.

    Args:
        directory: `TokenizerDirectory`.
        capacity: how many words are kept, a power of two: the first that come, which are the frequent ones. 2^20 take
            about 90 MB.
    """

    def __init__(self, directory, capacity=2**20):
        self.dtype = directory.token_dtype
        self._tokenizer, self._lower_case = directory.rust_tokenizer(), directory.settings["do_lower_case"]
        self._capacity = capacity
        self._table = _WordTable(2 * capacity)
        self._long = {}  # bytes of a long word -> its number
        self._kept, self._kept_ids = 0, 0  # how many words, and ids of theirs, are kept
        self._starts, self._counts = np.zeros(0, np.int32), np.zeros(0, np.int32)  # of a word's ids in _ids
        self._ids = np.zeros(0, self.dtype)

    def __call__(self, sentences):
        """The ids of all sentences in a row, and how many each of them has.

        Args:
            sentences: a list of strings without line breaks "\\n".

        Returns:
            (ids, lengths): uint16 or uint32 [tokens], int32 [sentences].
        """
        text = "\n".join([*sentences, ""]).encode()
        if self._lower_case:
            text = text.lower()  # of bytes: the ASCII letters
        kinds = _KINDS[np.frombuffer(text, np.uint8)]
        begins, ends = _words(kinds)
        number = self._numbers(text, begins, ends)

        tokens = self._counts[number]  # of each word
        until = np.cumsum(tokens, dtype=np.int64)
        place = np.arange(until[-1] if len(until) else 0) + np.repeat(self._starts[number] - (until - tokens), tokens)
        words_before = np.searchsorted(begins, np.flatnonzero(kinds == _NEW_LINE))  # the end of each sentence
        tokens_before = np.concatenate([[0], until])[words_before]
        return self._ids[place], np.diff(tokens_before, prepend=0).astype(np.int32)

    def _numbers(self, text, begins, ends):
        """The number of each word: where its ids are in _starts and _counts, until the next call."""
        low, high = _keys(text, begins, ends)
        number = self._table.find(low, high)
        is_long = ends - begins > KEY_BYTES
        words, long_words = [], {}
        for place in np.flatnonzero(is_long):
            word = text[begins[place] : ends[place]]
            found = self._long.get(word, long_words.get(word))
            if found is None:
                found = long_words[word] = self._kept + len(words)
                words.append(word)
            number[place] = found

        missing = np.flatnonzero((number < 0) & ~is_long)
        first_short = self._kept + len(words)
        keys = np.stack([low[missing], high[missing]], axis=1).view("V16").ravel()
        _, example, which = np.unique(keys, return_index=True, return_inverse=True)
        number[missing] = first_short + which
        short = missing[example]
        words += [text[a:b] for a, b in zip(begins[short].tolist(), ends[short].tolist(), strict=True)]
        if words:
            words_end, ids_end = self._add(words)
            if words_end <= self._capacity:
                self._kept, self._kept_ids = words_end, ids_end
                self._long.update((word, at) for word, at in long_words.items() if len(word) <= LONG_WORD_BYTES)
                self._table.insert(low[short], high[short], first_short + np.arange(len(short)))
        return number

    def _add(self, words):
        """Puts the ids of words behind those that are kept; returns where the words and the ids end."""
        new = self._encode([word.decode() for word in words])
        ids = [token for tokens in new for token in tokens]
        counts = np.fromiter(map(len, new), np.int32, len(new))
        starts = self._kept_ids + np.cumsum(counts, dtype=np.int32) - counts
        self._starts = _put(self._starts, self._kept, starts)
        self._counts = _put(self._counts, self._kept, counts)
        self._ids = _put(self._ids, self._kept_ids, np.array(ids, self.dtype))
        return self._kept + len(new), self._kept_ids + len(ids)

    def _encode(self, words):
        """The ids of each word."""
        tokenize, encode = self._tokenizer.model.tokenize, self._tokenizer.encode
        return [
            [token.id for token in tokenize(word)]  # nothing to clean or to split: a third of the time
            if word.isascii() and word.isalnum()
            else encode(word, add_special_tokens=False).ids
            for word in words
        ]


def _put(array, place, values):
    """The array with the values from a place on, or a larger one."""
    end = place + len(values)
    if end > len(array):
        array = np.concatenate([array, np.zeros(max(end, 2 * len(array)) - len(array), array.dtype)])
    array[place:end] = values
    return array


def _words(kinds):
    """Where the words of a text begin and end: "a bc, d" has the words a, bc, "," and d."""
    letter, mark = kinds == 0, kinds == _MARK
    begin, end = letter.copy(), letter.copy()
    begin[1:] &= ~letter[:-1]
    end[:-1] &= ~letter[1:]
    return np.flatnonzero(begin | mark), np.flatnonzero(end | mark) + 1


def _keys(text, begins, ends):
    """Two uint64 a word: its bytes 0 to 7, and its bytes 8 to 14 with its length + 1 on top (0: no word)."""
    padded = np.frombuffer(text + bytes(16), np.uint8)
    eight_bytes = np.lib.stride_tricks.as_strided(padded[:8].view("<u8"), (len(text) + 9,), (1,))  # from each place on
    lengths = np.minimum(ends - begins, KEY_BYTES)
    low, high = eight_bytes[begins], eight_bytes[begins + 8]
    low &= np.where(lengths < 8, _KEPT_BYTES[np.minimum(lengths, 7)], ~np.uint64(0))
    high &= _KEPT_BYTES[np.maximum(lengths - 8, 0)]
    return low, high | (lengths + 1).astype(np.uint64) << np.uint64(56)


class _WordTable:
    """Pairs of uint64 (the second not 0) -> numbers; open addressing with linear probing, all words at once."""

    def __init__(self, slots):
        """slots: a power of two, larger than the number of pairs to come."""
        self._shift = np.uint64(64 - (slots.bit_length() - 1))
        self._entries = np.zeros((slots, 4), np.uint64)  # low, high, number, nothing: half a line of the cache

    def _slots(self, low, high):
        mixed = (low ^ high >> np.uint64(29)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ mixed >> np.uint64(32) ^ high) * np.uint64(0xC2B2AE3D27D4EB4F)
        return (mixed >> self._shift).astype(np.int64)

    def find(self, low, high):
        """int32 [words]: the numbers, -1 where there is none."""
        return self._find_from(self._slots(low, high), low, high)

    def _find_from(self, slot, low, high):
        entries = self._entries.take(slot, axis=0)
        there = entries[:, 1]
        equal = (there == high) & (entries[:, 0] == low)
        number = np.where(equal, entries[:, 2].astype(np.int32), -1)
        again = np.flatnonzero(~equal & (there != 0))
        if len(again):
            next_slot = (slot[again] + 1) & (len(self._entries) - 1)
            number[again] = self._find_from(next_slot, low[again], high[again])
        return number

    def insert(self, low, high, number):
        """Adds pairs that are all different and not in the table."""
        slot = self._slots(low, high)
        while len(slot):
            _, first = np.unique(slot, return_index=True)  # of the pairs that want one slot, the first may have it
            first = first[self._entries[slot[first], 1] == 0]
            self._entries[slot[first], :3] = np.stack([low, high, number.astype(np.uint64)], axis=1)[first]
            left = np.ones(len(slot), bool)
            left[first] = False
            low, high, number = low[left], high[left], number[left]
            slot = (slot[left] + 1) & (len(self._entries) - 1)
