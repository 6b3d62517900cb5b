"""The ids of all live sessions in order, by the engine they are on."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from sortedcontainers import SortedList

from service.engine.engine import Engine
from service.sessions.session import Session


class Listing:
    """Sorted ids: to add, remove and find one's place costs about the same for a thousand as for a million."""

    def __init__(self) -> None:
        self._ids: dict[Engine, SortedList] = {}

    def add(self, session: Session) -> None:
        self._ids.setdefault(session.engine, SortedList()).add(session.id)

    def remove(self, session: Session) -> None:
        ids = self._ids[session.engine]
        ids.remove(session.id)
        if not ids:
            del self._ids[session.engine]

    def engines(self) -> set[Engine]:
        """The engines that some session is on."""
        return set(self._ids)

    def after(self, session_id: str | None, model: str | None) -> Iterator[str]:
        """The ids after this one in order, those of one model where one is named."""
        listed = (ids for engine, ids in self._ids.items() if model in (None, engine.model.manifest.name))
        following: list[Iterable[str]] = [ids.irange(session_id, inclusive=(False, True)) for ids in listed]
        return heapq.merge(*following)
