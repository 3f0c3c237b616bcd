"""Several sequences in one row, each as if it were alone: no place is spent on padding.

Krell et al. 2021 (arXiv 2107.02027): a token sees the tokens of its own sequence and positions begin anew with each, so
that the outputs are those of the sequences one by one. `pack` makes such rows; a `BertModel` reads in them where each
sequence begins, `sequence_starts`. Shapes: B rows, S places of a row, K sequences of a row at most, N sequences.
"""

import numpy as np
from keras import ops

from bert_tf.errors import InputError


def pack(sequences, length, pad_token_id=0):
    """Rows of `length` places with the sequences, the longest first, each where the room that is left fits best.

    Args:
        sequences: N dictionaries of equally long lists of integers: `input_ids`, and `token_type_ids` (default: 0).
        length: S.

    Returns:
        batch: int32 `input_ids`, `attention_mask`, `token_type_ids` (B, S) and `sequence_starts` (B, K), where the
            sequences of a row begin, in rising order; S where there is none.
        places: (N, 2) int32, the row and the number in the row of each sequence.

    >>> batch, places = pack([{"input_ids": [2, 7, 3]}, {"input_ids": [2, 3]}, {"input_ids": [2, 8, 9, 3]}], 6)
    >>> batch["input_ids"].tolist(), batch["sequence_starts"].tolist()
    ([[2, 8, 9, 3, 2, 3], [2, 7, 3, 0, 0, 0]], [[0, 4], [0, 6]])
    >>> places.tolist()
    [[1, 0], [0, 1], [0, 0]]

    Raises:
        InputError: a sequence of no tokens, or of more than `length`.
    """
    lengths = [len(one["input_ids"]) for one in sequences]
    for number, size in enumerate(lengths):
        if not 0 < size <= length:
            raise InputError(
                f"sequence {number} has {size} tokens, expected 1 to {length}; cut it, or take longer rows"
            )
    rows, with_room = [], {}  # the numbers of the sequences of each row; {room left: rows}
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        room = next((room for room in range(lengths[number], length + 1) if with_room.get(room)), None)
        if room is None:
            rows.append([])
            row, room = len(rows) - 1, length
        else:
            row = with_room[room].pop()
        rows[row].append(number)
        with_room.setdefault(room - lengths[number], []).append(row)
    most = max(map(len, rows), default=0)
    batch = {
        "input_ids": np.full((len(rows), length), pad_token_id, np.int32),
        "attention_mask": np.zeros((len(rows), length), np.int32),
        "token_type_ids": np.zeros((len(rows), length), np.int32),
        "sequence_starts": np.full((len(rows), most), length, np.int32),
    }
    places = np.zeros((len(lengths), 2), np.int32)
    for row, numbers in enumerate(rows):
        start = 0
        for slot, number in enumerate(numbers):
            part = slice(start, start + lengths[number])
            batch["input_ids"][row, part] = sequences[number]["input_ids"]
            batch["token_type_ids"][row, part] = sequences[number].get("token_type_ids", 0)
            batch["attention_mask"][row, part] = 1
            batch["sequence_starts"][row, slot] = start
            places[number] = row, slot
            start = part.stop
    return batch, places


def sequences_and_positions(sequence_starts, length):
    """sequence_starts (B, K) -> the number of each place's sequence, from 1, and its position in it, both (B, S) int32.

    >>> [one.tolist() for one in map(np.asarray, sequences_and_positions(np.array([[0, 4, 6]]), 6))]
    [[[1, 1, 1, 1, 2, 2]], [[0, 1, 2, 3, 0, 1]]]
    """
    starts = ops.cast(sequence_starts, "int32")[:, :, None]  # (B, K, 1)
    place = ops.arange(length, dtype="int32")
    begun = ops.cast(starts <= place, "int32")  # (B, K, S)
    return ops.sum(begun, axis=1), place - ops.max(begun * starts, axis=1)
