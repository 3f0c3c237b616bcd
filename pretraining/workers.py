"""Work for some processes: each piece whole in one of them, at most two waiting or at work a process in memory."""

import concurrent.futures
import importlib
import multiprocessing.connection
import os
import threading

from bert_tf.errors import InputError


class Workers:
    """`count` processes, of which this one is one; a context manager.

    The others start with `spawn`, so that a script needs the usual `if __name__ == "__main__":`, and end with this one,
    also when it is killed. `submit` and `finish` raise what the work raises, and `InputError` where a process was
    killed.
    """

    def __init__(self, count, modules=()):
        """modules: names of modules that the others import at their start."""
        self._others, self._modules = count - 1, modules
        self._pool, self._running = None, set()

    def __enter__(self):
        if self._others:
            context = multiprocessing.get_context("spawn")
            self._pool = concurrent.futures.ProcessPoolExecutor(self._others, context, _begin, (self._modules,))
            for _ in range(self._others):  # they start now, while the first work is made ready
                self._pool.submit(os.getpid)
        return self

    def __exit__(self, *_):
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, work, *arguments):
        """Has work(*arguments) done: by another process, or here where each of them has a piece waiting."""
        self._collect(timeout=0)
        if len(self._running) < 2 * self._others:
            self._running.add(self._killed_is_a_sentence(self._pool.submit, work, *arguments))
        else:
            work(*arguments)

    def finish(self):
        """Waits for the end of everything submitted."""
        self._collect(timeout=None)

    def _collect(self, timeout):
        done, self._running = concurrent.futures.wait(self._running, timeout)
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


def _begin(modules):
    """In another process: ends it when its parent is killed, else it would wait for work for ever."""
    parent = multiprocessing.parent_process().sentinel

    def watch():
        multiprocessing.connection.wait([parent])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    for module in modules:
        importlib.import_module(module)
