"""Masked positions: 15 % of the tokens of a sequence, 80 % of them [MASK], 10 % a random token, 10 % kept.

Devlin et al. 2018, section 3.1 and A.1; google-research/bert `create_masked_lm_predictions`. Positions are chosen by
groups: a group is a token, or with whole words all pieces of a word; a random order of the groups is taken from the
front, a group that does not fit any more is passed over. Differences from the original: the 15 % are of the tokens
without [CLS] and [SEP]; [UNK] is never masked; a random token is uniform over the vocabulary without special tokens.

Everything here is arithmetic on a batch: B sequences, S positions, P slots.
"""

import numpy as np


def bits_per_row(max_seq_length, max_predictions):
    """How many random uint64 a sequence needs: one a position and one a slot, up to a whole Philox block of four."""
    return -(-(max_seq_length + max_predictions) // 4) * 4


def token_groups(maskable):
    """Each maskable token is a group of its own: bool (B, S) -> int64 (B, S), -1 where not maskable."""
    return np.where(maskable, np.arange(maskable.shape[1]), -1)


def word_groups(maskable, continuing):
    """All pieces of a word are a group; a group's number is the place of its first piece.

    maskable   0 1 1 1 0 1      ([CLS] ju ##mp ##ed [SEP] over)
    continuing 0 0 1 1 0 0
    gives     -1 1 1 1 -1 5

    Args:
        maskable: bool (B, S).
        continuing: bool (B, S), True where the token is a "##" piece. One that follows no maskable token (its word was
            cut off, or it stands behind [SEP]) starts a group.
    """
    follows = np.zeros_like(maskable)
    follows[:, 1:] = maskable[:, :-1]
    places = np.arange(maskable.shape[1])
    first = np.where(maskable & ~(continuing & follows), places, 0)
    return np.where(maskable, np.maximum.accumulate(first, axis=1), -1)


def choose_positions(groups, bits, masked_lm_prob, max_predictions):
    """Which positions are predicted.

    In a row with n maskable tokens the number of predictions is round(n · masked_lm_prob), at least 1 (at least the
    smallest group) and at most max_predictions; whole words may leave it short by less than the shortest word that is
    left. A row with no group that fits has none.

    Args:
        groups: int (B, S), -1 or the place of the group's first token.
        bits: uint64 (B, S), random.

    Returns:
        bool (B, S).
    """
    rows, length = groups.shape
    places = np.arange(length)
    grouped = groups >= 0
    flat = (groups + np.arange(rows)[:, None] * length)[grouped]
    sizes = np.bincount(flat, minlength=rows * length).reshape(rows, length)  # of the group that starts there, or 0
    exists = sizes > 0
    smallest = np.where(exists, sizes, length + 1).min(axis=1)
    budget = np.maximum(np.rint(grouped.sum(axis=1) * masked_lm_prob).astype(np.int64), smallest)
    left = np.minimum(budget, max_predictions)

    # A random order of the groups: distinct keys (the place breaks ties), groups that do not exist last.
    keys = np.where(exists, bits >> np.uint64(17), np.uint64(2**47)) << np.uint64(16) | places.astype(np.uint64)
    order = (np.sort(keys, axis=1) & np.uint64(0xFFFF)).astype(np.int64)
    taken = np.zeros_like(exists)
    row = np.arange(rows)
    for rank in range(int(exists.sum(axis=1).max(initial=0))):
        group = order[:, rank]
        size = sizes[row, group]
        take = (size > 0) & (size <= left)
        taken[row, group] = take
        left = left - size * take
        if not left.any():
            break
    return grouped & np.take_along_axis(taken, np.maximum(groups, 0), axis=1)


def mask_batch(input_ids, groups, bits, *, masked_lm_prob, max_predictions, mask_id, ordinary_ids):
    """Masks `input_ids` in place and returns what is to be predicted.

    Args:
        input_ids: int32 (B, S).
        groups: see choose_positions.
        bits: uint64 (B, bits_per_row), random.
        ordinary_ids: int32 [ordinary], the vocabulary without special tokens, the source of random tokens.

    Returns:
        masked_lm_positions: int32 (B, P), ascending, 0 in unused slots.
        masked_lm_ids: int32 (B, P), the tokens that stood there, 0 in unused slots.
        masked_lm_weights: float32 (B, P), 1, and 0 in unused slots.
    """
    rows, length = input_ids.shape
    chosen = choose_positions(groups, bits[:, :length], masked_lm_prob, max_predictions)
    row, position = np.nonzero(chosen)  # in ascending order
    counts = chosen.sum(axis=1)
    slot = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)

    positions = np.zeros((rows, max_predictions), np.int32)
    ids = np.zeros((rows, max_predictions), np.int32)
    weights = np.zeros((rows, max_predictions), np.float32)
    positions[row, slot] = position
    ids[row, slot] = input_ids[row, position]
    weights[row, slot] = 1.0

    drawn = bits[row, length + slot]
    fate = drawn >> np.uint64(32)  # uniform below 2^32: the lowest 80 % [MASK], the next 10 % random, the rest kept
    low = drawn & np.uint64(0xFFFFFFFF)
    random_ids = ordinary_ids[(low * np.uint64(len(ordinary_ids)) >> np.uint64(32)).astype(np.int64)]
    kept_ids = ids[row, slot]
    changed = np.where(fate < int(0.9 * 2**32), random_ids, kept_ids)
    input_ids[row, position] = np.where(fate < int(0.8 * 2**32), mask_id, changed)
    return positions, ids, weights
