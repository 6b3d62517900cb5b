"""Where committed rows and records go before an answer leaves: one small protocol and its stores.

Used by the engine, which commits, and by the session store, which loads and removes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """One session as it stands after a transition: its row's bytes and what the session must remember."""

    session_id: str
    position: int
    row: bytes
    record: Any


class Journal(Protocol):
    """What every store of sessions can do. Methods may be called from any thread."""

    @property
    def durable(self) -> bool:
        """Whether what is committed outlives this process."""

    def commit(self, entries: Sequence[Entry]) -> None:
        """Store all entries or none, each in place of the session's last."""

    def load(self, session_id: str) -> Entry | None:
        """The session's last entry."""

    def remove(self, session_ids: Iterable[str]) -> None:
        """Forget sessions; unknown ones are ignored."""
