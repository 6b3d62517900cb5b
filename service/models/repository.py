"""The model repository: every version under one folder, verified and loaded; what is broken is kept out by name.

models/<name>/<version>/manifest.json …      <version> is 1, 2, 3 …; hidden folders are not looked at
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.contract.manifest import MANIFEST_FILE, ManifestError, sha256_of
from service.errors import ModelNotFound
from service.models.device import Device
from service.models.model import Model

_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_SHOWN = 140
"""Characters of an unknown name that a message repeats."""
_Key = tuple[str, int]


@dataclass(frozen=True)
class ScanReport:
    """What one scan changed. A version whose files were replaced is both removed and loaded."""

    loaded: tuple[Model, ...]
    removed: tuple[Model, ...]
    rejected: dict[str, str]
    """`name/version` → why it is kept out."""


@dataclass(frozen=True)
class _Entry:
    model: Model
    manifest_sha256: str


class Repository:
    """The models of one folder. `scan` may run in one thread while others go on asking."""

    def __init__(self, folder: Path, device: Device, threads: int = 1) -> None:
        """Nothing is loaded before the first `scan`."""
        self.folder = folder
        self.device = device
        self.rejected: dict[str, str] = {}
        self._threads = threads
        # Replaced as a whole at the end of a scan, never changed: readers need no lock.
        self._entries: dict[_Key, _Entry] = {}
        self._scanning = threading.Lock()

    def scan(self) -> ScanReport:
        """Load versions that are new, keep those loaded, let go of those that vanished; a broken one stops no other."""
        with self._scanning:
            before, entries = self._entries, dict[_Key, _Entry]()
            rejected: dict[str, str] = {}
            for name, folder in self._folders(rejected):
                try:
                    key = _key(name, folder, self.folder)
                    entries[key] = self._load(key, folder, before.get(key))
                except ManifestError as error:
                    rejected[f"{name}/{folder.name}"] = str(error)
            self._entries, self.rejected = entries, rejected
        return ScanReport(_only_in(entries, before), _only_in(before, entries), rejected)

    def get(self, name: str, version: int | None = None) -> Model:
        """The model of that name, the newest version unless one is named.

        Raises:
            ModelNotFound: no such name or version is loaded; says which are.
        """
        versions = {number: entry.model for (known, number), entry in self._entries.items() if known == name}
        if not versions:
            names = ", ".join(sorted({known for known, _ in self._entries})) or "none"
            kept_out = f", and {name!r} was kept out when it was loaded" if self._is_rejected(name) else ""
            raise ModelNotFound(f"model: expected one of {names}, got {name[:_SHOWN]!r}{kept_out}", parameter="model")
        if version is None:
            return versions[max(versions)]
        if version not in versions:
            reason = self.rejected.get(f"{name}/{version}")
            kept_out = f"; it was kept out: {reason}" if reason else ""
            known = ", ".join(map(str, sorted(versions)))
            raise ModelNotFound(
                f"version: expected one of {known} of model {name!r}, got {version}{kept_out}", parameter="version"
            )
        return versions[version]

    def models(self) -> list[Model]:
        """Every loaded version, ordered by name and version."""
        return [entry.model for _, entry in sorted(self._entries.items(), key=lambda item: item[0])]

    def _folders(self, rejected: dict[str, str]) -> Iterator[tuple[str, Path]]:
        """Name and folder of everything that stands where a version should."""
        for parent in _subfolders(self.folder):
            try:
                yield from ((parent.name, folder) for folder in _subfolders(parent))
            except OSError as error:
                rejected[parent.name] = f"cannot be read: {error.strerror}"

    def _load(self, key: _Key, folder: Path, known: _Entry | None) -> _Entry:
        try:
            digest = sha256_of(folder / MANIFEST_FILE)
        except OSError as error:
            raise ManifestError(f"{MANIFEST_FILE}: cannot be read: {error.strerror}") from error
        if known is not None and known.manifest_sha256 == digest:
            return known
        model = Model.load(folder, self.device, self._threads)
        name, version = key
        if (model.manifest.name, model.manifest.version) != key:
            raise ManifestError(f"{MANIFEST_FILE}: the folder says {name}/{version}, the manifest {model.manifest.id}")
        return _Entry(model, digest)

    def _is_rejected(self, name: str) -> bool:
        return any(key.startswith(f"{name}/") for key in self.rejected)


def _key(name: str, folder: Path, root: Path) -> _Key:
    if not _VERSION.fullmatch(folder.name):
        raise ManifestError(f"expected a version folder named 1, 2, 3 …, got {folder.name!r}")
    if not folder.resolve().is_relative_to(root.resolve()):
        raise ManifestError("expected a folder inside the model repository, it links outside")
    return name, int(folder.name)


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except FileNotFoundError:  # removed meanwhile, or a repository not made yet: nothing to load
        return []


def _only_in(these: dict[_Key, _Entry], those: dict[_Key, _Entry]) -> tuple[Model, ...]:
    return tuple(entry.model for key, entry in these.items() if those.get(key) is not entry)
