"""Lists of sessions, a page at a time: those in the journal, and those that are in memory alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from service.engine.engine import Engine
from service.errors import VersionGone
from service.journal import NOWHERE, Entry
from service.sessions.async_journal import AsyncJournal
from service.sessions.live import LiveSessions
from service.sessions.restoring import new_from, take_over
from service.sessions.session import Record, Session

_IN_MEMORY = "~"
"""Before the id to go on from, where all that the journal has has been told; no session's id begins like this."""

Description = dict[str, Any]


class Pages:
    """What lists tell of sessions. Nothing is brought into memory for it."""

    def __init__(self, live: LiveSessions, journal: AsyncJournal, engine_of: Callable[[Entry], Engine]) -> None:
        self._live = live
        self._journal = journal
        self._engine_of = engine_of

    async def page(self, after: str | None, limit: int, model: str | None) -> tuple[list[Description], str | None]:
        """About `limit` sessions, and what to go on from; None at the end.

        In the order of their ids, but that those in memory alone come last where the journal has the others, and that
        some journals know no order.
        """
        if not self._journal.durable:
            return self._from_memory(after, limit, model, everything=True)
        found: list[Description] = []
        following = after or ""
        while not following.startswith(_IN_MEMORY) and len(found) < limit:
            more, following = await self._from_journal(following, limit - len(found), model)
            found += more
        if len(found) >= limit:
            return found, following
        rest, last = self._from_memory(following[1:] or None, limit - len(found), model, everything=False)
        return found + rest, None if last is None else _IN_MEMORY + last

    async def _from_journal(self, after: str, limit: int, model: str | None) -> tuple[list[Description], str]:
        listed, following = await self._journal.page(after, limit)
        away = [one.session_id for one in listed if self._live.find(one.session_id) is None]
        entries = await self._journal.load_all(away)
        found = []
        for one in listed:
            session, entry = self._live.find(one.session_id), entries.get(one.session_id)
            if session is not None:
                told = session.describe()
            elif entry is not None and entry.row:
                told = self._of_entry(entry)
            else:
                continue  # closed meanwhile, or its time has passed
            if model in (None, told["model"]):
                found.append(told)
        return found, following or _IN_MEMORY

    def _of_entry(self, entry: Entry) -> Description:
        """What the journal knows of a session."""
        record: Record = entry.record
        try:
            engine = self._engine_of(entry)
        except VersionGone as error:
            name, _, version = record.model_id.rpartition("/")
            told: Description = {"id": entry.session_id, "object": "session", "model": name, "version": int(version)}
            told |= {"position": entry.position, "durable_position": entry.position, "seed": record.seed}
            told |= {"created": record.created, "expires": entry.expires, "time_to_live_s": record.time_to_live_s}
            return told | {"durability": record.durability, "error": error.message}
        session = new_from(entry, engine, self._live)
        take_over(session, entry)
        return session.describe()

    def _from_memory(
        self, after: str | None, limit: int, model: str | None, *, everything: bool
    ) -> tuple[list[Description], str | None]:
        found: list[Session] = []
        for session in self._in_order(after, model):
            if not session.is_over and (everything or session.stored == NOWHERE):
                if len(found) == limit:
                    return [one.describe() for one in found], found[-1].id
                found.append(session)
        return [one.describe() for one in found], None

    def _in_order(self, after: str | None, model: str | None) -> Iterator[Session]:
        return (self._live[session_id] for session_id in self._live.listing.after(after, model))
