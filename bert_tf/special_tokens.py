"""Finds special tokens that are written out in a text ("the [MASK] sat"), before the text is cleaned.

Follows the added tokens of Hugging Face's `tokenizers` (special, not normalized): exact characters, anywhere in the
text, also inside a word; of two that overlap the one that starts first wins, of two that start together the longer.
"""

import numpy as np
import tensorflow as tf

from bert_tf.characters import CODE_POINTS

_ANY = -1


class SpecialTokens(tf.Module):
    """The texts of the special tokens as one matrix of code points.

    Args:
        tokens: list of different, non-empty str.
    """

    def __init__(self, tokens):
        super().__init__(name="special_tokens")
        spelt = [[ord(character) for character in token] for token in tokens]
        longest_first = sorted(range(len(tokens)), key=lambda index: -len(spelt[index]))
        width = len(spelt[longest_first[0]])
        texts = np.full((len(tokens), width), _ANY, np.int32)
        for row, index in enumerate(longest_first):
            texts[row, : len(spelt[index])] = spelt[index]
        self._first_characters = sorted({text[0] for text in spelt})
        self._texts = tf.constant(texts)  # (tokens, width), padded with _ANY
        self._numbers = tf.constant(longest_first, tf.int32)
        self._lengths = tf.constant([len(text) for text in spelt], tf.int32)
        self._nothing = CODE_POINTS + len(tokens)

    def mark(self, code_points):
        """Replaces the text of special token i by 0x110000 + i, then 0x110000 + len(tokens) to its end.

        Args:
            code_points: int32 (n,), n >= 1.

        Returns:
            int32 (n,).
        """
        maybe = tf.reduce_any([code_points == character for character in self._first_characters], axis=0)
        start = tf.cast(tf.where(maybe)[:, 0], tf.int32)
        window = start[:, None] + tf.range(self._texts.shape[1])  # (candidates, width)
        window = tf.gather(code_points, tf.minimum(window, tf.size(code_points) - 1))
        equal = tf.reduce_all((window[:, None] == self._texts) | (self._texts == _ANY), axis=2)  # (candidates, tokens)
        found = tf.where(tf.reduce_any(equal, axis=1))[:, 0]
        number = tf.gather(self._numbers, tf.argmax(tf.cast(tf.gather(equal, found), tf.int32), axis=1))
        start, number = self._without_overlaps(tf.gather(start, found), number)
        _, rest = tf.raw_ops.RaggedRange(
            starts=start + 1, limits=start + tf.gather(self._lengths, number), deltas=1, Tsplits=tf.int32
        )
        places = tf.concat([start, rest], 0)[:, None]
        values = tf.concat([CODE_POINTS + number, tf.fill(tf.shape(rest), self._nothing)], 0)
        return tf.tensor_scatter_nd_update(code_points, places, values)

    def lengths_at(self, code_points):
        """Length in characters of the special token that each marked code point stands for, 1 for other code points."""
        number = code_points - CODE_POINTS
        special = (number >= 0) & (code_points < self._nothing)
        return tf.where(special, tf.gather(self._lengths, tf.where(special, number, 0)), 1)

    def _without_overlaps(self, start, number):
        """Drops each match that begins inside a kept one before it; the tokens of BERT never overlap."""

        def overlapping(start, number):
            return start[1:] < (start + tf.gather(self._lengths, number))[:-1]

        def drop_first(start, number):
            first = tf.where(overlapping(start, number))[0, 0] + 1  # all before it are disjoint, so it is the one to go
            keep = tf.where(tf.range(tf.size(start, tf.int64), dtype=tf.int64) != first)[:, 0]
            return tf.gather(start, keep), tf.gather(number, keep)

        return tf.while_loop(
            lambda start, number: tf.reduce_any(overlapping(start, number)),
            drop_first,
            [start, number],
            shape_invariants=[tf.TensorShape([None])] * 2,
        )
