"""A server that asks for API keys, and the keys of its callers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.access.caller import Right
from service.access.keys import ApiKey, digest_of, draw_key, write_keys
from tests.service.protocols.serving import Served, serve

WRONG = "unroll_" + "x" * 43
_RIGHTS: dict[str, list[Right]] = {
    "alice": ["predict", "sessions"],
    "bob": ["predict", "sessions"],
    "reader": ["predict"],
    "keeper": ["sessions"],
    "operator": ["admin"],
}
KEYS = {name: draw_key() for name in _RIGHTS}


def entry(name: str, **more: Any) -> ApiKey:
    """A caller's entry in the file."""
    return ApiKey(name=name, rights=_RIGHTS[name], sha256=digest_of(KEYS[name].encode()).hex(), **more)


def write(path: Path, *names: str) -> Path:
    """A file of the keys of these callers, of all if none are named."""
    write_keys(path, [entry(name) for name in names or KEYS])
    return path


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def of(name: str) -> dict[str, str]:
    """What a caller's requests carry."""
    return bearing(KEYS[name])


@contextmanager
def keyed(models: Path, folder: Path, **settings: Any) -> Iterator[Served]:
    """A server that everybody above has a key of."""
    with serve(models, api_keys=str(write(folder / "keys.toml")), **settings) as served:
        yield served
