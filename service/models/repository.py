"""The model repository: every version under one folder, verified and loaded; what is broken is kept out by name.

models/<name>/<version>/manifest.json …      <version> is 1, 2, 3 …; hidden folders are not looked at
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from service.contract.manifest import MANIFEST_FILE, MODEL_NAME, ManifestError, sha256_of
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


_Entries = dict[_Key, _Entry]


@dataclass(frozen=True)
class IndexEntry:
    """One version in the repository; `reason` is why it does not serve, None where it does."""

    name: str
    version: str
    reason: str | None


class Repository:
    """The models of one folder. `scan` may run in one thread while others go on asking."""

    def __init__(self, folder: Path, device: Device, threads: int = 1) -> None:
        """Nothing is loaded before the first `scan`."""
        self.folder = folder
        self.device = device
        self.rejected: dict[str, str] = {}
        self._threads = threads
        # Replaced as a whole at the end of a scan, never changed: readers need no lock.
        self._entries: _Entries = {}
        self._unloaded: frozenset[str] = frozenset()
        self._scanning = threading.Lock()

    def scan(self) -> ScanReport:
        """Load versions that are new, keep those loaded, let go of those that vanished; a broken one stops no other.

        Models that were unloaded by name stay so until they are loaded by name.
        """
        with self._scanning:
            parents = [parent for parent in _subfolders(self.folder) if parent.name not in self._unloaded]
            return self._replace(*self._look_into(parents))

    def load(self, name: str) -> ScanReport:
        """What `scan` does, for one model alone; what it was unloaded for is forgotten.

        Raises:
            ModelNotFound: nothing stands where its versions should.
        """
        with self._scanning:
            # Names come from clients: nothing but what may be a model's name is made a path.
            found, kept_out = self._look_into([self.folder / name] if MODEL_NAME.fullmatch(name) else [])
            if not found and not kept_out:
                raise ModelNotFound(
                    f"model: expected the name of a folder in the model repository, got {name[:_SHOWN]!r}",
                    parameter="model",
                )
            self._unloaded -= {name}
            entries, rejected = self._without(name)
            report = self._replace(entries | found, rejected | kept_out)
            return ScanReport(report.loaded, report.removed, kept_out)

    def unload(self, name: str) -> ScanReport:
        """Let go of all versions of a model, until it is loaded by name.

        Raises:
            ModelNotFound: none is loaded.
        """
        with self._scanning:
            self.get(name)
            self._unloaded |= {name}
            return self._replace(*self._without(name))

    def index(self) -> list[IndexEntry]:
        """Every version that is loaded or in the folder, ordered by name and version."""
        found = {(parent.name, folder.name) for parent, folder in self._version_folders(_subfolders(self.folder), {})}
        loaded = {(name, str(version)) for name, version in self._entries}
        kept_out = {(name, version) for name, _, version in (key.partition("/") for key in self.rejected)}
        entries = []
        for name, version in sorted(found | loaded | kept_out, key=lambda key: (key[0], len(key[1]), key[1])):
            reason = None if (name, version) in loaded else self._why_not(name, version)
            entries.append(IndexEntry(name, version, reason))
        return entries

    def _why_not(self, name: str, version: str) -> str:
        if name in self._unloaded:
            return "it was unloaded"
        key = f"{name}/{version}" if version else name
        return self.rejected.get(key, "it came after the repository was last looked at")

    def get(self, name: str, version: int | None = None) -> Model:
        """The model of that name, the newest version unless one is named.

        Raises:
            ModelNotFound: no such name or version is loaded; says which are.
        """
        versions = {number: entry.model for (known, number), entry in self._entries.items() if known == name}
        if not versions:
            names = ", ".join(sorted({known for known, _ in self._entries})) or "none"
            kept_out = f", and {name!r} was kept out when it was loaded" if self._is_rejected(name) else ""
            if name in self._unloaded:
                kept_out = f", and {name!r} was unloaded: load it again"
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

    def _look_into(self, parents: Iterable[Path]) -> tuple[_Entries, dict[str, str]]:
        """The versions in these models' folders, and why others are kept out."""
        entries: _Entries = {}
        rejected: dict[str, str] = {}
        for parent, folder in self._version_folders(parents, rejected):
            try:
                key = _key(parent.name, folder, self.folder)
                entries[key] = self._load(key, folder, self._entries.get(key))
            except ManifestError as error:
                rejected[f"{parent.name}/{folder.name}"] = str(error)
        return entries, rejected

    def _replace(self, entries: _Entries, rejected: dict[str, str]) -> ScanReport:
        before, self._entries, self.rejected = self._entries, entries, rejected
        return ScanReport(_only_in(entries, before), _only_in(before, entries), rejected)

    def _without(self, name: str) -> tuple[_Entries, dict[str, str]]:
        """What is loaded and what is kept out, but for one model."""
        return (
            {key: entry for key, entry in self._entries.items() if key[0] != name},
            {key: reason for key, reason in self.rejected.items() if key.partition("/")[0] != name},
        )

    def _version_folders(self, parents: Iterable[Path], rejected: dict[str, str]) -> Iterator[tuple[Path, Path]]:
        """Everything that stands where a version should, each below its model's folder."""
        for parent in parents:
            try:
                yield from ((parent, folder) for folder in _subfolders(parent))
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
