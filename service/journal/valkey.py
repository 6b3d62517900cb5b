"""The journal on a Valkey or Redis server, or a cluster of them, shared by any number of replicas.

Whoever serves a session may be another process next time. A commit is therefore a compare-and-set on the server, one
script for each session, all scripts of a commit in one round trip. Where no answer comes, the journal finds out what
became of the commit before it says anything, and sees to it that what was not carried out cannot be later.
"""

from __future__ import annotations

import logging
import math
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from service.errors import InputMismatch, JournalDamaged, JournalUnavailable
from service.journal import ANYWHERE, NONE_REFUSED, NOWHERE, Entry, Listed, clock, draw_epoch
from service.journal.codec import Records
from service.journal.stored import pack_entry, unpack_entry
from service.journal.valkey_node import OutcomeUnknown, Refused, Reply, Server
from service.journal.valkey_promises import weaknesses
from service.journal.valkey_scripts import CONFIRM, ENTRY_AT, EXTEND, HEAD, REFUSED, SETTLE, STORED, draw_token
from service.journal.valkey_sessions import Sessions, ValkeyOptions

log = logging.getLogger(__name__)

REMEMBERED_SECONDS = 3600.0
"""How long the server keeps an expired session, so that it can be told from one that never was."""
PAUSE_SECONDS = 0.5
"""After a failure, how long nobody tries again: whoever comes meanwhile is told at once."""
_PLACE_BYTES = 16
_LONGEST_MS = 10**15


