from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.contract.manifest import (
    MANIFEST_FILE,
    FileReference,
    ForecastTask,
    Manifest,
    ManifestError,
    StateField,
    StateLayout,
    load_manifest,
    save_manifest,
    sha256_of,
)
from tests import known_models
from tests.known_models import change_manifest


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return load_manifest(known_models.running_sum(tmp_path_factory.mktemp("models")))


@pytest.fixture
def folder(forecaster: Manifest, tmp_path: Path) -> Path:
    """A folder with a good forecaster's manifest, to be broken."""
    save_manifest(forecaster, tmp_path)
    return tmp_path


@pytest.fixture
def text_folder(tmp_path: Path) -> Path:
    return known_models.next_token(tmp_path)


def test_a_manifest_survives_saving_and_loading(forecaster: Manifest, folder: Path) -> None:
    assert load_manifest(folder) == forecaster


def test_a_text_manifest_survives_saving_and_loading(text_folder: Path, tmp_path: Path) -> None:
    manifest = load_manifest(text_folder)
    save_manifest(manifest, tmp_path)
    assert load_manifest(tmp_path) == manifest and manifest.text is not None


def test_the_file_is_indented_for_a_reader(folder: Path) -> None:
    text = (folder / MANIFEST_FILE).read_text("utf-8")
    assert text.startswith('{\n  "schema_version": 1') and text.endswith("}\n")


def test_a_manifest_is_named_by_model_and_version(forecaster: Manifest) -> None:
    assert forecaster.id == "running-sum/1"


def test_a_manifest_does_not_change(forecaster: Manifest) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        forecaster.version = 2


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest.json: cannot be read: No such file"):
        load_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"\0", b"[" * 100_000])
def test_a_file_that_is_no_manifest_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(ManifestError, match=r"^manifest.json: "):
        load_manifest(tmp_path)


Path_ = tuple[str | int, ...]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("schema_version",), 2, "schema_version"),
        (("surprise",), 1, "surprise: Extra inputs"),
        (("forecast", "surprise"), 1, "surprise: Extra inputs"),
        (("name",), "Running Sum", "expected lower-case letters"),
        (("name",), "../elsewhere", "expected lower-case letters"),
        (("name",), "a" * 65, "expected lower-case letters"),
        (("version",), 0, "version"),
        (("task",), "classify", "task"),
        (("task",), "text", "task 'text' needs the section of that name"),
        (("cell",), "LSTMP", "cell"),
        (("minimum_batch",), 0, "minimum_batch"),
        (("weights", "file"), "../weights.bin", "expected a plain file name inside the model's folder"),
        (("weights", "file"), "/weights.bin", "expected a plain file name"),
        (("weights", "file"), ".hidden", "expected a plain file name"),
        (("weights", "file"), "a..b", "expected a plain file name"),
        (("weights", "sha256"), "abc", "sha256"),
        (("weights", "sha256"), "G" * 64, "sha256"),
        (("graphs",), {}, r"expected the graphs initial, observe and generate, got \[\]"),
        (("graphs", "observe", "inputs", 0, "dtype"), "float64", "dtype"),
        (("graphs", "observe", "inputs", 0, "name"), "row", "graph 'observe': expected an input 'state'"),
        (("graphs", "generate", "outputs", 1, "shape"), ["B", 4], "graph 'generate': expected an output 'next_state'"),
        (("graphs", "initial", "outputs", 0, "name"), "row", "graph 'initial': expected an output 'state'"),
        (("graphs", "observe", "outputs", 2, "shape"), [], "graph 'observe': expected an output 'next_state'"),
        (("state", "width"), 4, "state fields cover 3 values, but the width is 4"),
        (("state", "fields", 1, "offset"), 2, "state field 'static': expected offset 1, got 2"),
        (("state", "fields", 1, "offset"), 0, "state field 'static': expected offset 1, got 0"),
        (("state", "fields", 0, "shape"), [0], "shape"),
        (("forecast", "frequency"), "often", "frequency: expected a count and a unit"),
        (("forecast", "quantiles"), [0.1, 0.9], "expected at least three increasing quantile levels"),
        (("forecast", "quantiles"), [0.1, 0.9, 0.5], "expected at least three increasing quantile levels"),
        (("forecast", "quantiles"), [0.1, 0.1, 0.5], "expected at least three increasing quantile levels"),
        (("forecast", "quantiles"), [0.0, 0.1, 0.5], "quantiles"),
        (("forecast", "calendar"), ["phase_of_moon"], "got 'phase_of_moon'"),
        (("forecast", "lags"), [0], "lags"),
        (("training", "metrics"), {"crps": float("inf")}, "metrics"),
    ],
)
def test_a_wrong_field_is_named(folder: Path, path: Path_, value: Any, says: str) -> None:
    change_manifest(folder, *path, to=value)
    with pytest.raises(ManifestError, match=says):
        load_manifest(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("forecast", "future_covariates"), ["wind", "wind"]),
        (("forecast", "static_covariates"), [{"name": "site"}, {"name": "site"}]),
        (("forecast", "static_covariates"), [{"name": "kind", "categories": ["a", "a"]}]),
        (("state", "fields", 1, "name"), "sum"),
    ],
)
def test_names_given_twice_are_refused(folder: Path, path: Path_, value: Any) -> None:
    change_manifest(folder, *path, to=value)
    with pytest.raises(ManifestError):
        load_manifest(folder)


