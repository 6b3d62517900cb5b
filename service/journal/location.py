"""Where a journal is, as an operator writes it: `memory:`, `sqlite:///path`, `valkey://host:port/db`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from service.journal import Journal
from service.journal.codec import Records
from service.journal.memory import MemoryJournal
from service.journal.sqlite import SqliteJournal
from service.journal.sqlite_file import JournalError

__all__ = ["EXPECTED", "JournalError", "check_location", "open_journal"]

EXPECTED = "memory:, sqlite:///path, sqlite:path or valkey://host:port/database"
_SERVER_SCHEMES = {"valkey": False, "redis": False, "valkeys": True, "rediss": True}
_OPTIONS = ("cluster", "prefix", "copies", "wait_ms", "timeout_ms", "sentinel", "sentinels")
_SENTINEL_PORT = 26379


def open_journal(location: str, records: Records[Any]) -> Journal:
    """The journal there, which keeps records of one kind.

    A server is not spoken to yet: it may come later, and `trouble` tells.

    Raises:
        ValueError: this is no location; says what one looks like, and repeats nothing that may be a password.
        JournalError: the file cannot be used.
    """
    parts = urlsplit(location.strip())
    if parts.scheme == "memory" and not parts.netloc + parts.path:
        return MemoryJournal()
    if parts.scheme == "sqlite":
        return SqliteJournal(_path(parts), records)
    if parts.scheme in _SERVER_SCHEMES and parts.hostname:
        return _on_servers(parts, records)
    raise ValueError(f"expected {EXPECTED}")


def check_location(location: str) -> str:
    """The location as it was given, if it is one. Raises ValueError as `open_journal` does, and opens nothing."""
    parts = urlsplit(location.strip())
    if parts.scheme == "sqlite":
        _path(parts)
    elif parts.scheme in _SERVER_SCHEMES and parts.hostname:
        _server_and_options(parts)
    elif parts.scheme != "memory" or parts.netloc + parts.path:
        raise ValueError(f"expected {EXPECTED}")
    return location.strip()


def _path(parts: SplitResult) -> Path:
    """`sqlite:///var/lib/x.db` is a path from the root, as in any other address; `sqlite:x.db` one from here."""
    if parts.netloc or parts.query or parts.path in ("", "/"):
        raise ValueError("expected sqlite:///path from the root, or sqlite:path from here")
    return Path(unquote(parts.path))


def _on_servers(parts: SplitResult, records: Records[Any]) -> Journal:
    # Only who uses a server needs its client library, which takes a while to import.
    from service.journal.valkey import ValkeyJournal

    server, options = _server_and_options(parts)
    return ValkeyJournal(server, records, options)


def _server_and_options(parts: SplitResult) -> tuple[Any, Any]:
    from service.journal.valkey_node import Server
    from service.journal.valkey_sessions import ValkeyOptions

    given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    unknown = given.keys() - set(_OPTIONS)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: no such option; known are {', '.join(_OPTIONS)}")
    cluster = given.get("cluster", "no")
    if cluster not in ("yes", "no"):
        raise ValueError("cluster: expected yes or no")
    prefix = given.get("prefix", "unroll:")
    if not re.fullmatch(r"[A-Za-z0-9_.:-]*", prefix):
        raise ValueError("prefix: expected letters, digits, '_', '.', ':' and '-'")
    master = given.get("sentinel", "")
    if "sentinels" in given and not master:
        raise ValueError("sentinels: expected sentinel as well, with the name that they know the server by")
    server = Server(
        host=parts.hostname or "",
        port=_port(parts, _SENTINEL_PORT if master else 6379),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=_whole("database", parts.path.strip("/") or "0", 0, 10**6),
        tls=_SERVER_SCHEMES[parts.scheme],
        timeout_s=_whole("timeout_ms", given.get("timeout_ms", "1000"), 10, 60_000) / 1000,
        master=master,
        sentinels=tuple(map(_address, filter(None, given.get("sentinels", "").split(",")))),
    )
    options = ValkeyOptions(
        cluster=cluster == "yes",
        prefix=prefix,
        copies=_whole("copies", given.get("copies", "0"), 0, 100),
        wait_s=_whole("wait_ms", given.get("wait_ms", "1000"), 1, 60_000) / 1000,
    )
    if options.cluster and server.database:
        raise ValueError("a cluster has the database 0 alone")
    if options.cluster and master:
        raise ValueError("cluster, sentinel: expected one of them; the servers of a cluster look after each other")
    return server, options


def _address(text: str) -> tuple[str, int]:
    """`host:port` or `host`."""
    host, _, port = text.partition(":")
    if not host:
        raise ValueError("sentinels: expected host:port,host:port")
    return host, _whole("sentinels", port or str(_SENTINEL_PORT), 1, 65535)


def _port(parts: SplitResult, usual: int) -> int:
    try:
        return parts.port or usual
    except ValueError:
        # Python would repeat the text, and where a '#' or '/' stands in a password, that is part of one.
        raise ValueError(
            "port: expected a whole number; write '%23' for a '#' and '%2F' for a '/' in a password"
        ) from None


def _whole(name: str, text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ValueError(f"{name}: expected a whole number from {low} to {high}")
    return int(text)
