"""SIGTERM and SIGINT as a request that a loop answers between two steps."""

import signal

STOPPED = 75  # the exit status of a run that was told to stop and can be continued (EX_TEMPFAIL of sysexits.h)


class StopRequest:
    """Notes SIGTERM and SIGINT while it is entered: `requested` becomes True. Works in the main thread alone."""

    def __init__(self):
        self.requested = False

    def __enter__(self):
        self._earlier = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exception):
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.requested = True
