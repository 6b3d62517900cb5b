"""When to look whether a session's time is over, without looking at all of them.

Each session is filed under a second, and looked at when that second has come. A use moves a session's time and
nothing else: whoever was used meanwhile is filed anew when looked at. Far seconds are taken coarsely, in steps of at
most a quarter of the time that is left, so that there are few of them; a session comes nearer to its own in a few
looks. A timing wheel without the wheel: Varghese and Lauck, "Hashed and hierarchical timing wheels" (SOSP 1987).
"""

from __future__ import annotations

from collections.abc import Iterator

from service.journal import clock
from service.sessions.session import Session


class Deadlines:
    """The seconds at which sessions are to be looked at. Filing, dropping and looking cost the same for any number."""

    def __init__(self) -> None:
        self._buckets: dict[int, set[Session]] = {}

    def file(self, session: Session) -> None:
        """Look at the session when its time may be over: never before a second from now, at most one too late."""
        session.bucket = self._buckets.setdefault(_second_to_look(session.expires, clock.now()), set())
        session.bucket.add(session)

    def drop(self, session: Session) -> None:
        """Look at the session no more; one that is not filed is ignored."""
        if session.bucket is not None:
            session.bucket.discard(session)
            session.bucket = None

    def due(self) -> Iterator[Session]:
        """The sessions whose second has come, no longer filed: each is to be filed anew or forgotten."""
        now = clock.now()
        for second in sorted(second for second in self._buckets if second <= now):
            bucket = self._buckets[second]
            while bucket:
                session = bucket.pop()
                session.bucket = None
                yield session
            # Two may look at once, and a clock that is set back may file here again.
            if not self._buckets.get(second, True):
                del self._buckets[second]


def _second_to_look(expires: float, now: float) -> int:
    step = 1 << max(0, int(expires - now).bit_length() - 3)
    near = int(expires) + 1 if step == 1 else int(expires) // step * step
    # One that is in use past its time is looked at again in a second.
    return max(near, int(now) + 1)
