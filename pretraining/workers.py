"""Work for some processes: each piece whole in one of them, at most one waiting piece a process in memory."""

import concurrent.futures
import multiprocessing.connection
import os
import threading

from bert_tf.errors import InputError


class Workers:
    """`count` processes, or with one this process; a context manager.

    The processes start with `spawn`, so that a script needs the usual `if __name__ == "__main__":`, and end with the
    process that made them, also when that is killed. `submit` and `finish` raise what the work raises, and `InputError`
    where a process was killed.
    """

    def __init__(self, count):
        self._count, self._pool, self._running = count, None, set()

    def __enter__(self):
        if self._count > 1:
            context = multiprocessing.get_context("spawn")
            self._pool = concurrent.futures.ProcessPoolExecutor(self._count, context, _end_with_parent)
        return self

    def __exit__(self, *_):
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, work, *arguments):
        """Has work(*arguments) done; waits while there is as much waiting as there are processes."""
        if self._pool is None:
            work(*arguments)
            return
        self._running.add(self._killed_is_a_sentence(self._pool.submit, work, *arguments))
        if len(self._running) > self._count:
            self._wait("FIRST_COMPLETED")

    def finish(self):
        """Waits for the end of everything submitted."""
        self._wait("ALL_COMPLETED")

    def _wait(self, until):
        done, self._running = concurrent.futures.wait(self._running, return_when=until)
        for future in done:
            self._killed_is_a_sentence(future.result)

    def _killed_is_a_sentence(self, call, *arguments):
        try:
            return call(*arguments)
        except concurrent.futures.BrokenExecutor:
            raise InputError(
                "a worker process was killed (by hand, or for memory); run the same command again, with fewer workers: "
                "what was finished before is kept"
            ) from None


def _end_with_parent():
    """In a worker: ends it when the parent is killed, else it would wait for work for ever."""
    parent = multiprocessing.parent_process().sentinel

    def watch():
        multiprocessing.connection.wait([parent])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
