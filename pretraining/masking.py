"""Masked positions: 15 % of the tokens of a sequence, 80 % of them [MASK], 10 % a random token, 10 % kept.

Devlin et al. 2018, section 3.1 and A.1; google-research/bert `create_masked_lm_predictions`. What is masked together:

    token       each token by itself (the paper)
    whole_word  all pieces of a word (`do_whole_word_mask` of the original's later release)
    ngram       1 to 3 whole words, n of them with a probability in proportion to 1/n (Lan et al. 2019, arXiv
                1909.11942, section 4.1); like the two above, each token has a fate of its own
    span        1 to 10 whole words, geometric with p = 0.2 (Joshi et al. 2019, arXiv 1907.10529, section 3.1: mean
                3.8); a span has one fate: all of it is [MASK], or all random tokens, or all kept

A sequence is divided into spans (a token or a word is a span too), which are taken in a random order; the one that
passes the 15 % is cut between words. Differences from the originals: the 15 % are of the tokens without [CLS] and
[SEP]; [UNK] is never masked; a random token is uniform over the vocabulary without special tokens; spans never overlap
and never cross [SEP] or [UNK]. As a cut takes the end of a span, the first words of a segment, which begin one, are
masked a little more often: with "span" 19 % of the first ones (SpanBERT's uniform starts mask them the least).

Everything here is arithmetic on a batch: B sequences, S positions, P slots.
"""

import numpy as np

MASKINGS = ("token", "whole_word", "ngram", "span")

# How often spans of 1, 2, … words are drawn, in proportion.
_SHARES = {"ngram": 1 / np.arange(1, 4), "span": 0.8 ** np.arange(10)}
_LENGTH_BITS, _KEY_BITS = 17, 47  # a span's length and its place in the random order come from one uint64


