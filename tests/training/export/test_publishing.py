"""A version appears complete or not at all, under a number of its own, and only after a parity check."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("torch")

from service.contract.manifest import (
    DataFingerprint,
    FileReference,
    ForecastTask,
    ManifestError,
    TextTask,
    Training,
    load_manifest,
    sha256_of,
)
from tests.training.export.tiny import LEVELS, tiny_forecaster
from training.export import publishing as publish_module
from training.export.exported import Verified
from training.export.forecaster import export_forecaster
from training.export.parity import ParityError
from training.export.publishing import publish

TASK = ForecastTask(
    frequency="1h", quantiles=LEVELS, lags=(1, 2, 5), seasonality=24, context_length=48, prediction_length=24
)
TRAINING = Training(
    command="python -m training forecaster",
    commit="0" * 40,
    data=DataFingerprint(name="load.csv", sha256="0" * 64),
    seed=0,
    settings={},
    metrics={"mase": 0.9},
    parity_max_abs_error=0.0,
)


@pytest.fixture
def verified(tmp_path: Path) -> Verified:
    exported = export_forecaster(tiny_forecaster(), tmp_path / "export")
    (exported.folder / "README.md").write_text("# Load\n")
    return Verified(exported, 3e-7)


def publish_load(verified: Verified, models: Path, name: str = "load") -> Path:
    return publish(
        verified, models, name=name, description="Load.", license="CC0-1.0", training=TRAINING, forecast=TASK
    )


def test_a_version_holds_graphs_weights_card_and_manifest(verified: Verified, tmp_path: Path) -> None:
    version = publish_load(verified, tmp_path / "models")
    assert version == tmp_path / "models/load/1"
    names = {path.name for path in version.iterdir()}
    assert names == {"manifest.json", "initial.onnx", "observe.onnx", "generate.onnx", "weights.bin", "README.md"}
    manifest = load_manifest(version)
    assert (manifest.id, manifest.task, manifest.training.parity_max_abs_error) == ("load/1", "forecast", 3e-7)
    assert sha256_of(version / manifest.weights.file) == manifest.weights.sha256
    assert version.stat().st_mode & 0o777 == 0o755


def test_versions_are_counted_on_from_the_newest(verified: Verified, tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "load/7").mkdir(parents=True)
    (models / "load/7/manifest.json").write_text("{}")
    (models / "load/notes").mkdir()
    assert publish_load(verified, models).name == "8"
    assert load_manifest(models / "load/8").version == 8


def test_publishers_at_the_same_time_get_versions_of_their_own(verified: Verified, tmp_path: Path) -> None:
    models = tmp_path / "models"
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda _: publish_load(verified, models), range(8)))
    assert sorted(int(version.name) for version in versions) == list(range(1, 9))
    assert all(load_manifest(version).version == int(version.name) for version in versions)
    assert not list((models / "load").glob(".*"))


def test_a_failure_leaves_nothing_behind(verified: Verified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publish_module, "save_manifest", full_disk)
    with pytest.raises(OSError, match="No space left"):
        publish_load(verified, tmp_path / "models")
    assert list((tmp_path / "models/load").iterdir()) == []


def test_leftovers_of_a_crash_do_not_matter(verified: Verified, tmp_path: Path) -> None:
    leftover = tmp_path / "models/load/.staging-crashed"
    leftover.mkdir(parents=True)
    (leftover / "observe.onnx").write_bytes(b"half")
    assert publish_load(verified, tmp_path / "models").name == "1"


def test_a_tokenizer_that_is_not_the_described_one_is_refused(verified: Verified, tmp_path: Path) -> None:
    (verified.exported.folder / "tokenizer.json").write_text("{}")
    reference = FileReference(file="tokenizer.json", sha256="0" * 64)
    text = TextTask(tokenizer=reference, tokenizer_kind="char", vocabulary_size=5, start_token=0)
    with pytest.raises(ParityError, match="tokenizer.json: changed"):
        publish(
            verified,
            tmp_path / "models",
            name="poems",
            description="Poems.",
            license="CC0-1.0",
            training=TRAINING,
            text=text,
        )


def test_what_changed_since_the_parity_check_is_refused(verified: Verified, tmp_path: Path) -> None:
    with (verified.exported.folder / "weights.bin").open("r+b") as file:
        file.write(b"\0\0")
    with pytest.raises(ParityError, match="weights.bin: changed since it was verified"):
        publish_load(verified, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_name_that_is_none_is_refused_before_anything_is_written(verified: Verified, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="expected lower-case letters"):
        publish_load(verified, tmp_path / "models", name="../Load")
    assert not (tmp_path / "models").exists()
