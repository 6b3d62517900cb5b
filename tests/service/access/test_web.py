from __future__ import annotations

import socket

import pytest

from service.access.web import Origins, read_origins
from service.errors import NotAllowed


def headers(host: str | None, origin: str | None = None, **fetch: str) -> list[tuple[bytes, bytes]]:
    told = ((b"sec-fetch-" + name.encode(), value) for name, value in fetch.items())
    given = ((b"host", host), (b"origin", origin), *told)
    return [(name, value.encode()) for name, value in given if value is not None]


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8000",
        "127.0.0.1:8000",
        "[::1]:8000",
        "[::ffff:127.0.0.1]",
        "app.localhost",
        f"{socket.gethostname().upper()}:8000",
        "10.0.0.7",
        "",
        None,
    ],
)
def test_this_machines_own_names_are_answered_where_everybody_may_ask(host: str | None) -> None:
    Origins((), only_here=True).require(headers(host))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8000",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "1.evil",
        "evil.example.",
        "wpad:8000",
        "[wpad]",
        "::evil",
    ],
)
def test_a_name_that_somebody_may_have_pointed_here_is_not(host: str) -> None:
    with pytest.raises(NotAllowed):
        Origins((), only_here=True).require(headers(host))
    Origins((), only_here=False).require(headers(host))
    Origins((f"http://{host}",), only_here=True).require(headers(host))


def test_pages_of_this_service_and_those_that_are_listed_may_ask_and_others_may_not() -> None:
    origins = Origins(("https://app.example.com",), only_here=False)
    origins.require(headers("api.example.com", "https://api.example.com"))
    origins.require(headers("API.example.com:8000", "http://api.EXAMPLE.com:8000"))
    origins.require(headers("api.example.com", "https://app.example.com"))
    for other in (
        "http://app.example.com",
        "https://evil.example",
        "null",
        "https://app.example.com.evil.example",
        "",
        "file://",
    ):
        with pytest.raises(NotAllowed):
            origins.require(headers("api.example.com", other))


@pytest.mark.parametrize("name", [b"host", b"origin", b"sec-fetch-site"])
def test_what_is_said_twice_is_refused_however_it_is_meant(name: bytes) -> None:
    origins = Origins((), only_here=False)
    once = headers("localhost", "http://localhost", site="same-origin")
    origins.require(once)
    for value in (dict(once)[name], b"evil.example"):
        with pytest.raises(NotAllowed, match="once"):
            origins.require([*once, (name, value)])


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_may_link_here_and_load_nothing(site: str) -> None:
    origins = Origins(("https://app.example.com",), only_here=False)
    for mode, dest in (("no-cors", "image"), ("no-cors", "script"), ("navigate", "iframe"), ("cors", "empty")):
        with pytest.raises(NotAllowed, match="sec-fetch-site"):
            origins.require(headers("localhost", site=site, mode=mode, dest=dest))
    with pytest.raises(NotAllowed, match="sec-fetch-site"):
        origins.require(headers("localhost", site=site))
    origins.require(headers("localhost", site=site, mode="navigate", dest="document"))
    origins.require(headers("localhost", "https://app.example.com", site=site, mode="cors", dest="empty"))
    with pytest.raises(NotAllowed):
        origins.require(headers("localhost", "null", site=site, mode="navigate", dest="document"))


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_own_pages_and_typed_addresses_load_what_they_like(site: str) -> None:
    Origins((), only_here=True).require(headers("localhost", site=site, mode="no-cors", dest="image"))


def test_a_list_of_origins_is_read_and_what_is_none_refused() -> None:
    assert read_origins(" https://A.example.com, http://localhost:3000 ") == (
        "https://a.example.com",
        "http://localhost:3000",
    )
    assert read_origins("") == ()
    for wrong in (
        "*",
        "example.com",
        "https://a.example.com/",
        "https://*.example.com",
        "null",
        "https://a b",
        "https://user@a",
    ):
        with pytest.raises(ValueError):
            read_origins(wrong)
