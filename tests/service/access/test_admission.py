from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from service.access.admission import Access, admission, credential_in, is_loopback
from service.access.caller import ANYONE
from service.access.keys import ApiKey, KeyFileError, digest_of, write_keys
from service.errors import NotAuthenticated


def entry(name: str, key: str) -> ApiKey:
    return ApiKey(name=name, rights=["predict"], sha256=digest_of(key.encode()).hex())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_keys(tmp_path / "keys.toml", [entry("a", "key of a"), entry("b", "key of b")])
    return tmp_path / "keys.toml"


def change(path: Path, *keys: ApiKey) -> None:
    """Write the file anew, so that its time says so however quick that was."""
    write_keys(path, keys)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))


# What a request shows


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer KEY")],
        [(b"authorization", b"bearer   KEY ")],
        [(b"Authorization", b"BEARER KEY")],
        [(b"x-api-key", b"KEY")],
        [(b"X-Api-Key", b" KEY ")],
        [(b"authorization", b"Bearer KEY"), (b"x-api-key", b"KEY")],
        [(b"authorization", b"AWS4-HMAC-SHA256 Credential=x"), (b"x-api-key", b"KEY")],
        [(b"authorization", b"Bearer "), (b"x-api-key", b"KEY")],
    ],
)
def test_a_key_is_found_in_each_header_style(headers: list[tuple[bytes, bytes]]) -> None:
    assert credential_in(headers) == b"KEY"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"KEY")],
        [(b"authorization", b"Basic KEY")],
        [(b"x-api-key", b"")],
        [(b"cookie", b"KEY")],
    ],
)
def test_what_is_no_key_is_none(headers: list[tuple[bytes, bytes]]) -> None:
    assert credential_in(headers) is None


def test_a_subprotocol_may_be_a_key() -> None:
    assert credential_in([], ["unroll", "unroll.api-key.KEY"]) == b"KEY"
    assert credential_in([], ["unroll", "KEY"]) is None


@pytest.mark.parametrize(
    ("headers", "subprotocols"),
    [
        ([(b"authorization", b"Bearer A"), (b"x-api-key", b"B")], []),
        ([(b"authorization", b"Bearer A"), (b"authorization", b"Bearer B")], []),
        ([(b"x-api-key", b"A"), (b"x-api-key", b"B")], []),
        ([(b"x-api-key", b"A")], ["unroll.api-key.B"]),
    ],
)
def test_two_keys_that_differ_are_none(headers: list[tuple[bytes, bytes]], subprotocols: list[str]) -> None:
    with pytest.raises(NotAuthenticated):
        credential_in(headers, subprotocols)


# Who is let in


def test_a_known_key_is_its_callers_and_any_other_nobodys(path: Path) -> None:
    access = Access(path)
    assert access.required and access.visitor(b"key of a").caller().name == "a"
    for wrong in (b"key of c", b"", b"key of a" + b"x" * 10_000):
        with pytest.raises(NotAuthenticated):
            access.visitor(wrong).caller()
    with pytest.raises(NotAuthenticated):
        access.visitor(None)


def test_without_a_file_everybody_is_let_in() -> None:
    access = Access(None)
    assert not access.required
    for shown in (None, b"whatever"):
        assert access.visitor(shown).caller() is ANYONE


def test_a_key_that_is_taken_back_stops_at_once_and_a_new_one_begins(path: Path) -> None:
    access = Access(path)
    a, b = access.visitor(b"key of a"), access.visitor(b"key of b")
    assert (a.caller().name, b.caller().name) == ("a", "b")
    change(path, entry("b", "key of b"), entry("c", "key of c"))
    access.look()
    assert b.caller().name == "b" and access.visitor(b"key of c").caller().name == "c"
    for _ in range(2):
        with pytest.raises(NotAuthenticated):
            a.caller()
    change(path, entry("a", "key of a"))
    access.look()
    assert a.caller().name == "a"


def test_a_file_that_has_become_wrong_or_is_gone_leaves_the_keys_as_they_were(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    access = Access(path)
    for spoil in (lambda: path.write_text("[[keys]]\nname = 'key of a'"), path.unlink):
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            spoil()
            access.look()
            access.look()
        assert len(caplog.records) == 1 and "the keys known before stay" in caplog.text
        assert "key of a" not in caplog.text
        assert access.visitor(b"key of a").caller().name == "a"


def test_a_file_that_did_not_change_is_not_read_again(path: Path) -> None:
    access = Access(path)
    table = access.table
    access.look()
    assert access.table is table


# Whether keys are asked for


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_an_address_of_this_machine_alone_needs_no_keys(host: str) -> None:
    assert is_loopback(host) and not admission("auto", "", host).required


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com", "127.0.0.1.nip.io", ""]
)
def test_any_other_address_needs_keys_or_to_be_told_that_none_are(host: str) -> None:
    with pytest.raises(KeyFileError, match=r"(?s)keys add.*127\.0\.0\.1.*--authentication off"):
        admission("auto", "", host)
    assert not admission("off", "", host).required


def test_a_file_of_keys_means_that_they_are_asked_for_unless_they_are_turned_off(path: Path) -> None:
    assert admission("auto", str(path), "127.0.0.1").required
    assert admission("required", str(path), "127.0.0.1").required
    assert not admission("off", str(path), "0.0.0.0").required
    with pytest.raises(KeyFileError):
        admission("required", "", "127.0.0.1")


def test_a_file_without_keys_would_let_nobody_in(path: Path) -> None:
    write_keys(path, [])
    with pytest.raises(KeyFileError, match="nobody could come in"):
        admission("auto", str(path), "127.0.0.1")
