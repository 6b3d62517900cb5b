from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.manifest import Manifest, load_manifest
from service.errors import InputMismatch
from service.sessions.snapshot import Snapshot, digest_of_model, require_model, seal, unseal
from tests import known_models

KEY = secrets.token_bytes(32)


@pytest.fixture
def manifest(running_sum_models: Path) -> Manifest:
    return load_manifest(running_sum_models / "running-sum" / "1")


def snapshot_of(manifest: Manifest) -> Snapshot:
    row = bytes(4 * manifest.state.width)
    return Snapshot(manifest.name, manifest.version, digest_of_model(manifest), 41, 1.75e9, b"a record", row)


PLAIN = Snapshot("running-sum", 1, "0" * 64, 41, 1.75e9, b"a record", bytes(range(64)))


def test_what_was_sealed_comes_back() -> None:
    assert unseal(seal(PLAIN, KEY), KEY) == PLAIN


@given(st.text(max_size=80), st.integers(0, 2**62), st.binary(max_size=200), st.binary(max_size=200))
def test_any_session_comes_back(model: str, position: int, record: bytes, row: bytes) -> None:
    snapshot = replace(PLAIN, model=model, position=position, record=record, row=row)
    assert unseal(seal(snapshot, KEY), KEY) == snapshot


@settings(max_examples=300)
@given(st.data())
def test_no_byte_can_be_changed(data: st.DataObject) -> None:
    blob = bytearray(seal(PLAIN, KEY))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InputMismatch, match="snapshot: "):
        unseal(bytes(blob), KEY)


@given(st.data())
def test_no_part_is_a_snapshot(data: st.DataObject) -> None:
    blob = seal(PLAIN, KEY)
    with pytest.raises(InputMismatch):
        unseal(blob[: data.draw(st.integers(0, len(blob) - 1))], KEY)


@given(st.binary(max_size=300))
def test_other_bytes_are_no_snapshot(blob: bytes) -> None:
    with pytest.raises(InputMismatch):
        unseal(blob, KEY)
    with pytest.raises(InputMismatch):
        unseal(seal(PLAIN, KEY)[:12] + blob, KEY)


def test_damage_and_a_foreign_key_are_told_apart() -> None:
    blob = seal(PLAIN, KEY)
    with pytest.raises(InputMismatch, match="changed or cut short on its way") as damaged:
        unseal(blob[:-70] + b"\0" + blob[-69:], KEY)
    assert damaged.value.parameter == "snapshot"
    with pytest.raises(InputMismatch, match="signed with another key"):
        unseal(blob, secrets.token_bytes(32))
    with pytest.raises(InputMismatch, match="expected a snapshot of the format URSNAP1"):
        unseal(b"URSNAP2\n" + blob[8:], KEY)


def test_a_snapshot_fits_the_model_it_is_of(manifest: Manifest) -> None:
    require_model(snapshot_of(manifest), manifest)


def test_another_model_or_version_is_refused_by_name(manifest: Manifest) -> None:
    for change in ({"model": "pjm-load"}, {"version": 2}):
        with pytest.raises(InputMismatch, match=r"it is of model .*, not of running-sum/1"):
            require_model(replace(snapshot_of(manifest), **change), manifest)


def test_a_model_that_only_has_the_same_name_is_refused(manifest: Manifest) -> None:
    with pytest.raises(InputMismatch, match="other graphs or weights"):
        require_model(replace(snapshot_of(manifest), computes="0" * 64), manifest)
    with pytest.raises(InputMismatch, match="other graphs or weights"):
        require_model(replace(snapshot_of(manifest), row=b"short"), manifest)


def test_a_model_keeps_its_sessions_when_it_gets_a_graph_of_predictions(tmp_path: Path) -> None:
    before = load_manifest(known_models.next_token(tmp_path, predicts=False))
    after = load_manifest(known_models.next_token(tmp_path, version=2))
    assert "predict" in after.graphs and digest_of_model(before) == digest_of_model(after)
