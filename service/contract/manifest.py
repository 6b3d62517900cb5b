"""The manifest: what a published model takes, gives and remembers, and how it came to be.

`training.export` writes it beside the graphs; `service.models` verifies it before a graph is trusted.
Shapes use one set of letters: B batch, T time, P prediction length, S state width, Q quantiles, C calendar
features, K future covariates, V vocabulary, and for classifiers C classes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from service.contract.calendar import CALENDAR_FEATURES
from service.contract.frequency import Frequency

SCHEMA_VERSION = 1
MANIFEST_FILE = "manifest.json"
MODEL_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")

GraphName = Literal["initial", "observe", "generate", "predict", "forecast", "prefill"]
TaskName = Literal["forecast", "text", "classify"]
Dimension = int | Literal["B", "T"]


class ManifestError(ValueError):
    """A manifest that cannot be used: says which field, what was expected and what came."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _plain_file_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or ".." in name:
        raise ValueError(f"expected a plain file name inside the model's folder, got {name!r}")
    return name


def _require_distinct(where: str, names: Sequence[str | int]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1}, key=str)
    if twice:
        raise ValueError(f"{where}: expected each once, got {', '.join(map(str, twice))} twice")


class FileReference(_Frozen):
    """A file in the model's own folder, with the SHA-256 of its bytes in hexadecimal."""

    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    _stays_inside = field_validator("file")(_plain_file_name)


class Tensor(_Frozen):
    """One graph input or output. Axis 0 is the batch B; axis 1, where it is time, is T."""

    name: str
    dtype: Literal["float32", "int64"]
    shape: tuple[Dimension, ...]
    unit: str | None = None


class GraphReference(FileReference):
    """One pure function of the model, as an ONNX file, with what it takes and gives."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class StateField(_Frozen):
    """A part of the state row: `shape` float32 values beginning at `offset`."""

    name: str
    offset: Annotated[int, Field(ge=0)]
    shape: tuple[Annotated[int, Field(ge=1)], ...]

    @property
    def size(self) -> int:
        size = 1
        for extent in self.shape:
            size *= extent
        return size


class StateLayout(_Frozen):
    """How one session's state lies in one float32 row of `width` values, without gap or overlap."""

    width: Annotated[int, Field(ge=1)]
    fields: tuple[StateField, ...]

    @model_validator(mode="after")
    def _covers_the_row(self) -> Self:
        _require_distinct("state.fields", [field.name for field in self.fields])
        expected = 0
        for field in self.fields:
            if field.offset != expected:
                raise ValueError(f"state field {field.name!r}: expected offset {expected}, got {field.offset}")
            expected += field.size
        if expected != self.width:
            raise ValueError(f"state fields cover {expected} values, but the width is {self.width}")
        return self


class StaticCovariate(_Frozen):
    """A fact about a series that does not change: a number, or one of `categories`."""

    name: str
    categories: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _categories_are_distinct(self) -> Self:
        _require_distinct("categories", self.categories or ())
        return self


class ForecastTask(_Frozen):
    """What a forecaster predicts: `quantiles` of a series at `frequency`, one step ahead, repeatedly.

    One with the graph `forecast` predicts `prediction_length` steps at once as well, with `path_correlation` telling
    how its errors at neighbouring steps go together.
    """

    frequency: Annotated[str | None, Field(description="time between observations; None: steps are only counted")] = (
        None
    )
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...]
    calendar: tuple[str, ...] = ()
    future_covariates: tuple[str, ...] = ()
    static_covariates: tuple[StaticCovariate, ...] = ()
    lags: tuple[Annotated[int, Field(ge=1)], ...]
    seasonality: Annotated[int, Field(ge=1)]
    context_length: Annotated[int, Field(ge=1, description="observations after which forecasts have settled")]
    prediction_length: Annotated[int, Field(ge=1, description="the horizon the model was evaluated at")]
    path_correlation: Annotated[
        float | None,
        Field(ge=0, lt=1, description="of the normal scores of a direct forecast's errors, one step to the next"),
    ] = None
    anomaly_threshold: Annotated[
        float | None,
        Field(gt=0, le=1, description="the anomaly score from which a value is flagged; None flags none"),
    ] = None
    unit: str | None = None

    @field_validator("frequency")
    @classmethod
    def _is_a_frequency(cls, text: str | None) -> str | None:
        return None if text is None else str(Frequency.parse(text))

    @field_validator("quantiles")
    @classmethod
    def _increase(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if len(levels) < 3 or list(levels) != sorted(set(levels)):
            raise ValueError(f"expected at least three increasing quantile levels, got {levels}")
        return levels

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        _require_distinct("calendar", self.calendar)
        _require_distinct("covariates", [*self.future_covariates, *(known.name for known in self.static_covariates)])
        _require_distinct("lags", self.lags)
        return self

    @model_validator(mode="after")
    def _calendar_has_a_frequency(self) -> Self:
        if self.calendar and self.frequency is None:
            raise ValueError(f"calendar: expected none without a frequency, got {', '.join(self.calendar)}")
        return self

    @field_validator("calendar")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in CALENDAR_FEATURES:
                raise ValueError(f"expected calendar features of {sorted(CALENDAR_FEATURES)}, got {name!r}")
        return names


class TokenTask(_Frozen):
    """What a model that reads tokens reads: those of one tokenizer file."""

    tokenizer: FileReference
    tokenizer_kind: Literal["char", "byte", "bpe"]
    vocabulary_size: Annotated[int, Field(ge=2)]
    unknown_token: int | None = None


class TextTask(TokenTask):
    """What a text generator reads and writes."""

    start_token: Annotated[int, Field(ge=0, description="the pending input of a session at position 0")]


class ClassifyTask(TokenTask):
    """What a classifier reads, and the classes among which it decides after every token."""

    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    labelled: Annotated[
        Literal["step", "sequence"],
        Field(description="whether it learned from a label of every token, or from one of the whole sequence"),
    ]

    @field_validator("classes")
    @classmethod
    def _are_distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        _require_distinct("classes", classes)
        return classes


class DataFingerprint(_Frozen):
    """Which data a model was trained on: a name and the SHA-256 of the bytes."""

    name: str
    sha256: str


class Training(_Frozen):
    """How the model came to be, and how well it does beside honest baselines."""

    command: str
    commit: str
    data: DataFingerprint
    seed: int
    settings: dict[str, Any]
    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]] = {}
    parity_max_abs_error: float


