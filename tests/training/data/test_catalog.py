"""Downloads against a local server that answers well, breaks off, lies, or knows no ranges."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import cast

import pytest

pytest.importorskip("torch")

from training.data.catalog import CATALOG, Dataset, download, find_dataset
from training.errors import TrainingError

CONTENT = bytes(range(256)) * 1000


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    content: bytes = CONTENT
    ranges: bool = True
    breaks_off_after: int | None = None
    status: int = 200
    asked: list[str | None] = field(default_factory=list)


class Server(ThreadingHTTPServer):
    behaviour: Behaviour


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        behaviour = cast(Server, self.server).behaviour
        asked = self.headers.get("Range")
        behaviour.asked.append(asked)
        if behaviour.status != 200:
            self.send_error(behaviour.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and behaviour.ranges else 0
        body = behaviour.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(behaviour.content) - 1}/{len(behaviour.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: behaviour.breaks_off_after])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing in tests."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.behaviour = Behaviour()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def dataset(server: Server) -> Dataset:
    url = f"http://127.0.0.1:{server.server_address[1]}/file"
    return Dataset("numbers", "numbers.bin", url, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "none", "numbers")


def test_file_arrives_whole_and_alone(server: Server, tmp_path: Path) -> None:
    received: list[int] = []
    path = download(dataset(server), tmp_path / "data", received.append)
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["numbers.bin"]
    assert received[-1] == len(CONTENT)


def test_file_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    download(dataset(server), tmp_path)
    download(dataset(server), tmp_path)
    assert len(server.behaviour.asked) == 1


def test_file_that_is_there_and_differs_is_kept_and_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "numbers.bin").write_bytes(b"mine")
    with pytest.raises(TrainingError, match="another checksum; move it away"):
        download(dataset(server), tmp_path)
    assert (tmp_path / "numbers.bin").read_bytes() == b"mine"


def test_truncated_download_is_continued_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.behaviour.breaks_off_after = 100_000
    with pytest.raises(TrainingError, match="try again, it goes on"):
        download(dataset(server), tmp_path)
    assert not (tmp_path / "numbers.bin").exists()
    server.behaviour.breaks_off_after = None
    assert download(dataset(server), tmp_path).read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=100000-"]


def test_server_without_ranges_sends_everything_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".numbers.bin.part").write_bytes(CONTENT[:5000])
    server.behaviour.ranges = False
    assert download(dataset(server), tmp_path).read_bytes() == CONTENT


def test_wrong_checksum_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    server.behaviour.content = CONTENT[::-1]
    with pytest.raises(TrainingError, match="expected SHA-256 .* do not use it without looking"):
        download(dataset(server), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_more_than_announced_is_not_taken(server: Server, tmp_path: Path) -> None:
    server.behaviour.content = CONTENT * 2
    with pytest.raises(TrainingError, match="the server sends more"):
        download(dataset(server), tmp_path)
    server.behaviour.content = CONTENT
    assert download(dataset(server), tmp_path).read_bytes() == CONTENT


def test_part_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".numbers.bin.part").write_bytes(CONTENT + b"more")
    assert download(dataset(server), tmp_path).read_bytes() == CONTENT
    assert server.behaviour.asked == [None]


def test_refusal_of_the_server_is_shown(server: Server, tmp_path: Path) -> None:
    server.behaviour.status = 404
    with pytest.raises(TrainingError, match="got HTTP 404 from http://127"):
        download(dataset(server), tmp_path)


def test_server_that_is_not_there_is_shown(server: Server, tmp_path: Path) -> None:
    elsewhere = replace(dataset(server), url="http://127.0.0.1:9/file")
    with pytest.raises(TrainingError, match="broke off"):
        download(elsewhere, tmp_path)


def test_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(TrainingError, match="expected one of tinyshakespeare, etth1.*got 'mnist'"):
        find_dataset("mnist")


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_every_entry_is_whole(name: str) -> None:
    entry = CATALOG[name]
    assert entry.name == name
    assert entry.url.startswith("https://")
    assert len(entry.sha256) == 64
    assert entry.size > 0 and entry.licence and entry.about
