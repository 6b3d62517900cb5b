"""How many sessions an owner may have at once, those that only the journal has included.

Counting a journal takes time, so that it is counted now and then, and what is opened and ended here in between is added
and taken off. Other replicas may open some meanwhile: a bound may be passed by what they open within a minute.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from service.errors import RateLimited
from service.sessions.async_journal import AsyncJournal
from service.sessions.live import LiveSessions
from service.sessions.ownership import SessionKey, Whose, owner_of
from service.sessions.places import MARK

_COUNTED_FOR_S = 60.0
"""How long a count is believed."""
_REFUSED_FOR_S = 1.0
"""How long it is believed where it refuses: room that was made elsewhere is found soon, and a flood counts little."""
_AT_ONCE = 1000


class Allowance(Protocol):
    """What owners may have, and who is told what they take."""

    def charge(self, owner: str | None, steps: int) -> None:
        """Row-steps were asked of an engine."""

    def most_sessions(self, owner: str | None) -> int | None:
        """How many sessions an owner may have at once; None where there is no limit."""

    def on_refused_session(self) -> None:
        """An owner wanted one more than it may have."""


class _Count:
    """How many sessions an owner has, as far as is known here."""

    def __init__(self) -> None:
        self.sessions = 0
        self.counted_at: float | None = None
        self.counting = asyncio.Lock()

    def is_believed(self, most: int) -> bool:
        believed_s = _COUNTED_FOR_S if self.sessions < most else _REFUSED_FOR_S
        return self.counted_at is not None and time.monotonic() - self.counted_at < believed_s


class Quota:
    """All methods belong to the event loop."""

    def __init__(self, journal: AsyncJournal, live: LiveSessions, allowance: Allowance | None) -> None:
        self._journal = journal
        self._live = live
        self._allowance = allowance
        self._counts: dict[str, _Count] = {}

    @asynccontextmanager
    async def one_more(self, owner: str | None) -> AsyncIterator[None]:
        """Count one more session of an owner's, unless it could not be opened.

        Raises:
            RateLimited: it has as many as it may.
            JournalUnavailable: how many it has cannot be found out.
        """
        most = None if self._allowance is None else self._allowance.most_sessions(owner)
        if most is None or owner is None:
            yield
            return
        count = await self._counted(owner, most)
        if count.sessions >= most:
            assert self._allowance is not None
            self._allowance.on_refused_session()
            raise RateLimited(
                f"API key {owner!r} has {count.sessions} sessions, of {most} that it may: close some, or open them "
                "with a shorter time to live"
            )
        count.sessions += 1
        try:
            yield
        except BaseException:
            count.sessions -= 1
            raise

    def on_ended(self, key: SessionKey) -> None:
        """A session is no more."""
        owner = owner_of(key)
        if owner is not None and (count := self._counts.get(owner)) is not None and count.sessions:
            count.sessions -= 1

    async def _counted(self, owner: str, most: int) -> _Count:
        count = self._counts.setdefault(owner, _Count())
        async with count.counting:
            if not count.is_believed(most):
                before = count.sessions
                found = await self._count(Whose(owner).prefix, most)
                # What was opened and ended meanwhile may be among what was found, or not: rather one too many.
                count.sessions = found + max(0, count.sessions - before)
                count.counted_at = time.monotonic()
        return count

    async def _count(self, prefix: str, most: int) -> int:
        """How many sessions there are whose names begin so, at least `most` where there are more."""
        count, after = self._live.count_unstored(prefix), ""
        while self._journal.durable and count < most:
            listed, after = await self._journal.page(after, _AT_ONCE, prefix)
            count += sum(MARK not in key for key in listed)
            if not after:
                break
        return count
