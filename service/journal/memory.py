"""The journal in this process's own memory: sessions live as long as the process does."""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from threading import Lock

from msgspec.structs import replace

from service.journal import ANYWHERE, NONE_REFUSED, NOWHERE, Entry, Listed, clock


class MemoryJournal:
    """Keeps each session's last entry in a dictionary."""

    durable = False
    shared = False
    is_untidy = False
    trouble = None

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._secrets: dict[str, bytes] = {}
        self._lock = Lock()

    def commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
        with self._lock:
            refused = {entry.session_id for entry in entries if not follows(entry, self._entries.get(entry.session_id))}
            for entry in entries:
                if entry.session_id not in refused:
                    self._entries[entry.session_id] = entry
        return refused or NONE_REFUSED

    def commit_now(self, entries: Sequence[Entry]) -> AbstractSet[str] | None:
        return None

    def load(self, session_id: str) -> Entry | None:
        with self._lock:
            entry = self._entries.get(session_id)
        return None if entry is None else replace(entry, previous=entry.position)

    def remove(self, session_ids: Iterable[str]) -> None:
        with self._lock:
            for session_id in session_ids:
                self._entries.pop(session_id, None)

    def extend(self, expires: Mapping[str, float]) -> None:
        with self._lock:
            for session_id, until in expires.items():
                entry = self._entries.get(session_id)
                if entry is not None and until > entry.expires:
                    self._entries[session_id] = replace(entry, expires=until)

    def page(self, after: str, limit: int, prefix: str = "") -> tuple[list[Listed], str]:
        now = clock.now()
        with self._lock:
            found_now = (name for name, entry in self._entries.items() if entry.expires > now)
            living = sorted(name for name in found_now if name.startswith(prefix))
            names = living[bisect_right(living, after) :][:limit]
            found = [Listed(name, self._entries[name].position, self._entries[name].expires) for name in names]
        return found, names[-1] if len(names) == limit else ""

    def sweep(self) -> list[str]:
        """Nothing: whoever keeps sessions in this process's memory knows them all, and removes them."""
        return []

    def tend(self) -> None:
        return None

    def secret(self, name: str) -> bytes:
        with self._lock:
            return self._secrets.setdefault(name, secrets.token_bytes(32))

    def close(self) -> None:
        return None


def follows(entry: Entry, stored: Entry | None) -> bool:
    """Whether the session stands where the entry takes it up."""
    if entry.previous == ANYWHERE:
        return True
    if entry.previous == NOWHERE:
        return stored is None or stored.expires <= clock.now()
    return stored is not None and (stored.epoch, stored.position) == (entry.epoch, entry.previous)