def bits_per_row(max_seq_length, max_predictions):
    """How many random uint64 a sequence needs: one a position and one a slot, up to a whole Philox block of four."""
    return -(-(max_seq_length + max_predictions) // 4) * 4


def groups(masking, maskable, continuing, bits):
    """What stays whole, and what is masked together: (words, spans), each int64 (B, S).

    At each token stands the place of the first token of its word, and of its span; -1 where not maskable.

        maskable              0 1 1 1 0 1      ([CLS] ju ##mp ##ed [SEP] over)
        continuing            0 0 1 1 0 0
        words, token         -1 1 2 3 -1 5
        words, otherwise     -1 1 1 1 -1 5

    Args:
        masking: one of `MASKINGS`.
        maskable: bool (B, S).
        continuing: bool (B, S), True where the token is a "##" piece. One that follows no maskable token (its word was
            cut off, or it stands behind [SEP]) starts a word.
        bits: uint64 (B, S), random.
    """
    places = np.arange(maskable.shape[1])
    if masking == "token":
        words = np.where(maskable, places, -1)
    else:
        follows = np.zeros_like(maskable)
        follows[:, 1:] = maskable[:, :-1]
        first = np.where(maskable & ~(continuing & follows), places, 0)
        words = np.where(maskable, np.maximum.accumulate(first, axis=1), -1)
    return words, _divide(words, bits, _SHARES[masking]) if masking in _SHARES else words


def _divide(words, bits, shares):
    """Spans of 1, 2, … words, of which there are in proportion to `shares`; none goes beyond a token not maskable."""
    length = words.shape[1]
    flat = words.reshape(-1)
    word = np.flatnonzero(words == np.arange(length))  # the first token of each word, in the order of the text
    begins_stretch = (word % length == 0) | (flat[word - 1] < 0)
    limits = np.cumsum(shares[:-1]) / np.sum(shares) * 2**_LENGTH_BITS
    drawn = bits.reshape(-1)[word] & np.uint64(2**_LENGTH_BITS - 1)
    words_in_span = 1 + np.searchsorted(limits, drawn.astype(np.float64), "right")

    begins_span = np.zeros(len(word), bool)
    at = np.flatnonzero(begins_stretch)
    end = np.append(at[1:], len(word))
    while len(at):  # all stretches side by side
        begins_span[at] = True
        at = at + words_in_span[at]
        inside = at < end
        at, end = at[inside], end[inside]
    first = np.zeros_like(flat)
    first[word[begins_span]] = word[begins_span] % length
    return np.where(words >= 0, np.maximum.accumulate(first.reshape(words.shape), axis=1), -1)


def choose_positions(words, spans, bits, masked_lm_prob, max_predictions):
    """Which positions are predicted.

    In a row with n maskable tokens the number of predictions is round(n · masked_lm_prob), at least 1 (at least the
    smallest word) and at most max_predictions. A word that does not fit any more is passed over, and the rest of its
    span with it; so whole words may leave the number short by less than the shortest word that is left. A row with no
    word that fits has none.

    Args:
        words, spans: see groups.
        bits: uint64 (B, S), random.

    Returns:
        bool (B, S).
    """
    rows, length = words.shape
    places = np.arange(length)
    grouped = words >= 0
    flat = (words + np.arange(rows)[:, None] * length)[grouped]
    sizes = np.bincount(flat, minlength=rows * length).reshape(rows, length)  # of the word that starts there, or 0
    exists = sizes > 0
    smallest = np.where(exists, sizes, length + 1).min(axis=1)
    budget = np.maximum(np.rint(grouped.sum(axis=1) * masked_lm_prob).astype(np.int64), smallest)
    left = np.minimum(budget, max_predictions)

    # The words, spans in a random order: a span's words have its key, and their place breaks ties; non-words last.
    keys = bits if spans is words else np.take_along_axis(bits, np.maximum(spans, 0), axis=1)
    keys = np.where(exists, keys >> np.uint64(_LENGTH_BITS), np.uint64(2**_KEY_BITS)) << np.uint64(16)
    order = (np.sort(keys | places.astype(np.uint64), axis=1) & np.uint64(0xFFFF)).astype(np.int64)
    taken = np.zeros_like(exists)
    row = np.arange(rows)
    cut = np.full(rows, -1)  # the span of which a word did not fit
    for rank in range(int(exists.sum(axis=1).max(initial=0))):
        word = order[:, rank]
        size, span = sizes[row, word], spans[row, word]
        take = (size > 0) & (size <= left) & (span != cut)
        taken[row, word] = take
        left = left - size * take
        cut = np.where(take, cut, span)
        if not left.any():
            break
    return grouped & np.take_along_axis(taken, np.maximum(words, 0), axis=1)


def mask_batch(
    input_ids, maskable, continuing, bits, *, masking, masked_lm_prob, max_predictions, mask_id, ordinary_ids
):
    """Masks `input_ids` in place and returns what is to be predicted.

    Args:
        input_ids: int32 (B, S).
        maskable, continuing, masking: see groups.
        bits: uint64 (B, bits_per_row), random.
        ordinary_ids: int32 [ordinary], the vocabulary without special tokens, the source of random tokens.

    Returns:
        masked_lm_positions: int32 (B, P), ascending, 0 in unused slots.
        masked_lm_ids: int32 (B, P), the tokens that stood there, 0 in unused slots.
        masked_lm_weights: float32 (B, P), 1, and 0 in unused slots.
    """
    rows, length = input_ids.shape
    words, spans = groups(masking, maskable, continuing, bits[:, :length])
    chosen = choose_positions(words, spans, bits[:, :length], masked_lm_prob, max_predictions)
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
    low = drawn & np.uint64(0xFFFFFFFF)
    random_ids = ordinary_ids[(low * np.uint64(len(ordinary_ids)) >> np.uint64(32)).astype(np.int64)]
    fate = drawn >> np.uint64(32)  # uniform below 2^32: the lowest 80 % [MASK], the next 10 % random, the rest kept
    if masking == "span":
        fate = fate[_first_of_run(row * length + spans[row, position])]
    kept_ids = ids[row, slot]
    changed = np.where(fate < int(0.9 * 2**32), random_ids, kept_ids)
    input_ids[row, position] = np.where(fate < int(0.8 * 2**32), mask_id, changed)
    return positions, ids, weights


def _first_of_run(values):
    """For each element the place where its run of equal ones begins: [7, 7, 3, 7] gives [0, 0, 2, 3]."""
    places = np.arange(len(values))
    begins = np.ones(len(values), bool)
    begins[1:] = values[1:] != values[:-1]
    return np.maximum.accumulate(np.where(begins, places, 0))
