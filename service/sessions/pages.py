"""Lists of sessions, a page at a time: those in the journal, and those that are in memory alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.engine.engine import Engine
from service.errors import VersionGone
from service.journal import NOWHERE, Entry
from service.sessions.async_journal import AsyncJournal
from service.sessions.live import LiveSessions
from service.sessions.ownership import Whose, owner_of, public_id
from service.sessions.places import MARK
from service.sessions.record import Record
from service.sessions.restoring import key_of, new_from, take_over
from service.sessions.session import Session

_IN_MEMORY = "~"
"""Before the id to go on from, where all that the journal has has been told; no session's id begins like this."""

_MOST_LOOKS = 64
"""Of one page at the journal, of which others' sessions may be most: the next page goes on from there."""

Description = dict[str, Any]


class Pages:
    """What lists tell of sessions. Nothing is brought into memory for it."""

    def __init__(self, live: LiveSessions, journal: AsyncJournal, engine_of: Callable[[Entry], Engine]) -> None:
        self._live = live
        self._journal = journal
        self._engine_of = engine_of

    async def page(
        self, after: str | None, limit: int, model: str | None, whose: Whose
    ) -> tuple[list[Description], str | None]:
        """About `limit` of someone's sessions, or fewer, and what to go on from; None at the end.

        In the order of their ids, but that those in memory alone come last where the journal has the others, and that
        some journals know no order.
        """
        if not self._journal.durable:
            return self._from_memory(after, limit, model, whose, everything=True)
        found: list[Description] = []
        following = after or ""
        for _ in range(_MOST_LOOKS):
            if following.startswith(_IN_MEMORY) or len(found) >= limit:
                break
            more, following = await self._from_journal(following, limit - len(found), model, whose)
            found += more
        if not following.startswith(_IN_MEMORY) or len(found) >= limit:
            return found, following
        rest, last = self._from_memory(following[1:] or None, limit - len(found), model, whose, everything=False)
        return found + rest, None if last is None else _IN_MEMORY + last

    async def _from_journal(
        self, after: str, limit: int, model: str | None, whose: Whose
    ) -> tuple[list[Description], str]:
        listed, following = await self._journal.page(after, limit, whose.prefix)
        keys = [key for key in listed if whose.include(key)]
        entries = await self._journal.load_all([key for key in keys if self._live.find(key) is None])
        found = []
        for key in keys:
            if MARK in key:
                continue  # a checkpoint
            session, entry = self._live.find(key), entries.get(key)
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
            key = key_of(entry)
            told: Description = {"id": public_id(key), "object": "session", "owner": owner_of(key)}
            told |= {"model": name, "version": int(version)}
            told |= {"position": entry.position, "durable_position": entry.position, "seed": record.seed}
            told |= {"created": record.created, "expires": entry.expires, "time_to_live_s": record.time_to_live_s}
            return told | {"durability": record.durability, "error": error.message}
        session = new_from(entry, engine, self._live)
        take_over(session, entry)
        return session.describe()

    def _from_memory(
        self, after: str | None, limit: int, model: str | None, whose: Whose, *, everything: bool
    ) -> tuple[list[Description], str | None]:
        found: list[Session] = []
        for key in self._live.listing.after(after, model, whose.prefix):
            session = self._live[key]
            if whose.include(key) and not session.is_over and (everything or session.stored == NOWHERE):
                if len(found) == limit:
                    return [one.describe() for one in found], found[-1].key
                found.append(session)
        return [one.describe() for one in found], None
