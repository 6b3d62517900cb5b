"""The journal on a Valkey or Redis server, or a cluster of them, shared by any number of replicas.

Whoever serves a session may be another process next time. A commit is therefore a compare-and-set on the server, one
script for each session, all scripts of a commit in one round trip. Where no answer comes, the journal finds out what
became of the commit before it says anything, and sees to it that what was not carried out cannot be later.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any

from msgspec.structs import replace
from valkey.exceptions import NoScriptError, ResponseError

from service.errors import JournalDamaged, JournalUnavailable
from service.journal import ANYWHERE, NONE_REFUSED, NOWHERE, Entry, Listed, clock, draw_epoch
from service.journal.codec import Records
from service.journal.stored import pack_entry, unpack_entry
from service.journal.valkey_cluster import Servers
from service.journal.valkey_node import OutcomeUnknown, Refused, Reply, Server, command
from service.journal.valkey_promises import weaknesses
from service.journal.valkey_scripts import (
    COMMIT,
    CONFIRM,
    ENTRY_AT,
    EXTEND,
    HEAD,
    REFUSED,
    SETTLE,
    STORED,
    Script,
    draw_token,
)

log = logging.getLogger(__name__)

REMEMBERED_SECONDS = 3600.0
"""How long the server keeps an expired session, so that it can be told from one that never was."""
PAUSE_SECONDS = 0.5
"""After a failure, how long nobody tries again: whoever comes meanwhile is told at once."""
_PLACE_BYTES = 16
_LONGEST_MS = 10**15


@dataclass(frozen=True)
class ValkeyOptions:
    """How the journal uses its servers.

    Args:
        cluster: whether the server is one of a cluster.
        prefix: of every key.
        copies: replicas of the server that must have a commit before it counts (WAIT); 0 asks none.
        wait_s: how long to wait for them.
    """

    cluster: bool = False
    prefix: str = "unroll:"
    copies: int = 0
    wait_s: float = 1.0


class ValkeyJournal:
    """Sessions as keys of a server. Nothing is sent before the first use: a server may come later than the service."""

    durable = True
    shared = True

    def __init__(self, server: Server, records: Records[Any], options: ValkeyOptions | None = None) -> None:
        self._options = options or ValkeyOptions()
        self._records = records
        # Loading a session need not wait for a commit that is on its way.
        waits = self._options.wait_s if self._options.copies else 0.0
        patient = changed(server, timeout_s=server.timeout_s + waits)
        self._writers = Servers(patient, cluster=self._options.cluster)
        self._readers = Servers(patient, cluster=self._options.cluster)
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

    def _takes_place_of_expired(self, entry: Entry) -> bool:
        """Whether an opening that was refused could be stored over a session whose time has passed."""
        stands = self._load(entry.session_id)
        if stands is None or stands.expires > clock.now():
            return False
        return not self._commit({entry.session_id: (entry, _place(stands.epoch, stands.position))})

    def _commit(self, wanted: Mapping[str, tuple[Entry, bytes]]) -> set[str]:
        """Store entries whose sessions stand at the place given with each; the ids of the others."""
        token = draw_token()
        arguments = {
            session_id: (
                expected,
                token,
                HEAD.pack(entry.epoch, entry.position, entry.expires),
                pack_entry(entry, self._records),
                _milliseconds_to_live(entry.expires),
            )
            for session_id, (entry, expected) in wanted.items()
        }
        try:
            replies = self._run(COMMIT, arguments)
        except OutcomeUnknown as error:
            log.warning("%s; looking into what became of %d sessions", error, len(wanted))
            replies = self._settle({session_id: expected for session_id, (_, expected) in wanted.items()}, token)
        return {session_id for session_id, reply in replies.items() if reply != STORED}

    def _settle(self, expected: Mapping[str, bytes], token: bytes) -> dict[str, Reply]:
        """What became of a commit that was not answered: STORED or REFUSED for each session."""
        epoch = _place(draw_epoch(), 0)[:8]
        replies = self._run(SETTLE, {session_id: (before, token, epoch) for session_id, before in expected.items()})
        for session_id, reply in replies.items():
            if reply not in (STORED, REFUSED):
                raise JournalUnavailable(
                    f"a commit was not answered, and it is not clear what became of session {session_id}"
                )
        return replies

    def _run(
        self, script: Script, arguments: Mapping[str, Sequence[bytes]], servers: Servers | None = None
    ) -> dict[str, Reply]:
        """The script's answer for each session.

        Raises:
            Refused: a server refused one, or too few copies have it.
            JournalUnavailable: a server cannot be reached.
            OutcomeUnknown: not all answered.
        """
        servers = servers or self._writers
        keys = {self._key(session_id): session_id for session_id in arguments}
        named = {key: command(b"EVALSHA", script.name, b"1", key, *arguments[name]) for key, name in keys.items()}
        replies, copies = servers.ask_each(named, self._wait)
        unknown = [key for key, reply in replies.items() if isinstance(reply, NoScriptError)]
        if unknown:
            whole = {key: command(b"EVAL", script.text, b"1", key, *arguments[keys[key]]) for key in unknown}
            more, copies = servers.ask_each(whole, self._wait)
            replies |= more
        self._require(replies.values(), copies)
        return {keys[key]: reply for key, reply in replies.items()}

    @property
    def _wait(self) -> bytes:
        """The command that waits for copies of what was written; empty where none are asked for."""
        wanted, milliseconds = self._options.copies, int(self._options.wait_s * 1000)
        return command(b"WAIT", b"%d" % wanted, b"%d" % milliseconds) if wanted else b""

    def _require(self, replies: Iterable[Reply], copies: Sequence[Reply] = ()) -> None:
        for reply in (*replies, *copies):
            if isinstance(reply, ResponseError):
                raise Refused(f"the journal's server refuses: {reply}") from reply
        if any(count < self._options.copies for count in copies):
            raise Refused(f"{min(copies)} copies of the journal have the commit, {self._options.copies} are wanted")

    def remove(self, session_ids: Iterable[str]) -> None:
        keys = [self._key(session_id) for session_id in session_ids]
        with self._guarded():
            replies, copies = self._writers.ask_each({key: command(b"UNLINK", key) for key in keys}, self._wait)
            self._require(replies.values(), copies)

    def extend(self, expires: Mapping[str, float]) -> None:
        with self._guarded():
            until = {
                name: (HEAD.pack(0, 0, at)[_PLACE_BYTES:], _milliseconds_to_live(at)) for name, at in expires.items()
            }
            self._run(EXTEND, until)

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
            confirmed: bytes | None = self._run(CONFIRM, {session_id: ()}, self._readers)[session_id]
            return confirmed
        key = self._key(session_id)
        replies, _ = self._readers.ask_each({key: command(b"GET", key)})
        self._require(replies.values())
        value: bytes | None = replies[key]
        return value

    def page(self, after: str, limit: int) -> tuple[list[Listed], str]:
        with self._guarded():
            nodes = self._readers.primaries()
            number, cursor = (int(part) for part in after.split("-")) if after else (0, 0)
            if number >= len(nodes):
                return [], ""
            pattern = self._key("*")
            reply = nodes[number].ask(b"SCAN", b"%d" % cursor, b"MATCH", pattern, b"COUNT", b"%d" % limit)
            cursor, keys = int(reply[0]), reply[1]
            heads, _ = self._readers.ask_each({key: command(b"GETRANGE", key, b"0", b"23") for key in keys})
            self._require(heads.values())
            number += not cursor
            return self._listed(heads), f"{number}-{cursor}" if number < len(nodes) else ""

    def _listed(self, heads: Mapping[bytes, Reply]) -> list[Listed]:
        now, found = clock.now(), []
        for key, head in heads.items():
            if len(head) == HEAD.size:  # else it is gone since
                _, position, expires = HEAD.unpack(head)
                if expires > now:
                    found.append(Listed(key[len(self._key("")) :].decode(), position, expires))
        return found

    # Housekeeping.

    def sweep(self) -> list[str]:
        """Nothing: the server forgets sessions by itself."""
        return []

    def tend(self) -> None:
        if self._trouble is None and self._looked_at_promises:
            return
        with self._guarded():
            for node in self._writers.primaries():
                node.ask(b"PING")
                if not self._looked_at_promises:
                    for weakness in weaknesses(node):
                        log.warning("the journal's server %s %s", node.server, weakness)
            self._looked_at_promises = True

    def secret(self, name: str) -> bytes:
        key = f"{self._options.prefix}secret:{name}".encode()
        with self._guarded():
            drawn = secrets.token_bytes(32)
            replies, copies = self._writers.ask_each({key: command(b"SET", key, drawn, b"NX")}, self._wait)
            self._require(replies.values(), copies)
            replies, _ = self._writers.ask_each({key: command(b"GET", key)})
            self._require(replies.values())
            return bytes(replies[key])

    def close(self) -> None:
        self._writers.close()
        self._readers.close()

    def _key(self, session_id: str) -> bytes:
        return f"{self._options.prefix}session:{session_id}".encode()

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
