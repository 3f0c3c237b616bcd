"""SIGTERM and SIGINT as a request that a loop answers between two steps."""

import os
import signal

STOPPED = 75  # the exit status of a run that was told to stop and can be continued (EX_TEMPFAIL of sysexits.h)


class StopRequest:
    """Notes SIGTERM and SIGINT while it is entered. Works in the main thread alone.

    Where several hosts train together, JAX's preemption service notes the SIGTERM that any of them gets, tells the
    others and picks a step that none of them has passed; it uses no device, so that nothing waits for it. SIGINT is
    handed to it as a SIGTERM.

    Args:
        num_hosts: how many hosts train together.
    """

    def __init__(self, num_hosts=1):
        self._shared = num_hosts > 1
        self._requested = False

    def __enter__(self):
        numbers = (signal.SIGINT,) if self._shared else (signal.SIGTERM, signal.SIGINT)
        self._earlier = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *exception):
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def stops_after(self, step):
        """Whether to stop after this step, the same on all hosts; each of them must ask after each step."""
        if not self._shared:
            return self._requested
        from jax.experimental import multihost_utils

        return multihost_utils.reached_preemption_sync_point(step)

    def _note(self, number, frame):
        if self._shared:
            os.kill(os.getpid(), signal.SIGTERM)
        self._requested = True
