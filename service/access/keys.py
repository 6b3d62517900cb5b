"""The file of API keys: who may come in, by the SHA-256 of their key, and what each may do.

    [[keys]]
    name = "sensors"
    rights = ["predict", "sessions"]
    sha256 = "…"

In TOML, or the same in JSON where the file's name ends so. The keys themselves stand nowhere: each is 256 random bits,
which nobody finds by trying, so that one fast hash is as good as a slow one. Two keys of one name share its sessions.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from service.access.caller import Caller, KeyLimits, Right
from service.sessions.ownership import OWNER

PREFIX = "unroll_"
"""What keys begin with, so that those who look for lost secrets recognise one."""
_KEY_BYTES = 32
_PLACE = re.compile(r"\$\.keys\[(\d+)\](?:\.(\w+))?")


class KeyFileError(Exception):
    """The file of keys cannot be used: says where and why, and repeats nothing of what may be a key."""


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One entry of the file; see `KeyLimits` for the bounds."""

    name: Annotated[str, msgspec.Meta(pattern=rf"^{OWNER.pattern}\Z")]
    rights: Annotated[list[Right], msgspec.Meta(min_length=1)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    requests_per_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    request_burst: Annotated[int, msgspec.Meta(ge=1)] | None = None
    steps_per_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    max_sessions: Annotated[int, msgspec.Meta(ge=0)] | None = None
    max_streams: Annotated[int, msgspec.Meta(ge=0)] | None = None

    @property
    def id(self) -> str:
        """What tells it from other keys of the same name."""
        return self.sha256[:8]

    @property
    def caller(self) -> Caller:
        """Whom requests with this key come from."""
        limits = KeyLimits(
            *(self.requests_per_s, self.request_burst, self.steps_per_s, self.max_sessions, self.max_streams)
        )
        return Caller(self.name, frozenset(self.rights), limits)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[ApiKey]


def draw_key() -> str:
    """A new key."""
    return PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def digest_of(key: bytes) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key).digest()


@dataclass(frozen=True, slots=True)
class _Known:
    digest: bytes
    caller: Caller


class KeyTable:
    """The callers of a file by the digests of their keys."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        known = [_Known(bytes.fromhex(key.sha256), key.caller) for key in keys]
        self._known = {one.digest: one for one in known}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, digest: bytes) -> Caller | None:
        """Whose key has this digest.

        How long looking takes may tell of the digest's first bytes, which tell nothing of a key; whether it is the
        right one is compared in constant time all the same.
        """
        known = self._known.get(digest)
        return known.caller if known is not None and hmac.compare_digest(known.digest, digest) else None


def read_keys(path: Path) -> list[ApiKey]:
    """The keys in a file.

    Raises:
        KeyFileError: it cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path.name}: {getattr(error, 'strerror', None) or 'not a text in UTF-8'}") from None
    try:
        content = json.loads(text) if _is_json(path) else tomllib.loads(text)
    except ValueError:
        raise KeyFileError(
            f"{path.name}: expected {'JSON' if _is_json(path) else 'TOML'}, and cannot be read"
        ) from None
    try:
        keys = msgspec.convert(content, _File).keys
    except msgspec.ValidationError as error:
        raise KeyFileError(f"{path.name}: {_in_words(error)}") from None
    if len({key.sha256 for key in keys}) < len(keys):
        raise KeyFileError(f"{path.name}: expected each sha256 once: one key cannot be two callers'")
    return keys


def write_keys(path: Path, keys: Sequence[ApiKey]) -> None:
    """Put the keys into the file, whole or not at all.

    A new file may be read by all, since nobody gets a key from it, and containers run as somebody else.

    Raises:
        KeyFileError: it cannot be written.
    """
    text = _as_json(keys) if _is_json(path) else "\n".join(map(_as_toml, keys)) or "keys = []\n"
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as written:
            written.write(text)
            written.flush()
            os.fsync(written.fileno())
        os.chmod(written.name, mode)
        os.replace(written.name, path)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _as_json(keys: Sequence[ApiKey]) -> str:
    return msgspec.json.format(msgspec.json.encode(_File(list(keys))), indent=2).decode() + "\n"


def _as_toml(key: ApiKey) -> str:
    fields: dict[str, Any] = msgspec.to_builtins(key)
    # Names, rights and digests hold nothing that JSON would write in another way than TOML.
    return "[[keys]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())


def _in_words(error: msgspec.ValidationError) -> str:
    """Where a file does not fit and what was expected there: msgspec's own words repeat no value."""
    what, _, place = str(error).partition(" - at ")
    found = _PLACE.search(place)
    if found is None:
        return f"{what[0].lower()}{what[1:]}; the file holds [[keys]] with name, rights and sha256"
    where = f"key {int(found[1]) + 1}" + (f", {found[2]}" if found[2] else "")
    hint = "; `python -m service keys add` writes it" if found[2] == "sha256" else ""
    return f"{where}: {what[0].lower()}{what[1:]}{hint}"
