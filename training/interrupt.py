"""SIGINT and SIGTERM as a request to stop at the next safe moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 130
"""Exit status of a command that was asked to stop, as shells have it: what was to follow must not run."""


class StopRequest:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.made = False

    def make(self, signal_number: int, frame: FrameType | None) -> None:
        # A second Ctrl-C is for those who do not want to wait.
        if self.made and signal_number == signal.SIGINT:
            raise KeyboardInterrupt
        self.made = True


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Collect SIGINT and SIGTERM for the length of the block; the former handlers come back after it."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may listen to signals
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    former = [signal.signal(number, request.make) for number in numbers]
    try:
        yield request
    finally:
        for number, handler in zip(numbers, former, strict=True):
            signal.signal(number, handler)
