"""Publishing: a verified export appears in the model repository as its next version, complete or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from service.contract.manifest import (
    MANIFEST_FILE,
    ClassifyTask,
    ForecastTask,
    Manifest,
    ManifestError,
    TaskName,
    TextTask,
    Training,
    save_manifest,
    sha256_of,
)
from training.export.exported import Verified
from training.export.parity import ParityError

STAGING_PREFIX = ".staging-"


class _Sections(NamedTuple):
    """What a model is for: one of these."""

    forecast: ForecastTask | None
    text: TextTask | None
    classify: ClassifyTask | None

    @property
    def task(self) -> TaskName:
        return "text" if self.text else "classify" if self.classify else "forecast"


def publish(
    verified: Verified,
    models: Path,
    *,
    name: str,
    description: str,
    license: str,
    training: Training,
    forecast: ForecastTask | None = None,
    text: TextTask | None = None,
    classify: ClassifyTask | None = None,
) -> Path:
    """Copy the exported folder, with a manifest, to `models/<name>/<next version>`, and return that folder.

    Every plain file of the folder goes along (the card, its plots, a tokenizer). The copy is made in a hidden
    folder beside the versions, flushed to disk and renamed once: a reader sees all of it or nothing, publishers at
    the same time get different numbers, and a crash leaves at most a hidden folder that the service ignores.
    The measured parity error is written into the manifest, whatever `training` says.

    Raises:
        ParityError: a graph, the weights or the tokenizer changed since they were verified.
        ManifestError: the description does not make a valid manifest.
    """
    sections = _Sections(forecast, text, classify)
    _check_unchanged(verified, sections)
    training = training.model_copy(update={"parity_max_abs_error": verified.max_abs_error})
    versions = models / name
    manifest = _manifest(verified, name, description, license, training, sections)
    versions.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=versions))
    try:
        staging.chmod(0o755)  # mkdtemp makes it private; a service under another user reads it
        _copy(verified.exported.folder, staging)
        return _rename_to_next(staging, versions, manifest)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _manifest(
    verified: Verified,
    name: str,
    description: str,
    license: str,
    training: Training,
    sections: _Sections,
) -> Manifest:
    """The manifest of version 1, to be renumbered."""
    exported = verified.exported
    try:
        return Manifest(
            schema_version=1,
            name=name,
            version=1,
            task=sections.task,
            description=description,
            license=license,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            cell=exported.cell,
            minimum_batch=exported.minimum_batch,
            graphs=exported.graphs,
            weights=exported.weights,
            state=exported.state,
            forecast=sections.forecast,
            text=sections.text,
            classify=sections.classify,
            training=training,
        )
    except ValueError as error:
        raise ManifestError(f"{name}: cannot be described: {error}") from error


def _check_unchanged(verified: Verified, sections: _Sections) -> None:
    exported, reads = verified.exported, sections.text or sections.classify
    tokenizer = [] if reads is None else [reads.tokenizer]
    for reference in [*exported.graphs.values(), exported.weights, *tokenizer]:
        if sha256_of(exported.folder / reference.file) != reference.sha256:
            raise ParityError(f"{reference.file}: changed since it was verified; export and verify it again")


def _copy(source: Path, target: Path) -> None:
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name != MANIFEST_FILE and not path.name.startswith("."):
            shutil.copyfile(path, target / path.name)
            _flush(target / path.name)


def _rename_to_next(staging: Path, versions: Path, manifest: Manifest) -> Path:
    while True:
        version = 1 + max((int(path.name) for path in versions.iterdir() if path.name.isdecimal()), default=0)
        save_manifest(manifest.model_copy(update={"version": version}), staging)
        _flush(staging / MANIFEST_FILE)
        _flush(staging)
        target = versions / str(version)
        try:
            staging.rename(target)
        except OSError:
            if not target.exists():
                raise
            continue  # another publisher took the number
        _flush(versions)
        return target


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
