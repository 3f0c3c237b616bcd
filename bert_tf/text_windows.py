"""Texts longer than a model reads, as overlapping rows; in each row it is said which tokens it sees best.

The graph of `BertTokenizer.windows`. The scheme is that of google-research/bert, `run_squad.py` (doc spans and
`_check_is_max_context`); `downstream.windows` is the same in NumPy, for training.
"""

import tensorflow as tf

from bert_tf.model_inputs import model_inputs
from bert_tf.text_tokens import Tokens


def text_windows(tokens, questions, max_length, stride, **special_ids):
    """The windows over texts, each behind its question where there are questions.

    Args:
        tokens: `Tokens` of N texts, with offsets.
        questions: `Tokens` of N questions, short enough to leave room in each row; or None.
        max_length: int, tokens of a row, special tokens included.
        stride: int32 (N,) or scalar, tokens from the beginning of a window to that of the next; no more than a window
            has room for is taken, so that no token is left out.
        special_ids: cls_id, sep_id, pad_id.

    Returns:
        dict of tensors for W rows of S tokens, the rows of a text one behind the other: what `model_inputs` returns,
        where `offset_mapping` is (0, 0) for all but the tokens of the texts; `text` (W,) int32, the number of the text;
        `best_here` (W, S) bool, True for the tokens of a text that have most context in this row: one row for each.
    """
    lengths = tokens.splits[1:] - tokens.splits[:-1]
    taken = 2 if questions is None else 3 + questions.splits[1:] - questions.splits[:-1]
    room = tf.broadcast_to(max_length - taken, tf.shape(lengths))
    stride = tf.minimum(stride, room)
    counts = 1 + tf.maximum(0, -((room - lengths) // stride))  # windows of each text, at least one
    rows = tf.cumsum(counts)
    text = tf.searchsorted(rows, tf.range(tf.reduce_sum(counts)), side="right")  # (W,)
    inside_text = tf.range(tf.size(text)) - tf.gather(rows - counts, text)  # which window of its text
    start = inside_text * tf.gather(stride, text)
    size = tf.minimum(tf.gather(room, text), tf.gather(lengths, text) - start)
    begin = tf.gather(tokens.splits[:-1], text) + start
    splits, places = _ranges(begin, size)

    # Of a token's windows the one with the larger smaller side; then a hundredth of the size counts, then the earlier.
    window = tf.searchsorted(splits, tf.range(tf.size(places)), side="right") - 1
    before = places - tf.gather(begin, window)
    its_size = tf.gather(size, window)
    context = tf.cast(tf.minimum(before, its_size - 1 - before), tf.float32) + 0.01 * tf.cast(its_size, tf.float32)
    total = tf.size(tokens.ids)
    most = tf.gather(tf.math.unsorted_segment_max(context, places, total), places)
    candidate = tf.where(context >= most, window, tf.size(text))
    best_here = tf.gather(tf.math.unsorted_segment_min(candidate, places, total), places) == window

    marked = tf.concat([tf.gather(tokens.offsets, places), tf.cast(best_here, tf.int32)[:, None]], 1)
    windows = Tokens(tf.gather(tokens.ids, places), splits, marked)
    if questions is not None:
        windows = _behind(_of_rows(questions, text), windows)
    batch = model_inputs(windows, questions is not None, max_length, 0, **special_ids)
    marked = batch["offset_mapping"]
    return batch | {"offset_mapping": marked[:, :, :2], "best_here": marked[:, :, 2] == 1, "text": text}


def cut_tokens(tokens, most):
    """The first `most` tokens of each text."""
    lengths = tf.minimum(tokens.splits[1:] - tokens.splits[:-1], most)
    splits, places = _ranges(tokens.splits[:-1], lengths)
    return Tokens(tf.gather(tokens.ids, places), splits, None)


def _of_rows(tokens, text):
    """The tokens of the text of each row; their offsets are empty, for they lie in another text."""
    splits, places = _ranges(tf.gather(tokens.splits, text), tf.gather(tokens.splits[1:] - tokens.splits[:-1], text))
    return Tokens(tf.gather(tokens.ids, places), splits, tf.zeros([tf.size(places), 3], tf.int32))


def _behind(first, second):
    """The tokens of two groups of texts as one group."""
    return Tokens(
        tf.concat([first.ids, second.ids], 0),
        tf.concat([first.splits, first.splits[-1] + second.splits[1:]], 0),
        tf.concat([first.offsets, second.offsets], 0),
    )


def _ranges(starts, sizes):
    """(splits, values) of the stretches of numbers that begin at `starts` and have these sizes."""
    return tf.raw_ops.RaggedRange(starts=starts, limits=starts + sizes, deltas=1, Tsplits=tf.int32)
