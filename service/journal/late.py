"""A journal that cannot be opened yet: tried again and again, and until then everything that needs it is refused.

Another process may hold the file for a while still, a volume may be mounted later, a disk may get room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from threading import Lock

from service.errors import JournalUnavailable
from service.journal import Entry, Journal, Listed
from service.journal.sqlite_file import JournalError, JournalHeld

HELD_SECONDS = 1.0
"""Until the next try where another process holds the file."""
RETRY_SECONDS = 30.0
"""Where there is another reason: an operator has to see to it, and each try writes a little."""


class LateJournal:
    """Stands in for the journal that `open_one` opens, which is called from `tend`.

    Args:
        open_one: opens it. Raises JournalError where that cannot be done, and says why.
        refusal: what the first try came to.
    """

    durable = True
    shared = False

    def __init__(self, open_one: Callable[[], Journal], refusal: JournalError) -> None:
        self._open_one = open_one
        self._opened: Journal | None = None
        self._closed = False
        self._lock = Lock()
        self._note(refusal)

    @property
    def trouble(self) -> str | None:
        return self._reason if self._opened is None else self._opened.trouble

    @property
    def is_untidy(self) -> bool:
        return self._opened is not None and self._opened.is_untidy

    def commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
        return self._there().commit(entries)

    def commit_now(self, entries: Sequence[Entry]) -> AbstractSet[str] | None:
        return None if self._opened is None else self._opened.commit_now(entries)

    def load(self, session_id: str) -> Entry | None:
        return self._there().load(session_id)

    def remove(self, session_ids: Iterable[str]) -> None:
        self._there().remove(session_ids)

    def extend(self, expires: Mapping[str, float]) -> None:
        self._there().extend(expires)

    def page(self, after: str, limit: int, prefix: str = "") -> tuple[list[Listed], str]:
        return self._there().page(after, limit, prefix)

    def sweep(self) -> list[str]:
        return [] if self._opened is None else self._opened.sweep()

    def tend(self) -> None:
        if self._opened is not None:
            self._opened.tend()
        elif time.monotonic() >= self._try_at:
            self._try_again()

    def secret(self, name: str) -> bytes:
        return self._there().secret(name)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._opened is not None:
                self._opened.close()

    def _there(self) -> Journal:
        if self._opened is None:
            raise JournalUnavailable(self._reason, retry_after_s=2 * self._pause_s)
        return self._opened

    def _try_again(self) -> None:
        with self._lock:
            if self._closed:
                return
            try:
                self._opened = self._open_one()
            except JournalError as error:
                self._note(error)

    def _note(self, refusal: JournalError) -> None:
        self._reason = str(refusal)
        self._pause_s = HELD_SECONDS if isinstance(refusal, JournalHeld) else RETRY_SECONDS
        self._try_at = time.monotonic() + self._pause_s
