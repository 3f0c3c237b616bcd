"""Texts longer than a model reads, as windows: where each begins, and which of them sees a token best.

As google-research/bert, `run_squad.py` (doc spans and `_check_is_max_context`).
"""

import numpy as np


def cut(length, room, stride):
    """The windows over `length` tokens: (first tokens, numbers of tokens), int64 arrays, at least one window.

    A window holds `room` tokens, the last what is left; each begins `stride` after the one before it, or `room` if
    that is less, so that no token is left out.

    >>> cut(10, room=6, stride=3)
    (array([0, 3, 6]), array([6, 6, 4]))
    """
    stride = min(stride, room)
    count = 1 + max(0, -((room - length) // stride))
    starts = np.arange(count, dtype=np.int64) * stride
    return starts, np.minimum(room, length - starts)


def best_windows(starts, counts):
    """For each token the window in which it has most context, (length,) int64.

    Context is the smaller number of tokens on either side; between equal ones a hundredth of the window's size counts,
    then the earlier window is taken.

    >>> best_windows(np.array([0, 3, 6]), np.array([6, 6, 4]))  # token 4 has 1 to one side in both of its windows
    array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    """
    token = np.arange(starts[-1] + counts[-1])
    context = np.minimum(token - starts[:, None], (starts + counts - 1)[:, None] - token)  # (windows, length)
    return np.where(context < 0, -np.inf, context + 0.01 * counts[:, None]).argmax(axis=0)
