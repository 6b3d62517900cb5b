"""`data` lists what there is, and downloads by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from service.contract.manifest import sha256_of
from training.__main__ import main
from training.data import catalog


def test_without_a_name_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in catalog.CATALOG) and "licence" in listed


def test_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "mnist"]) == 1
    assert "expected one of" in " ".join(capsys.readouterr().err.split())


def test_named_file_is_shown_with_licence_and_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source.csv"
    source.write_text("a,b\n1,2\n")
    entry = replace(
        catalog.CATALOG["airline-passengers"],
        url=source.as_uri(),
        size=source.stat().st_size,
        sha256=sha256_of(source),
    )
    monkeypatch.setitem(catalog.CATALOG, "airline-passengers", entry)
    assert main(["data", "airline-passengers", "--folder", str(tmp_path / "data")]) == 0
    shown = capsys.readouterr().out
    assert entry.sha256 in shown and entry.licence in " ".join(shown.split())
    assert (tmp_path / "data" / entry.file).read_bytes() == source.read_bytes()
