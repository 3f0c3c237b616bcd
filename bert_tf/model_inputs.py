"""From token ids to the rows a BERT reads: [CLS] A [SEP], or [CLS] A [SEP] B [SEP] for a pair, padded at the end."""

import tensorflow as tf


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


def model_inputs(tokens, pairs, max_length, width, *, cls_id, sep_id, pad_id):
    """Rows of token ids, types and mask.

    Args:
        tokens: Tokens of all texts (`bert_tf.text_tokens`); with pairs, of all first texts and then all second ones.
        pairs: bool, whether the texts are pairs.
        max_length: int32 scalar, cut rows to this many tokens.
        width: int32 scalar, pad rows to this many tokens, or to the longest row if that is longer.
        cls_id, sep_id, pad_id: int, the special tokens.

    Returns:
        dict of int32 (rows, length): input_ids, token_type_ids, attention_mask; and offset_mapping (rows, length, 2) if
        the tokens have offsets, (0, 0) for the special tokens.
    """
    start, length = tokens.splits[:-1], tokens.splits[1:] - tokens.splits[:-1]
    cls, sep = (tf.fill(tf.shape(start), tf.size(tokens.ids) + place) for place in (0, 1))  # behind the other tokens
    if pairs:
        start, second_start = tf.split(start, 2)
        length, second_length = tf.split(length, 2)
        length, second_length = truncate_longest_first(length, second_length, max_length - 3)
        cls, sep = cls[: tf.size(start)], sep[: tf.size(start)]
        stretches = [(cls, 1), (start, length), (sep, 1), (second_start, second_length), (sep, 1)]
    else:
        length = tf.minimum(length, max_length - 2)
        stretches = [(cls, 1), (start, length), (sep, 1)]

    # A row is some stretches of the tokens one behind the other.
    splits, places = tf.raw_ops.RaggedRange(
        starts=tf.reshape(tf.stack([begin for begin, _ in stretches], 1), [-1]),
        limits=tf.reshape(tf.stack([begin + count for begin, count in stretches], 1), [-1]),
        deltas=1,
        Tsplits=tf.int32,
    )
    splits = splits[:: len(stretches)]
    total = (splits[1:] - splits[:-1])[:, None]
    width = tf.maximum(width, tf.reduce_max(tf.concat([[[0]], total], 0)))

    def padded(values, pad):
        rows = tf.RaggedTensor.from_row_splits(tf.gather(values, places), splits, validate=False)
        return rows.to_tensor(pad, shape=tf.stack([-1, width, *values.shape[1:]]))

    column = tf.range(width)
    attention_mask = tf.cast(column < total, tf.int32)
    second = column > length[:, None] + 1 if pairs else tf.zeros([], tf.bool)
    batch = {
        "input_ids": padded(tf.concat([tokens.ids, [cls_id, sep_id]], 0), pad_id),
        "token_type_ids": attention_mask * tf.cast(second, tf.int32),
        "attention_mask": attention_mask,
    }
    if tokens.offsets is not None:
        batch["offset_mapping"] = padded(tf.pad(tokens.offsets, [[0, 2], [0, 0]]), 0)
    return batch
