"""The journal as the event loop uses it: whatever may wait is done on other threads, and commits go to one writer.

A journal that ends with the process has no writer: nothing is committed to it but rows that leave memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from service.errors import JournalDamaged, JournalUnavailable, ShuttingDown
from service.journal import Entry, Journal
from service.journal.writer import CommitWatch, Decision, Lag, Writer
from service.sessions.ownership import SessionKey

log = logging.getLogger(__name__)

T = TypeVar("T")
_READERS = 4


class AsyncJournal:
    """One journal. All methods belong to the event loop, and those that are no coroutines never wait."""

    def __init__(self, journal: Journal, watch: CommitWatch) -> None:
        self.journal = journal
        self.writer: Writer | None = None
        self._watch = watch
        self._threads = ThreadPoolExecutor(_READERS, "journal reader")

    @property
    def durable(self) -> bool:
        """Whether what is committed outlives the process."""
        return self.journal.durable

    @property
    def shared(self) -> bool:
        """Whether other processes write to it as well."""
        return self.journal.shared

    @property
    def trouble(self) -> str | None:
        """What stands against using it now."""
        return self.journal.trouble

    def start(
        self,
        on_refused: Callable[[AbstractSet[SessionKey]], None],
        on_stored: Callable[[Mapping[SessionKey, int]], None],
    ) -> None:
        """Begin to take commits.

        Args:
            on_refused: told on the event loop of sessions whose entries nobody waited for and that were refused.
            on_stored: told on the event loop of the positions of such entries that were stored.
        """
        loop = asyncio.get_running_loop()

        def on_loop(tell: Callable[[T], None], news: T) -> None:
            loop.call_soon_threadsafe(tell, news)

        if self.durable:
            self.writer = Writer(
                self.journal, partial(on_loop, on_refused), on_stored=partial(on_loop, on_stored), watch=self._watch
            )

    async def look(self) -> None:
        """Find out whether the journal can be used, so that `trouble` tells."""
        with suppress(JournalUnavailable, JournalDamaged):
            await self._aside(self.journal.tend)

    async def commit(self, entries: list[Entry]) -> AbstractSet[str]:
        """Store entries, whole or not at all; the names of the sessions that were refused.

        Raises:
            JournalUnavailable, JournalDamaged: it is not known what became of them.
        """
        return await self._decided(lambda writer, done: writer.submit(entries, done))

    async def remove(self, keys: Iterable[SessionKey]) -> None:
        """Forget sessions, after what was submitted of them before.

        Raises:
            JournalUnavailable: not yet; it is done as soon as it can be.
        """
        names = list(keys)
        await self._decided(lambda writer, done: writer.remove(names, done))

    def remove_later(self, keys: Iterable[SessionKey]) -> None:
        """Forget sessions as soon as it can be done."""
        assert self.writer is not None
        self.writer.remove(list(keys))

    async def _decided(self, submit: Callable[[Writer, Callable[[Decision], None]], None]) -> AbstractSet[str]:
        if self.writer is None:
            raise ShuttingDown()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Decision] = loop.create_future()

        def settle(decision: Decision) -> None:
            if not answer.done():
                answer.set_result(decision)

        def done(decision: Decision) -> None:
            loop.call_soon_threadsafe(settle, decision)

        submit(self.writer, done)
        decision = await answer
        if isinstance(decision, JournalUnavailable | JournalDamaged):
            raise decision
        return decision

    async def load(self, key: SessionKey) -> Entry | None:
        """A session's last entry; see `Journal.load`."""
        return await self._aside(self.journal.load, key)

    async def load_all(self, keys: Sequence[SessionKey]) -> dict[SessionKey, Entry | None]:
        """The last entries of several sessions, by name."""

        def load() -> dict[SessionKey, Entry | None]:
            return {key: self.journal.load(key) for key in keys}

        return await self._aside(load) if keys else {}

    async def page(self, after: str, limit: int, prefix: str = "") -> tuple[list[SessionKey], str]:
        """A page of the names of sessions that live; see `Journal.page`."""
        listed, following = await self._aside(self.journal.page, after, limit, prefix)
        return [SessionKey(one.session_id) for one in listed], following

    async def extend(self, expires: Mapping[SessionKey, float]) -> None:
        """Let sessions live until then."""
        await self._aside(self.journal.extend, expires)

    async def secret(self, name: str) -> bytes:
        """32 bytes that all who share the journal know by that name."""
        return await self._aside(self.journal.secret, name)

    async def sweep(self) -> int:
        """Forget sessions whose time has passed, and return how many."""
        count = 0
        while gone := await self._aside(self.journal.sweep):
            count += len(gone)
        return count

    def lag(self) -> Lag:
        """How far the journal is behind."""
        return Lag(0, 0.0) if self.writer is None else self.writer.lag()

    async def close(self, grace_s: float) -> None:
        """Store what waits, for at most so many seconds, and let go of the journal."""
        if self.writer is not None:
            stored = await asyncio.to_thread(self.writer.close, max(1.0, grace_s))
            if not stored:
                log.error("the journal could not store everything that nobody waited for before the service ended")
        await asyncio.to_thread(self.journal.close)
        self._threads.shutdown(wait=False)

    async def _aside(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
