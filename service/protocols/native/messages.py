"""What clients send and get in the native interface."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from service.protocols.reading import Message
from service.protocols.text_controls import TextControls

Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1, description="observations or tokens taken in so far")]
Seed = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Threshold = Annotated[float, msgspec.Meta(gt=0, le=1)]
Level = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Number = float | None


class OpenSessionBody(Message):
    """A session to open. What is left out is chosen by the service."""

    model: str
    version: Annotated[int, msgspec.Meta(ge=1)] | None = None
    id: str | None = None
    first_timestamp: str | None = None
    frequency: str | None = None
    static_covariates: dict[str, float | str] | None = None
    seed: Seed | None = None
    time_to_live_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    durability: Literal["sync", "async", "none"] | None = None
    snapshot: bytes | None = None
    """In base64."""
    anomaly_threshold: Threshold | None = None


class MigrateBody(Message):
    """The version to go on with, the newest if left out; and the model, where it has another name by now."""

    model: str | None = None
    version: Annotated[int, msgspec.Meta(ge=1)] | None = None


class ForkBody(Message):
    """The new session's id, seed and threshold, if they matter; and where it begins, if not where its parent stands: at
    an earlier position, of the last turn ends, or at a checkpoint."""

    id: str | None = None
    seed: Seed | None = None
    position: Position | None = None
    checkpoint: str | None = None
    anomaly_threshold: Threshold | None = None


class CheckpointBody(Message):
    """The name under which a session is kept as it stands."""

    name: str


class ObserveBody(Message):
    """Observations for a forecaster (`values`, null where missing), or `text` or `tokens` for one that reads text."""

    values: list[Number] | None = None
    timestamps: list[str] | None = None
    future_covariates: dict[str, list[Number]] | None = None
    text: str | None = None
    tokens: list[Annotated[int, msgspec.Meta(ge=0)]] | None = None
    position: Position | None = None


DEFAULT_TOKENS = 16


class GenerateBody(TextControls):
    """How to go on. Text models: up to `max_tokens` (16) tokens, drawn as the controls say; `stream` answers in
    server-sent events. Forecasters: `steps` values, with the covariates of those steps."""

    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    stop: str | list[str] | None = None
    stream: bool = False
    steps: Annotated[int, msgspec.Meta(ge=1)] | None = None
    future_covariates: dict[str, list[Number]] | None = None
    seed: Seed | None = None
    position: Position | None = None


class OwnerQuery(Message):
    """Whose sessions are meant, where they are not the caller's own."""

    owner: str | None = None


class SessionsQuery(OwnerQuery):
    """Which page of which sessions."""

    after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    model: str | None = None


class CloseQuery(OwnerQuery):
    """Which sessions to close; at least one filter."""

    model: str | None = None
    idle_for_s: Annotated[float, msgspec.Meta(ge=0)] | None = None


class Quantiles(msgspec.Struct):
    """For each step one value per level; null where nothing could be predicted yet."""

    levels: list[float]
    values: Any


class Interval(msgspec.Struct):
    """For each step where the value was meant to fall, with a probability of `level`; null before the first value."""

    level: float
    lower: Any
    upper: Any


class Observed(msgspec.Struct, omit_defaults=True):
    """What was predicted for each value before it was seen, how surprising it was, and whether it is an anomaly.

    `anomaly` is told where the session or its model has a threshold for the score.
    """

    start: int
    position: int
    durable_position: int
    quantiles: Quantiles
    expected: Any
    interval: Interval
    pit: Any
    anomaly_score: Any
    anomaly: Any = None
    filled: int = 0
    repeated: bool = False
    restored: bool = False


class ObservedText(msgspec.Struct, omit_defaults=True):
    """How likely each token was before it was seen (natural logarithms)."""

    start: int
    position: int
    durable_position: int
    tokens: int
    log_probabilities: Any
    repeated: bool = False
    restored: bool = False


class Probabilities(msgspec.Struct):
    """For each token one value per class, which sum to 1."""

    classes: list[str]
    values: Any


class Classified(msgspec.Struct, omit_defaults=True):
    """What a classifier held after each token: the likeliest class, and how likely each was.

    `unknown` tells how many of the tokens stand for characters that the model has never seen.
    """

    start: int
    position: int
    durable_position: int
    labels: list[str]
    probabilities: Probabilities
    unknown: int = 0
    repeated: bool = False
    restored: bool = False


class LogProbability(msgspec.Struct):
    """A token, its text, and the natural logarithm of its probability by the model alone."""

    token: int
    text: str
    log_probability: float


class TokenLogProbability(LogProbability):
    """A token that was taken, and the likeliest in its place."""

    top: list[LogProbability]


class ScoreBody(Message):
    """A text to score, as text or tokens; after what a session has taken in, or from the beginning."""

    model: str | None = None
    session_id: str | None = None
    text: str | None = None
    tokens: list[Annotated[int, msgspec.Meta(ge=0)]] | None = None
    per_token: bool = False


class Score(msgspec.Struct, omit_defaults=True):
    """How likely a model holds a text: natural logarithms, and the bits it would take to write it by the model."""

    model: str
    tokens: int
    characters: int
    bytes: int
    log_probability: float
    bits_per_byte: float | None
    bits_per_character: float | None
    perplexity: float
    log_probabilities: Any = None


class GeneratedText(msgspec.Struct, omit_defaults=True):
    """Generated text, whole or in pieces; only the last piece has a `finish_reason`."""

    text: str
    tokens: list[int]
    position: int
    durable_position: int
    finish_reason: str | None = None
    logprobs: list[TokenLogProbability] | None = None
    repeated: bool = False
    restored: bool = False


class GeneratedValues(msgspec.Struct, omit_defaults=True):
    """Values that the model drew and then took for observed."""

    start: int
    position: int
    durable_position: int
    values: Any
    repeated: bool = False
    restored: bool = False