class Manifest(_Frozen):
    """Everything the service must know of one version of one model."""

    schema_version: Literal[1]
    name: str
    version: Annotated[int, Field(ge=1)]
    task: TaskName
    description: str
    license: str
    created: Annotated[str, Field(description="publication time, ISO 8601 in UTC")]
    cell: Literal["RNN", "LSTM", "GRU"]
    minimum_batch: Annotated[int, Field(ge=1, le=8, description="smallest batch with results exact in every bit")]
    graphs: dict[GraphName, GraphReference]
    weights: FileReference
    state: StateLayout
    forecast: ForecastTask | None = None
    text: TextTask | None = None
    classify: ClassifyTask | None = None
    training: Training

    @field_validator("name")
    @classmethod
    def _is_a_model_name(cls, name: str) -> str:
        if not MODEL_NAME.fullmatch(name):
            raise ValueError(f"expected lower-case letters, digits, '.', '_' and '-' (at most 64), got {name!r}")
        return name

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        sections = {"forecast": self.forecast, "text": self.text, "classify": self.classify}
        if {name for name, section in sections.items() if section is not None} != {self.task}:
            raise ValueError(f"task {self.task!r} needs the section of that name and no other")
        needed, optional = graphs_of(self.task), optional_graphs_of(self.task)
        if not set(needed) <= self.graphs.keys() <= {*needed, *optional}:
            raise ValueError(
                f"expected the graphs {', '.join(needed[:-1])} and {needed[-1]}, got {sorted(self.graphs)}"
            )
        for name, graph in self.graphs.items():
            self._check_state(name, graph)
        self._check_direct_forecast()
        return self

    def _check_state(self, name: str, graph: GraphReference) -> None:
        gives = "state" if name == "initial" else "next_state"
        outputs = {tensor.name: tensor for tensor in graph.outputs}
        if name != "forecast" and (gives not in outputs or outputs[gives].shape[-1:] != (self.state.width,)):
            raise ValueError(f"graph {name!r}: expected an output {gives!r} of width {self.state.width}")
        if name != "initial" and "state" not in {tensor.name for tensor in graph.inputs}:
            raise ValueError(f"graph {name!r}: expected an input 'state'")

    def _check_direct_forecast(self) -> None:
        if self.forecast is None:
            return
        if ("forecast" in self.graphs) != (self.forecast.path_correlation is not None):
            raise ValueError(
                "forecast.path_correlation: expected with the graph 'forecast', and only with it: sample paths of a "
                "direct forecast need it"
            )
        for name in ("forecast", "prefill"):
            if name in self.graphs and self.forecast.future_covariates:
                raise ValueError(f"graph {name!r}: expected only of a model without future covariates; leave it out")

    @property
    def id(self) -> str:
        return f"{self.name}/{self.version}"

    @property
    def tokens(self) -> TokenTask | None:
        """The tokens that the model reads; None for one that reads numbers."""
        return self.text or self.classify


def graphs_of(task: TaskName) -> tuple[GraphName, ...]:
    """The graphs of a model for the task; a classifier has nothing to generate."""
    return ("initial", "observe") if task == "classify" else ("initial", "observe", "generate")


def optional_graphs_of(task: TaskName) -> tuple[GraphName, ...]:
    """The graphs that a model for the task may have beside those."""
    optional: dict[TaskName, tuple[GraphName, ...]] = {"text": ("predict",), "forecast": ("forecast", "prefill")}
    return optional.get(task, ())


def load_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a model folder.

    Raises:
        ManifestError: missing, unreadable, not JSON, of another schema version, or wrong in a field.
    """
    path = folder / MANIFEST_FILE
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ManifestError(f"{MANIFEST_FILE}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise ManifestError(f"{MANIFEST_FILE}: {where}: {first['msg']}") from error


def save_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the manifest of a model folder, indented for a reader."""
    text = manifest.model_dump_json(indent=2, exclude_none=True)
    (folder / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
