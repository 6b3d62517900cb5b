"""Many bare streams driven by one thread: each sends its next frame as soon as its last one is answered."""

from __future__ import annotations

import selectors
import time
from collections.abc import Sequence

from benchmarks.bare_stream import BareStream


def drive(streams: Sequence[BareStream], seconds: float) -> tuple[int, float]:
    """Drive streams side by side for so long: answers received, and the seconds it took with the last answers."""
    selector = selectors.DefaultSelector()
    missing = {stream: 0 for stream in streams}
    for stream in streams:
        selector.register(stream.socket, selectors.EVENT_READ, stream)
    started = time.perf_counter()
    deadline, answers, waiting = started + seconds, 0, len(streams)
    for stream in streams:
        missing[stream] = stream.send()
    while waiting:
        for key, _ in selector.select():
            stream = key.data
            missing[stream] -= stream.receive()
            if missing[stream]:
                continue
            answers += 1
            if time.perf_counter() < deadline:
                missing[stream] = stream.send()
            else:
                waiting -= 1
    selector.close()
    return answers, time.perf_counter() - started
