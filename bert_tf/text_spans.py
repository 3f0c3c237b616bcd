"""Stretches of texts by their places in code points, as the tokenizer's offsets count them."""

import tensorflow as tf


def code_points_of(texts):
    """(splits (B + 1,), code points) of texts (B,) of any bytes: a faulty sequence is one U+FFFD, as the tokenizer
    counts it."""
    return tf.raw_ops.UnicodeDecode(
        input=texts,
        input_encoding="UTF-8",
        errors="replace",
        replacement_char=0xFFFD,
        replace_control_characters=False,
        Tsplits=tf.int32,
    )


def cut_spans(texts, text, begins, ends):
    """Cuts K stretches out of texts.

    Args:
        texts: (B,) string, of any bytes.
        text: (K,) int32, the number of the text of each stretch.
        begins, ends: (K,) int32, in code points.

    Returns:
        (K,) string.
    """
    splits, code_points = code_points_of(texts)
    start = tf.gather(splits, text)
    span_splits, places = tf.raw_ops.RaggedRange(starts=start + begins, limits=start + ends, deltas=1, Tsplits=tf.int32)
    return tf.raw_ops.UnicodeEncode(
        input_values=tf.gather(code_points, places),
        input_splits=span_splits,
        output_encoding="UTF-8",
        errors="replace",
        replacement_char=0xFFFD,
    )


def by_text(values, text, count, default):
    """(K, …) values of K stretches, in the order of their texts, as rows (count, most of a text, …)."""
    splits = tf.searchsorted(text, tf.range(count + 1))
    return tf.RaggedTensor.from_row_splits(values, splits, validate=False).to_tensor(default)
