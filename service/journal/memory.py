"""The journal in this process's own memory: sessions live as long as the process does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Lock

from service.journal import Entry


class MemoryJournal:
    """Keeps each session's last entry in a dictionary."""

    durable = False

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._lock = Lock()

    def commit(self, entries: Sequence[Entry]) -> None:
        with self._lock:
            for entry in entries:
                self._entries[entry.session_id] = entry

    def load(self, session_id: str) -> Entry | None:
        with self._lock:
            return self._entries.get(session_id)

    def remove(self, session_ids: Iterable[str]) -> None:
        with self._lock:
            for session_id in session_ids:
                self._entries.pop(session_id, None)
