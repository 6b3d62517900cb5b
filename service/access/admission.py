"""Who is let in: the API keys that are known now, and what a request or connection shows of one.

A connection that outlives a request is a *visitor*: its key is looked up again when the keys have changed, so that one
that was taken back is refused from the next request, frame or message on.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from service.access.caller import ANYONE, Caller
from service.access.keys import KeyFileError, KeyTable, digest_of, read_keys
from service.errors import NotAuthenticated

log = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
_LONGEST = 512
"""Bytes of what may be a key; what is longer is none, and is not hashed either."""
_SUBPROTOCOL = "unroll.api-key."
"""What a browser puts before its key among a WebSocket's subprotocols: it cannot send headers."""


class Access:
    """The keys that are known now. All methods belong to the event loop.

    Args:
        path: the file of keys, read at once and again whenever it changes; None lets everybody in.

    Raises:
        KeyFileError: it cannot be read.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen = None if path is None else _stamp(path)
        self.table = KeyTable([] if path is None else read_keys(path))
        """Another one whenever the keys have changed."""

    @property
    def required(self) -> bool:
        """Whether a key has to be shown."""
        return self._path is not None

    def visitor(self, credential: bytes | None) -> Visitor:
        """Whoever shows this key, or none.

        Raises:
            NotAuthenticated: a key has to be shown, and none was.
        """
        if self._path is None:
            return Visitor(self, b"")
        if credential is None:
            raise NotAuthenticated("no API key came: send it in the header Authorization: Bearer KEY, or in X-Api-Key")
        return Visitor(self, digest_of(credential) if len(credential) <= _LONGEST else b"")

    def caller(self, digest: bytes) -> Caller:
        """Whose key has this digest.

        Raises:
            NotAuthenticated: nobody's.
        """
        if self._path is None:
            return ANYONE
        found = self.table.find(digest)
        if found is None:
            raise NotAuthenticated("the API key is not known here: check it, or ask whoever runs this service for one")
        return found

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Take notice of changes of the file until the context ends."""
        looking = asyncio.create_task(self._look_now_and_then(), name="look at the file of API keys")
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    async def _look_now_and_then(self) -> None:
        while self._path is not None:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Take up the file if it has changed; where it cannot be used, what was known stays, and the log says so."""
        assert self._path is not None
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            table = KeyTable(read_keys(self._path))
        except KeyFileError as error:
            log.error("the file of API keys has changed and cannot be used; the keys known before stay: %s", error)
            return
        self.table = table
        log.info("the API keys have changed", extra={"keys": len(table)})


class Visitor:
    """Whom a connection comes from, as long as it is open."""

    __slots__ = ("_access", "_caller", "_digest", "_table")

    def __init__(self, access: Access, digest: bytes) -> None:
        self._access = access
        self._digest = digest
        self._table: KeyTable | None = None
        self._caller: Caller

    def caller(self) -> Caller:
        """The caller, as the keys are now.

        Raises:
            NotAuthenticated: the key is not known, or no more.
        """
        if self._table is not self._access.table:
            self._caller = self._access.caller(self._digest)
            self._table = self._access.table
        return self._caller


def credential_in(headers: Iterable[tuple[bytes, bytes]], subprotocols: Iterable[str] = ()) -> bytes | None:
    """The API key among a request's headers or a WebSocket's subprotocols; None if there is none.

    Raises:
        NotAuthenticated: there are several that differ.
    """
    named = [(name.lower(), value) for name, value in headers]
    found = {bearer(value) for name, value in named if name == b"authorization"}
    found |= {value.strip() for name, value in named if name == b"x-api-key"}
    found |= {one.removeprefix(_SUBPROTOCOL).encode() for one in subprotocols if one.startswith(_SUBPROTOCOL)}
    found -= {None, b""}
    if len(found) > 1:
        raise NotAuthenticated("two different API keys came with one request: send one")
    return found.pop() if found else None


def bearer(authorization: bytes) -> bytes | None:
    """The key in the header Authorization; None where it holds something else, such as a signature for a proxy."""
    scheme, _, credential = authorization.strip().partition(b" ")
    return credential.strip() if scheme.lower() == b"bearer" else None


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def admission(authentication: str, api_keys: str, host: str) -> Access:
    """Who is let in, by what an operator chose.

    Args:
        authentication: `required`, `off`, or `auto`: required with a file of keys, or where others reach the host.
        api_keys: the path of the file; empty for none.

    Raises:
        KeyFileError: keys have to be shown, and there are none, or their file cannot be read.
    """
    if authentication == "off" or (authentication == "auto" and not api_keys and is_loopback(host)):
        return Access(None)
    if not api_keys:
        why = "authentication is required" if authentication == "required" else f"{host} is open to a network"
        raise KeyFileError(
            f"{why}, and there are no API keys. Either make one with `python -m service keys add NAME --file keys.toml`"
            " and start with --api-keys keys.toml; or listen on 127.0.0.1, where none are needed; or let everybody in "
            "with --authentication off"
        )
    access = Access(Path(api_keys))
    if not len(access.table):
        raise KeyFileError(
            f"{Path(api_keys).name}: there are no API keys in it, and nobody could come in: make one with `python -m "
            f"service keys add NAME --file {api_keys}`"
        )
    return access


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