def test_a_text_model_needs_its_tokenizer(text_folder: Path) -> None:
    change_manifest(text_folder, "text", "tokenizer", to=None)
    with pytest.raises(ManifestError, match=r"text.tokenizer"):
        load_manifest(text_folder)


def test_a_classifier_manifest_survives_saving_and_loading(tmp_path: Path) -> None:
    manifest = load_manifest(known_models.token_counts(tmp_path / "models"))
    save_manifest(manifest, tmp_path)
    assert load_manifest(tmp_path) == manifest and manifest.tokens == manifest.classify
    assert manifest.graphs.keys() == {"initial", "observe"}


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("classify", "classes"), ["one"], "classes"),
        (("classify", "classes"), ["one", "two", "one"], "classes: expected each once, got one twice"),
        (("classify", "labelled"), "twice", "labelled"),
        (("classify", "tokenizer"), None, "classify.tokenizer"),
        (("classify",), None, "task 'classify' needs the section of that name"),
        (("graphs", "observe"), None, "graphs.observe"),
    ],
)
def test_a_wrong_field_of_a_classifier_is_named(tmp_path: Path, path: Path_, value: Any, says: str) -> None:
    folder = known_models.token_counts(tmp_path)
    change_manifest(folder, *path, to=value)
    with pytest.raises(ManifestError, match=says):
        load_manifest(folder)


def test_a_classifier_has_nothing_to_generate(tmp_path: Path) -> None:
    folder = known_models.token_counts(tmp_path)
    observe = load_manifest(folder).graphs["observe"].model_dump(mode="json")
    change_manifest(folder, "graphs", "generate", to=observe)
    with pytest.raises(ManifestError, match="expected the graphs initial and observe, got"):
        load_manifest(folder)


@pytest.mark.parametrize("correlation", [-0.1, 1.0])
def test_the_correlation_of_paths_is_at_least_nothing_and_less_than_one(tmp_path: Path, correlation: float) -> None:
    folder = known_models.running_sum(tmp_path, path_correlation=0.5)
    change_manifest(folder, "forecast", "path_correlation", to=correlation)
    with pytest.raises(ManifestError, match="forecast.path_correlation"):
        load_manifest(folder)


def test_a_direct_forecast_comes_with_the_correlation_of_its_paths_and_only_then(tmp_path: Path) -> None:
    direct = known_models.running_sum(tmp_path, path_correlation=0.0)
    assert load_manifest(direct).graphs.keys() == {"initial", "observe", "generate", "forecast"}
    plain = known_models.running_sum(tmp_path, version=2)
    for folder, correlation in ((direct, None), (plain, 0.5)):
        change_manifest(folder, "forecast", "path_correlation", to=correlation)
        with pytest.raises(ManifestError, match="path_correlation: expected with the graph 'forecast', and only with"):
            load_manifest(folder)


def test_a_model_of_future_covariates_has_no_direct_forecast(tmp_path: Path) -> None:
    folder = known_models.running_sum(tmp_path, path_correlation=0.5)
    change_manifest(folder, "forecast", "future_covariates", to=["wind"])
    with pytest.raises(ManifestError, match="expected only of a model without future covariates"):
        load_manifest(folder)


def test_a_model_may_only_count_steps_and_then_looks_at_no_calendar(tmp_path: Path) -> None:
    folder = known_models.running_sum(tmp_path, frequency=None)
    task = load_manifest(folder).forecast
    assert task is not None and task.frequency is None
    change_manifest(folder, "forecast", "calendar", to=["hour_of_day"])
    with pytest.raises(ManifestError, match="calendar: expected none without a frequency, got hour_of_day"):
        load_manifest(folder)


def test_the_frequency_is_kept_in_one_spelling(forecaster: Manifest) -> None:
    assert forecaster.forecast is not None
    respelled = ForecastTask.model_validate({**forecaster.forecast.model_dump(), "frequency": "15T"})
    assert respelled.frequency == "15min"


def test_a_state_of_many_fields_covers_the_row_without_gap_or_overlap() -> None:
    fields = (
        StateField(name="hidden", offset=0, shape=(2, 64)),
        StateField(name="statistics", offset=128, shape=(3,)),
        StateField(name="pending", offset=131, shape=()),
    )
    assert [field.size for field in fields] == [128, 3, 1]
    assert StateLayout(width=132, fields=fields).fields == fields


def test_a_digest_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 999
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    assert FileReference(file="file", sha256=sha256_of(tmp_path / "file")).file == "file"


@pytest.mark.parametrize("threshold", [0, -0.5, 1.01])
def test_a_threshold_is_a_score(tmp_path: Path, threshold: float) -> None:
    folder = known_models.running_sum(tmp_path, anomaly_threshold=0.999)
    found = load_manifest(folder).forecast
    assert found is not None and found.anomaly_threshold == 0.999
    known_models.change_manifest(folder, "forecast", "anomaly_threshold", to=threshold)
    with pytest.raises(ManifestError, match=r"forecast\.anomaly_threshold"):
        load_manifest(folder)
