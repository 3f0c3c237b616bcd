"""From token ids to the rows a BERT reads: [CLS] A [SEP], or [CLS] A [SEP] B [SEP] for a pair, padded at the end."""

import tensorflow as tf

PAD, CLS, SEP = -1, -2, -3  # places of the added tokens, in front of the first token


def truncate_longest_first(first, second, room):
    """Lengths of the two texts of each pair after taking tokens off the longer one until both fit.

    As `tokenizers` does: the shorter text keeps up to half of the room (rounded down), the longer one gets the rest; of
    two equally long texts the first counts as the shorter. Example: lengths 9 and 9 in a room of 7 become 3 and 4.

    Args:
        first, second: int32 (rows,), number of tokens.
        room: int32 scalar, tokens that fit beside the special tokens.
    """
    shorter = tf.minimum(tf.minimum(first, second), room // 2)
    longer = tf.minimum(tf.maximum(first, second), room - shorter)
    swapped = first > second
    return tf.where(swapped, longer, shorter), tf.where(swapped, shorter, longer)


def place_tokens(splits, pairs, max_length, width):
    """Where in the flat tokens each place of the rows comes from.

    Args:
        splits: int32 (texts + 1,), of the tokens of each text; with pairs, all first texts and then all second ones.
        pairs: bool, whether the texts are pairs.
        max_length: int32 scalar, cut rows to this many tokens.
        width: int32 scalar, pad rows to this many tokens, or to the longest row if that is longer.

    Returns:
        index: int32 (rows, length), a place in the flat tokens, or PAD, CLS or SEP.
        token_type_ids, attention_mask: int32 (rows, length).
    """
    start, length = splits[:-1], splits[1:] - splits[:-1]
    if pairs:
        start, second_start = tf.split(start, 2)
        length, second_length = tf.split(length, 2)
        length, second_length = truncate_longest_first(length, second_length, max_length - 3)
        total = length + second_length + 3
    else:
        length = tf.minimum(length, max_length - 2)
        total = length + 2
    column = tf.range(tf.reduce_max(tf.concat([total, [width]], 0)))[None]  # (1, length)
    start, length, total = start[:, None], length[:, None], total[:, None]  # (rows, 1)
    index = tf.where(column <= length, start + column - 1, SEP)
    if pairs:
        index = tf.where(column > length + 1, second_start[:, None] + column - length - 2, index)
        index = tf.where(column == total - 1, SEP, index)
    index = tf.where(column < total, tf.where(column == 0, CLS, index), PAD)
    attention_mask = tf.cast(column < total, tf.int32)
    token_type_ids = attention_mask * tf.cast(column > length + 1, tf.int32)
    return index, token_type_ids, attention_mask
