"""Instances of many requests answered together: those of about one length, as many as wait, in one call."""

import collections
import threading
import time
from concurrent.futures import Future


class OverloadedError(Exception):
    """The queue is full."""


class Batcher:
    """One thread that answers what waits.

    Args:
        answer: from a list of instances (tuples of bytes) to a list of as many answers.
        max_batch: instances of one call at most.
        max_wait: seconds that the oldest instance waits for company while the thread is idle.
        max_queue: instances that may wait; more are refused.
        observe: called with the size of each batch.
    """

    def __init__(self, answer, *, max_batch=32, max_wait=0.002, max_queue=256, observe=lambda size: None):
        self._answer, self._observe = answer, observe
        self._max_batch, self._max_wait, self._max_queue = max_batch, max_wait, max_queue
        self._waiting = collections.deque()  # (arrival, class of length, instance, future)
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def __len__(self):
        """How many instances wait."""
        return len(self._waiting)

    def submit(self, instances):
        """Futures of the answers, all taken or none.

        Raises:
            OverloadedError: the queue has no room for them.
        """
        arrival = time.monotonic()
        entries = [(arrival, length_class(instance), instance, Future()) for instance in instances]
        with self._changed:
            if self._stopped or len(self._waiting) + len(entries) > self._max_queue:
                raise OverloadedError
            self._waiting.extend(entries)
            self._changed.notify()
        return [future for *_, future in entries]

    def close(self):
        """Answers what waits and ends."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _run(self):
        while batch := self._next():
            instances, futures = zip(*batch, strict=True)
            self._observe(len(batch))
            try:
                answers = self._answer(list(instances))
            except Exception as error:
                for future in futures:
                    future.set_exception(error)
            else:
                for future, answer in zip(futures, answers, strict=True):
                    future.set_result(answer)

    def _next(self):
        """The next batch, [(instance, future)]: the oldest instance and others of its class; empty at the end."""
        with self._changed:
            while True:
                while not self._waiting and not self._stopped:
                    self._changed.wait()
                if not self._waiting:
                    return []
                oldest, kind = self._waiting[0][:2]
                while not self._stopped and len(self._waiting) < self._max_batch:
                    left = oldest + self._max_wait - time.monotonic()
                    if left <= 0 or not self._changed.wait(left):
                        break
                if chosen := self._take(kind):
                    return chosen

    def _take(self, kind):
        """Takes what waits of a class, the oldest first, without what was cancelled."""
        chosen, others = [], collections.deque()
        for entry in self._waiting:
            if entry[1] != kind or len(chosen) == self._max_batch:
                others.append(entry)
            elif entry[3].set_running_or_notify_cancel():
                chosen.append(entry[2:])
        self._waiting = others
        return chosen


def length_class(instance):
    """Instances of one class have lengths that differ by a factor of two at most; all up to 256 bytes are of one: to
    pad these costs less than another call.

    >>> length_class((b"short",)), length_class((b"x" * 256,)), length_class((b"x" * 257,)), length_class((b"x" * 600,))
    (8, 8, 9, 10)
    """
    return max(8, (sum(map(len, instance)) - 1).bit_length())
