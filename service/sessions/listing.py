"""The keys of all live sessions in order, by the engine they are on."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import takewhile

from sortedcontainers import SortedList

from service.engine.engine import Engine
from service.sessions.ownership import SessionKey
from service.sessions.session import Session


class Listing:
    """Sorted keys: to add, remove and find one's place costs about the same for a thousand as for a million."""

    def __init__(self) -> None:
        self._keys: dict[Engine, SortedList] = {}

    def add(self, session: Session) -> None:
        self._keys.setdefault(session.engine, SortedList()).add(session.key)

    def remove(self, session: Session) -> None:
        keys = self._keys[session.engine]
        keys.remove(session.key)
        if not keys:
            del self._keys[session.engine]

    def engines(self) -> set[Engine]:
        """The engines that some session is on."""
        return set(self._keys)

    def after(self, key: str | None, model: str | None, prefix: str = "") -> Iterator[SessionKey]:
        """The keys after this one in order, those of one model where one is named, and with one beginning."""
        listed = (keys for engine, keys in self._keys.items() if model in (None, engine.model.manifest.name))
        start = max(key or "", prefix)
        following: list[Iterable[SessionKey]] = [keys.irange(start, inclusive=(False, True)) for keys in listed]
        return takewhile(lambda found: found.startswith(prefix), heapq.merge(*following))
