"""Canonical ordering (The Unicode Standard, section 3.11, D108-D109) where it changes what is left of a text.

With accent stripping, text is decomposed, the marks of each run are sorted by combining class, and nonspacing marks are
dropped. As nearly all sorted marks are then dropped, the order rarely matters; it does for the few marks that stay
(Hangul tone marks, musical stems, some viramas). A text without them is left alone.
"""

import numpy as np
import tensorflow as tf

from bert_tf.characters import NONSPACING, REMOVED
from bert_tf.vocabulary_tables import REMOVED_FLAG, REORDERED_FLAG


def staying_marks(table):
    """bool (0x110000,): code points that are, or decompose to, a mark that sorts and is not dropped afterwards."""
    stays = (table.combining_class > 0) & (table.properties & (NONSPACING | REMOVED) == 0)
    keys, splits, values = table.decomposition
    flags = stays.copy()
    flags[keys] |= np.logical_or.reduceat(stays[values], splits[:-1])
    return flags


class CanonicalOrder(tf.Module):
    """Decomposition and combining classes as constants.

    Args:
        table: UnicodeTable.
    """

    def __init__(self, table):
        super().__init__(name="canonical_order")
        keys, splits, values = table.decomposition
        marked = np.logical_or.reduceat(table.combining_class[values] > 0, splits[:-1])  # the rest stays as it is
        lengths = np.diff(splits)[marked]
        self._decomposed = tf.constant(keys[marked])
        self._start = tf.constant((np.cumsum(lengths) - lengths).astype(np.int32))
        self._length = tf.constant(lengths)
        self._decomposition = tf.constant(values[np.repeat(marked, np.diff(splits))])
        marks = np.flatnonzero(table.combining_class)
        self._marks = tf.constant(marks.astype(np.int32))
        self._classes = tf.constant(table.combining_class[marks].astype(np.int32))

    def reorder(self, code_points, splits, entries, look_up):
        """Decomposes and sorts, if any code point asks for it.

        Args:
            code_points: int32 (n,).
            splits: int32 (rows + 1,), of the rows of code_points.
            entries: int32 (n,), of each code point.
            look_up: function from code points to entries (`bert_tf.wordpiece`).

        Returns:
            entries: int32 (k,), the same, or those of the code points that are left, decomposed and sorted.
            splits: int32 (rows + 1,), of the rows of them.
            source: int32 (k,), the place among the n code points to which each is counted in offsets.
        """

        def sort():
            ordered, ordered_splits, source = self._sort(code_points, splits, removed)
            return look_up(ordered), ordered_splits, source

        removed = tf.bitwise.bitwise_and(entries, REMOVED_FLAG) != 0
        asked = tf.reduce_any(tf.bitwise.bitwise_and(entries, REORDERED_FLAG) != 0)
        return tf.cond(asked, sort, lambda: (entries, splits, tf.range(tf.size(code_points))))

    def _sort(self, code_points, splits, removed):
        index, decomposes = _find(self._decomposed, code_points)
        length = tf.where(removed, 0, tf.where(decomposes, tf.gather(self._length, index), 1))
        last = tf.cumsum(length)
        splits = tf.gather(tf.concat([[0], last], 0), splits)
        owner = tf.repeat(tf.range(tf.size(code_points)), length)  # (k,)
        place = tf.range(tf.size(owner)) - tf.gather(last - length, owner)
        index, decomposes = tf.gather(index, owner), tf.gather(decomposes, owner)
        parts = tf.gather(self._decomposition, tf.where(decomposes, tf.gather(self._start, index) + place, 0))
        code_points = tf.where(decomposes, parts, tf.gather(code_points, owner))

        index, is_mark = _find(self._marks, code_points)
        mark_class = tf.where(is_mark, tf.gather(self._classes, index), 0)
        run = tf.cumsum(tf.cast(~is_mark, tf.int64))  # a run is a character of class 0 and the marks behind it
        order = tf.argsort(run * 256 + tf.cast(mark_class, tf.int64), stable=True)
        # `tokenizers` counts the sorted characters off against the original ones; a further part of a decomposition
        # belongs to the original character of whatever stands before it.
        advances = tf.gather(place, order) == 0
        source = tf.gather(tf.where(length > 0)[:, 0], tf.cumsum(tf.cast(advances, tf.int32)) - 1)
        return tf.gather(code_points, order), splits, tf.cast(source, tf.int32)


def _find(keys, values):
    """Place of each value in the sorted keys, and whether it is there."""
    index = tf.minimum(tf.searchsorted(keys, values), tf.size(keys) - 1)
    return index, tf.gather(keys, index) == values
