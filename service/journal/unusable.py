"""In place of a journal that could not be opened: everything that needs one is refused, and says why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from service.errors import JournalUnavailable
from service.journal import Entry, Listed

_RETRY_SECONDS = 30.0


class UnusableJournal:
    """Keeps nothing and pretends nothing, until the service is started again with one that can be used."""

    durable = True
    shared = False

    def __init__(self, reason: str) -> None:
        self.trouble = reason

    def commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
        raise self._refusal()

    def load(self, session_id: str) -> Entry | None:
        raise self._refusal()

    def remove(self, session_ids: Iterable[str]) -> None:
        raise self._refusal()

    def extend(self, expires: Mapping[str, float]) -> None:
        raise self._refusal()

    def page(self, after: str, limit: int) -> tuple[list[Listed], str]:
        raise self._refusal()

    def sweep(self) -> list[str]:
        return []

    def tend(self) -> None:
        return None

    def secret(self, name: str) -> bytes:
        raise self._refusal()

    def close(self) -> None:
        return None

    def _refusal(self) -> JournalUnavailable:
        return JournalUnavailable(self.trouble, retry_after_s=_RETRY_SECONDS)
