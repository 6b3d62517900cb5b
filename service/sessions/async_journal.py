"""The journal as the event loop uses it: whatever may wait is done on other threads, and commits go to one writer.

A journal that ends with the process has no writer: nothing is committed to it but rows that leave memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from service.errors import JournalDamaged, JournalUnavailable, ShuttingDown
from service.journal import Entry, Journal, Listed
from service.journal.writer import CommitWatch, Decision, Lag, Writer

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
        self, on_refused: Callable[[AbstractSet[str]], None], on_stored: Callable[[Mapping[str, int]], None]
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

    async def commit(self, entries: list[Entry]) -> AbstractSet[str]:
        """Store entries, whole or not at all; the ids of the sessions that were refused.

        Raises:
            JournalUnavailable, JournalDamaged: it is not known what became of them.
        """
        return await self._decided(lambda writer, done: writer.submit(entries, done))

    async def remove(self, session_ids: Iterable[str]) -> None:
        """Forget sessions, after what was submitted of them before.

        Raises:
            JournalUnavailable: not yet; it is done as soon as it can be.
        """
        names = list(session_ids)
        await self._decided(lambda writer, done: writer.remove(names, done))

    def remove_later(self, session_ids: Iterable[str]) -> None:
        """Forget sessions as soon as it can be done."""
        assert self.writer is not None
        self.writer.remove(list(session_ids))

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

    async def load(self, session_id: str) -> Entry | None:
        """A session's last entry; see `Journal.load`."""
        return await self._aside(self.journal.load, session_id)

    async def load_all(self, session_ids: Sequence[str]) -> dict[str, Entry | None]:
        """The last entries of several sessions, by id."""

        def load() -> dict[str, Entry | None]:
            return {session_id: self.journal.load(session_id) for session_id in session_ids}

        return await self._aside(load) if session_ids else {}

    async def page(self, after: str, limit: int) -> tuple[list[Listed], str]:
        """A page of the sessions that live; see `Journal.page`."""
        return await self._aside(self.journal.page, after, limit)

    async def extend(self, expires: Mapping[str, float]) -> None:
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
