"""What concerns browsers alone: which web pages may ask, and what a browser may do with an answer.

A browser lets any page send requests anywhere, and a page whose name points to this machine ("DNS rebinding") even
read the answers. Who asks for no API keys because nobody else can reach the address would be open to every web page.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection, Iterable

from service.errors import NotAllowed

SECURITY_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
)
"""Of every answer, but that one which says itself how it may be kept has that alone."""

_ORIGIN = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?")
_PORT = re.compile(r":\d*$")
_HEEDED = frozenset((b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"))
_HERE = frozenset(("", "localhost", socket.gethostname().lower()))
"""Names of this machine; the empty one is of clients that say none, which no browser is."""


def read_origins(text: str) -> tuple[str, ...]:
    """The origins in a list with commas, in lower case.

    Raises:
        ValueError: one is none, such as `*` or one with a path.
    """
    found = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    if not all(map(_ORIGIN.fullmatch, found)):
        raise ValueError
    return found


class Origins:
    """Which web pages may ask.

    Args:
        allowed: origins beside this service's own pages.
        only_here: whether whoever is on this machine may do everything, so that no other machine's name is answered.
    """

    def __init__(self, allowed: Collection[str], *, only_here: bool) -> None:
        self._allowed = frozenset(allowed)
        self._hosts = frozenset(origin.partition("://")[2] for origin in allowed)
        self._only_here = only_here

    def require(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Check the headers of a request, by lower-case names.

        Raises:
            NotAllowed: a page asks that may not, or the service is asked by a name that others may point to it.
        """
        named: dict[bytes, str] = {}
        for name, value in headers:
            if name in _HEEDED:
                if name in named:
                    raise NotAllowed(f"{name.decode()}: expected it once: which of them counts is not said anywhere")
                named[name] = value.decode("latin-1").strip().lower()
        host, origin = named.get(b"host", ""), named.get(b"origin")
        if self._only_here and host not in self._hosts and not _is_here(_PORT.sub("", host)):
            raise NotAllowed(
                f"host: expected this machine's address or localhost, got {host[:100]!r}: a web page could have its "
                "name point here. Ask for API keys, or list the origin in UNROLL_CORS_ORIGINS"
            )
        if origin is not None and origin not in self._allowed and origin.partition("://")[2] != host:
            raise NotAllowed(
                f"origin: pages of {origin[:100]!r} may not ask here: whoever runs this service can allow them with "
                "UNROLL_CORS_ORIGINS"
            )
        # Browsers leave the origin out of what a page loads as an image, a script or a frame, but not where it is from.
        if origin is None and named.get(b"sec-fetch-site") in ("cross-site", "same-site") and not _is_visit(named):
            raise NotAllowed(
                "sec-fetch-site: pages of other origins may not load anything from here: whoever runs this service can "
                "allow them with UNROLL_CORS_ORIGINS, and they ask with CORS"
            )


def _is_visit(named: dict[bytes, str]) -> bool:
    """Whether somebody followed a link here, so that no page sees the answer but the one that it is."""
    return named.get(b"sec-fetch-mode") == "navigate" and named.get(b"sec-fetch-dest") == "document"


def _is_here(name: str) -> bool:
    """Whether nobody else can have this name point to this machine.

    A name without a dot is no exception: a resolver may add a domain to it, or ask the neighbours whose it is.
    """
    if name in _HERE or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True
