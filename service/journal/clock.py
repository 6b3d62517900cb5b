"""The time that sessions expire by: steady while the process runs, whatever is done to the system's clock."""

from __future__ import annotations

import time

_START = time.time() - time.monotonic()


def now() -> float:
    """Unix time in seconds, as the clock stood when the process began plus what has passed since.

    A clock that is set forward by a day would otherwise end every session at once, and one set back none ever.
    """
    return _START + time.monotonic()
