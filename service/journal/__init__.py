"""Where committed rows and records go before an answer leaves: one small protocol and its stores.

    memory     sessions live as long as the process
    sqlite     one file that this process alone writes; survives it
    valkey     a server shared by replicas; whoever serves a session must have seen its last commit

A commit says where the session stood before it (`previous`, of the same `epoch`). Where it stands elsewhere by now,
because another replica was faster or the session was closed, the entry is *refused*: nothing is stored for it, and
whoever sent it loads the session again and starts over. Entries that are not refused are stored, all or none.

Used by the engine, which commits, and by the session store, which loads, lists and removes.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

import msgspec

NOWHERE = -1
"""`previous` of an opening: there is no session by that id, or one whose time has passed."""
ANYWHERE = -2
"""`previous` of an entry that replaces whatever there is: right only where nobody else writes."""

NONE_REFUSED: AbstractSet[str] = frozenset()


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One session as it stands after a transition: its row's bytes and what the session must remember.

    Args:
        record: whatever the journal was opened to keep; see `service.journal.codec.Records`.
        epoch: drawn when the session was opened, so that an id used again is another session; see `draw_epoch`.
        previous: the position that the journal holds until now, or NOWHERE, or ANYWHERE.
        expires: Unix time in seconds after which the session is gone unless it is used.
    """

    session_id: str
    position: int
    row: bytes
    record: Any
    epoch: int = 0
    previous: int = ANYWHERE
    expires: float = math.inf


class Listed(msgspec.Struct, frozen=True):
    """What a list tells of a session."""

    session_id: str
    position: int
    expires: float


def draw_epoch() -> int:
    """A number that tells this opening of a session from every other one under the same id."""
    return secrets.randbits(63)


class Journal(Protocol):
    """What every store of sessions can do. Methods may be called from any thread; all but the properties may wait.

    Raises:
        JournalUnavailable: the journal cannot be reached or written now. After a commit that raised it, what became
            of its entries is not known: their sessions are loaded again before they are used.
        JournalDamaged: what is stored cannot be trusted. Nothing was overwritten.
    """

    @property
    def durable(self) -> bool:
        """Whether what is committed outlives this process."""

    @property
    def shared(self) -> bool:
        """Whether other processes write to it, so that a row kept in memory may be out of date."""

    @property
    def trouble(self) -> str | None:
        """What stands against using the journal now, for readiness; None if nothing is known to. Never waits."""

    def commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
        """Store entries of distinct sessions, each in place of the session's last; return the ids of those refused."""

    def commit_now(self, entries: Sequence[Entry]) -> AbstractSet[str] | None:
        """As `commit`, where that may be expected to take next to no time; None where not, and nothing was begun.

        For the event loop: between threads, to hand a commit over and back takes longer than many a disk.
        """

    @property
    def is_untidy(self) -> bool:
        """Whether `tend` has work to do that had better not wait."""

    def load(self, session_id: str) -> Entry | None:
        """The session's last entry, with `previous` equal to its position so that a copy of it can go on from there.

        One whose time has passed (`expires`) is still told for a while, its row empty, so that it can be told from
        one that never was.
        """

    def remove(self, session_ids: Iterable[str]) -> None:
        """Forget sessions that were closed; unknown ones are ignored.

        Not for those whose time has passed: `sweep` finds them, remembers that they were, and knows whether another
        replica has used them meanwhile.
        """

    def extend(self, expires: Mapping[str, float]) -> None:
        """Let sessions, by id, live until then; for uses that commit nothing. Unknown ones are ignored."""

    def page(self, after: str, limit: int, prefix: str = "") -> tuple[list[Listed], str]:
        """About `limit` sessions that live and whose ids begin with `prefix`, and what to give as `after` to go on.

        That is "" at the beginning and at the end.

        In the order of their ids where the journal has one; a session that stays is told at least once.

        Raises:
            InputMismatch: `after` is nothing that a page gave.
        """

    def sweep(self) -> list[str]:
        """Forget some sessions whose time has passed, and return their ids: a bounded piece of work."""

    def tend(self) -> None:
        """Do a bounded piece of housekeeping; called when nobody waits for an answer, and every few seconds."""

    def secret(self, name: str) -> bytes:
        """32 random bytes by that name, drawn at the first call and the same ever after for all who share it."""

    def close(self) -> None:
        """Finish and let go; nothing may be called afterwards."""