class ValkeyJournal:
    """Sessions as keys of a server. Nothing is sent before the first use: a server may come later than the service."""

    durable = True
    shared = True
    is_untidy = False

    def __init__(self, server: Server, records: Records[Any], options: ValkeyOptions | None = None) -> None:
        self._options = options or ValkeyOptions()
        self._records = records
        # Loading a session need not wait for a commit that is on its way.
        self._writing = Sessions(server, self._options)
        self._reading = Sessions(server, self._options)
        self._trouble: str | None = None
        self._pause_until = 0.0
        self._looked_at_promises = False

    @property
    def trouble(self) -> str | None:
        return self._trouble

    # Commits.

    def commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
        with self._guarded():
            refused = self._commit({entry.session_id: (entry, _expected(entry)) for entry in entries})
            for entry in entries:
                if entry.session_id in refused and entry.previous == NOWHERE and self._takes_place_of_expired(entry):
                    refused.discard(entry.session_id)
            return refused or NONE_REFUSED

    def commit_now(self, entries: Sequence[Entry]) -> AbstractSet[str] | None:
        """None: a server may always take its time."""
        return None

    def _takes_place_of_expired(self, entry: Entry) -> bool:
        """Whether an opening that was refused could be stored over a session whose time has passed."""
        # Its head alone: what is wrong with the rest is no news for all who wait for this commit.
        data = self._value(entry.session_id)
        if data is None or len(data) < HEAD.size:
            return False
        epoch, position, expires = HEAD.unpack_from(data)
        if expires > clock.now():
            return False
        return not self._commit({entry.session_id: (entry, _place(epoch, position))})

    def _commit(self, wanted: Mapping[str, tuple[Entry, bytes]]) -> set[str]:
        """Store entries whose sessions stand at the place given with each; the ids of the others."""
        token = draw_token()
        arguments = {
            session_id: (
                expected,
                _milliseconds_to_live(entry.expires),
                HEAD.pack(entry.epoch, entry.position, entry.expires),
                pack_entry(entry, self._records),
            )
            for session_id, (entry, expected) in wanted.items()
        }
        try:
            replies = self._writing.commit(token, arguments)
        except OutcomeUnknown as error:
            log.warning("%s; looking into what became of %d sessions", error, len(wanted))
            replies = self._settle({session_id: expected for session_id, (_, expected) in wanted.items()}, token)
        return {session_id for session_id, reply in replies.items() if reply != STORED}

    def _settle(self, expected: Mapping[str, bytes], token: bytes) -> dict[str, Reply]:
        """What became of a commit that was not answered: STORED or REFUSED for each session."""
        epoch = _place(draw_epoch(), 0)[:8]
        replies = self._writing.run(
            SETTLE, {session_id: (before, token, epoch) for session_id, before in expected.items()}
        )
        for session_id, reply in replies.items():
            if reply not in (STORED, REFUSED):
                # Whoever waits for the commit is told, and it is not theirs to know whose session that was.
                log.warning("it is not clear what became of session %s", session_id)
                raise JournalUnavailable("a commit was not answered, and it is not clear what became of it")
        return replies

    def remove(self, session_ids: Iterable[str]) -> None:
        with self._guarded():
            self._writing.write(map(self._writing.key, session_ids), b"UNLINK")

    def extend(self, expires: Mapping[str, float]) -> None:
        with self._guarded():
            until = {
                name: (HEAD.pack(0, 0, at)[_PLACE_BYTES:], _milliseconds_to_live(at)) for name, at in expires.items()
            }
            self._writing.run(EXTEND, until)

    # Reading.

    def load(self, session_id: str) -> Entry | None:
        with self._guarded():
            return self._load(session_id)

    def _load(self, session_id: str) -> Entry | None:
        data = self._value(session_id)
        if data is None:
            return None
        if len(data) < ENTRY_AT:
            raise JournalDamaged(f"session {session_id}: what is stored under its key is cut short")
        epoch, position, expires = HEAD.unpack_from(data)
        entry = unpack_entry(data[ENTRY_AT:], self._records, session_id)
        if entry.position != position:
            raise JournalDamaged(f"session {session_id}: stored for position {position} is position {entry.position}")
        return replace(entry, epoch=epoch, expires=expires)

    def _value(self, session_id: str) -> bytes | None:
        """What is stored; where copies are wanted, only once they have it: an answer may be made from it."""
        if self._options.copies:
            confirmed: bytes | None = self._reading.run(CONFIRM, {session_id: ()})[session_id]
            return confirmed
        key = self._reading.key(session_id)
        value: bytes | None = self._reading.read([key], b"GET")[key]
        return value

    def page(self, after: str, limit: int, prefix: str = "") -> tuple[list[Listed], str]:
        with self._guarded():
            if not re.fullmatch(r"(\d+-\d+)?", after):
                raise InputMismatch("after: expected what the page before gave to go on with", parameter="after")
            number, cursor = after.split("-") if after else ("0", "0")
            pattern, count = self._reading.key(f"{prefix}*"), b"%d" % limit
            reply = self._reading.servers.ask_one(
                int(number), b"SCAN", cursor.encode(), b"MATCH", pattern, b"COUNT", count
            )
            if reply is None:
                return [], ""
            cursor = reply[0].decode()
            heads = self._reading.read(reply[1], b"GETRANGE", b"0", b"23")
            return self._listed(heads), f"{int(number) + (cursor == '0')}-{cursor}"

    def _listed(self, heads: Mapping[bytes, bytes]) -> list[Listed]:
        now, found = clock.now(), []
        for key, head in heads.items():
            if len(head) == HEAD.size:  # else it is gone since
                _, position, expires = HEAD.unpack(head)
                if expires > now:
                    found.append(Listed(self._reading.id_of(key), position, expires))
        return found

    # Housekeeping.

    def sweep(self) -> list[str]:
        """Nothing: the server forgets sessions by itself."""
        return []

    def tend(self) -> None:
        if self._trouble is None and self._looked_at_promises:
            return
        with self._guarded():
            number = 0
            while self._writing.servers.ask_one(number, b"PING") is not None:
                if not self._looked_at_promises:
                    self._look_at_promises(number)
                number += 1
            self._looked_at_promises = True

    def _look_at_promises(self, number: int) -> None:
        try:
            reply = self._writing.servers.ask_one(number, b"CONFIG", b"GET", b"*")
        except Refused:
            # Servers that are rented do not let their customers look.
            return
        for weakness in weaknesses(reply):
            log.warning("a server of the journal %s", weakness)

    def secret(self, name: str) -> bytes:
        key = f"{self._options.prefix}secret:{name}".encode()
        with self._guarded():
            self._writing.write([key], b"SET", secrets.token_bytes(32), b"NX")
            return bytes(self._writing.read([key], b"GET")[key])

    def close(self) -> None:
        self._writing.servers.close()
        self._reading.servers.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Remember what stands against the journal; after a failure, turn whoever comes away at once for a moment."""
        if time.monotonic() < self._pause_until:
            raise JournalUnavailable(self._trouble or "the journal is not reachable")
        try:
            yield
        except Refused as error:
            self._trouble = str(error)
            raise JournalUnavailable(self._trouble) from error
        except (JournalUnavailable, OutcomeUnknown) as error:
            self._trouble = str(error)
            self._pause_until = time.monotonic() + PAUSE_SECONDS
            raise JournalUnavailable(self._trouble) from error
        self._trouble = None


def _place(epoch: int, position: int) -> bytes:
    return HEAD.pack(epoch, position, math.inf)[:_PLACE_BYTES]


def _expected(entry: Entry) -> bytes:
    """Where the commit expects the session to stand, as COMMIT wants to be told."""
    if entry.previous == NOWHERE:
        return b""
    return b"*" if entry.previous == ANYWHERE else _place(entry.epoch, entry.previous)


def _milliseconds_to_live(expires: float) -> bytes:
    """Until the server may forget the session; counted from now, since the server's clock is its own."""
    if math.isinf(expires):
        return b""
    milliseconds = (expires - clock.now() + REMEMBERED_SECONDS) * 1000
    return b"%d" % max(1, min(int(milliseconds), _LONGEST_MS))
