"""How many connections a process may have: each takes one of its open files, of which the system gives only so many."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

_OTHERS = 256
"""Files that models, the journal, logs and the gRPC port may need beside connections."""


def room_for(connections: int) -> int:
    """How many of so many connections fit, once the process may open as many files as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _OTHERS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    fits = connections if soft == resource.RLIM_INFINITY else max(1, min(connections, soft - _OTHERS))
    if fits < connections:
        log.warning(
            "%d connections may be open rather than %d: the system lets this process open %d files (ulimit -n)",
            *(fits, connections, soft),
        )
    return fits
