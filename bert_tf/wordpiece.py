"""WordPiece in core TensorFlow ops: code points in, token ids out, all words of a batch side by side.

Greedy longest match first, as in Google's tokenization.py (WordpieceTokenizer) and the WordPiece model of Hugging
Face's `tokenizers`: a word is matched from its start, then each rest against the tokens that begin with "##"; a word
that cannot be covered, or that is longer than 100 characters, is one unknown token.

Everything is flat and int32. Lengths: n code points, m symbols, w words; `bert_tf.vocabulary_tables` says what a
symbol is.
"""

from typing import NamedTuple

import tensorflow as tf

from bert_tf.vocabulary_tables import (
    CONTINUATIONS,
    COUNT_MASK,
    LONGEST_WORD,
    PAGE,
    SPACE,
    START_SHIFT,
    UNKNOWN,
    WORDS,
)
from bert_tf.wordpiece_trie import NO_TOKEN

STRIDE = 4  # steps down the trie between two looks at who has come to an end


class Pieces(NamedTuple):
    """Tokens of all rows end to end, (tokens,) each; a piece covers the symbols start .. end - 1."""

    ids: tf.Tensor
    start: tf.Tensor
    end: tf.Tensor


class WordPiece(tf.Module):
    """The arrays of a vocabulary as constants, and the ops that read them.

    Args:
        tables: VocabularyTables.
        vocab_size: number of tokens.
        unk_id: id of the unknown token.
    """

    def __init__(self, tables, vocab_size, unk_id):
        super().__init__(name="wordpiece")
        self._page_start = tf.constant(tables.page_start)
        self._entries = tf.constant(tables.entries)
        self._pool = tf.constant(tables.pool)
        self._slots = tf.constant(tables.trie.slots)
        self._roots, self._leaf = tables.trie.roots, tables.trie.leaf
        self._first_isolated = tables.first_isolated
        self._vocab_size = vocab_size
        self._unk_id = unk_id

    def entries(self, code_points):
        """What each code point becomes: START << START_SHIFT | flags | count, int32 (n,)."""
        page = tf.gather(self._page_start, code_points // PAGE)
        return tf.gather(self._entries, page + code_points % PAGE)

    def symbols(self, entries):
        """Symbols of all entries end to end (m,), and where those of each entry begin and end (n + 1,)."""
        start = tf.bitwise.right_shift(entries, START_SHIFT)
        splits, places = tf.raw_ops.RaggedRange(
            starts=start, limits=start + tf.bitwise.bitwise_and(entries, COUNT_MASK), deltas=1, Tsplits=tf.int32
        )
        return tf.gather(self._pool, places), splits

    def pieces(self, symbols):
        """Splits symbols (m,), of which the last is a space, into words and these into Pieces."""
        # A word starts at an isolated symbol and behind one, and behind a space.
        separate = (symbols == SPACE) | (symbols >= self._first_isolated)
        boundary = separate | tf.concat([[True], separate[:-1]], 0)[: tf.size(symbols)]
        # What follows a word's first symbol; SPACE (0) stands at the first ones, so that a word ends before them.
        rest = tf.pad(tf.where(boundary, SPACE, symbols), [[0, STRIDE]])  # (m + STRIDE,)

        start = tf.cast(tf.where(boundary)[:, 0], tf.int32)
        end = tf.concat([start[1:], [tf.size(symbols)]], 0)
        first = tf.gather(symbols, start)
        word = tf.where(first != SPACE)[:, 0]
        start, end, first = tf.gather(start, word), tf.gather(end, word), tf.gather(first, word)  # (w,)
        first = tf.where(end - start > LONGEST_WORD, UNKNOWN, first)  # no token begins with UNKNOWN

        ids, piece_start, piece_end, piece_word, unknown = self._cover(first, start, rest)

        # Of an unknown word only one piece stays, the unknown token over its whole length.
        known = tf.where(~tf.gather(unknown, piece_word))[:, 0]
        unknown = tf.where(unknown)[:, 0]
        ids = tf.concat([tf.gather(ids, known), tf.fill(tf.shape(unknown), self._unk_id)], 0)
        piece_start = tf.concat([tf.gather(piece_start, known), tf.gather(start, unknown)], 0)
        piece_end = tf.concat([tf.gather(piece_end, known), tf.gather(end, unknown)], 0)

        # Put the pieces in the order of the text: each one's number at its start, then the filled places in order.
        number = tf.range(1, tf.size(ids) + 1)
        at_start = tf.math.unsorted_segment_sum(number, piece_start, tf.size(symbols))
        order = tf.gather(at_start, tf.where(at_start > 0)[:, 0]) - 1
        return Pieces(tf.gather(ids, order), tf.gather(piece_start, order), tf.gather(piece_end, order))

    def _cover(self, first, start, rest):
        """Covers each word with tokens, one token of every unfinished word a round.

        Args:
            first: (w,) first symbol of each word.
            start: (w,) where it stands.
            rest: (m + STRIDE,) the symbols; SPACE where a word starts or none is.

        Returns:
            ids, starts, ends and words of the pieces, (pieces,) each, and unknown, bool (w,): words that no sequence of
            tokens covers (the pieces found for them until then are among the pieces).
        """
        lists = [tf.TensorArray(tf.int32, 0, True, infer_shape=False, element_shape=[None]) for _ in range(5)]

        def match(turn, word, symbol, at, lists):
            root = tf.where(turn == 0, self._roots[WORDS], self._roots[CONTINUATIONS])
            token, length = self._longest_match(root, symbol, at, rest)
            found, lost = tf.where(token != NO_TOKEN)[:, 0], tf.where(token == NO_TOKEN)[:, 0]
            unknown = tf.gather(word, lost)
            word, at = tf.gather(word, found), tf.gather(at, found)
            token, behind = tf.gather(token, found), at + tf.gather(length, found)
            new = (token, at, behind, word, unknown)
            lists = [list_.write(turn, values) for list_, values in zip(lists, new, strict=True)]
            symbol = tf.gather(rest, behind)
            left = tf.where(symbol != SPACE)[:, 0]
            return turn + 1, tf.gather(word, left), tf.gather(symbol, left), tf.gather(behind, left), lists

        *_, lists = tf.while_loop(
            lambda turn, word, *_: (turn == 0) | (tf.size(word) > 0),
            match,
            [0, tf.range(tf.size(first)), first, start, lists],
            shape_invariants=[tf.TensorShape([])] + [tf.TensorShape([None])] * 3 + [[None] * 5],
        )
        ids, starts, ends, words, unknown = [list_.concat() for list_ in lists]
        unknown = tf.math.unsorted_segment_sum(tf.ones_like(unknown), unknown, tf.size(first)) > 0
        return ids, starts, ends, words, unknown

    def _longest_match(self, root, symbol, at, rest):
        """The longest token under `root` that matches at each place, and its length; token -1 where none does.

        Args:
            root: base of the root.
            symbol: (k,) the symbol to match first.
            at: (k,) its place in `rest`.
            rest: (m + STRIDE,) the symbols behind it; SPACE ends a word.
        """
        count = tf.size(symbol)
        hits = [tf.TensorArray(tf.int32, 0, True, infer_shape=False, element_shape=[None]) for _ in range(2)]

        def stride(turn, walker, base, symbol, at, hits):
            hit = tf.fill(tf.shape(walker), -1)  # the longest is the largest of length * vocab_size + id
            for step in range(STRIDE):  # walkers that have come to an end stand still at a leaf until the next stride
                owner, child, token = tf.unstack(tf.gather(self._slots, base + symbol), axis=1)
                follows = owner == base
                base = tf.where(follows, child, self._leaf)
                length = turn * STRIDE + step + 1
                hit = tf.where(follows & (token != NO_TOKEN), length * self._vocab_size + token, hit)
                symbol = tf.gather(rest, at + step + 1)
            hits = [hits[0].write(turn, walker), hits[1].write(turn, hit)]
            on = tf.where(base != self._leaf)[:, 0]
            walker, base, symbol = tf.gather(walker, on), tf.gather(base, on), tf.gather(symbol, on)
            return turn + 1, walker, base, symbol, tf.gather(at, on) + STRIDE, hits

        *_, hits = tf.while_loop(
            lambda turn, walker, *_: (turn == 0) | (tf.size(walker) > 0),
            stride,
            [0, tf.range(count), tf.fill([count], root), symbol, at, hits],
            shape_invariants=[tf.TensorShape([])] + [tf.TensorShape([None])] * 4 + [[None] * 2],
        )
        walkers, hits = [list_.concat() for list_ in hits]
        best = tf.maximum(tf.math.unsorted_segment_max(hits, walkers, count), -1)
        length = best // self._vocab_size
        return tf.where(best >= 0, best - length * self._vocab_size, NO_TOKEN), length
