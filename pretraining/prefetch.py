"""An iterator worked off ahead of its use, by a thread."""

import queue
import threading


def prefetch(items, depth):
    """Yields `items` in their order while a thread makes up to `depth` of them ahead.

    An exception in the thread is raised where its item would have come. Closing the generator stops the thread.
    """
    ahead = queue.Queue(depth)
    stopped = threading.Event()
    end = object()

    def put(outcome):
        while not stopped.is_set():
            try:
                return ahead.put(outcome, timeout=0.1)
            except queue.Full:
                pass

    def work():
        try:
            for item in items:
                put((item, None))
                if stopped.is_set():
                    return
            put((end, None))
        except BaseException as error:
            put((end, error))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ahead.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        stopped.set()
        thread.join()
