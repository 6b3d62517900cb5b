"""The parameters of a request that are known; any other is refused by name."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from service.errors import InputMismatch
from service.protocols.inference_v2.core import Parameters
from service.protocols.mismatches import mismatch
from service.sessions.static import StaticValues

_Natural = Annotated[int, msgspec.Meta(ge=0)]
_Seed = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class SequenceParameters(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The sequence a request belongs to, if any, and what its client expects of it.

    Args:
        sequence_id: 0 and "" are none.
        sequence_start: begin anew, whatever the sequence has been so far.
        sequence_end: the sequence is over after this request.
        position: the sequence's position before the request.
        idempotency_key: the same request sent again with it is not carried out again.
        seed: of what is drawn; of a sequence, when it starts.
        durability: of a sequence, when it starts: what its answers wait for.
        priority, timeout: of Triton's clients, which send them with every request; nothing here depends on them, as
            whoever waits takes turns, and a client that gives up may hang up.
    """

    sequence_id: _Natural | str = 0
    sequence_start: bool = False
    sequence_end: bool = False
    position: _Natural | None = None
    idempotency_key: str | None = None
    seed: _Seed | None = None
    durability: Literal["sync", "async", "none"] | None = None
    priority: _Natural = 0
    timeout: _Natural = 0


class InferParameters(SequenceParameters, forbid_unknown_fields=True, kw_only=True):
    """What an inference request may say beside its tensors.

    Args:
        first_timestamp: ISO 8601, of the first step that is sent, for a sequence where it starts.
        static_covariates: a JSON object as a text.
        anomaly_threshold: the score from which values are flagged; for a sequence where it starts.
        frequency: time between two steps, where the model only counts them; of a sequence, where it starts.
        horizon: steps to look ahead after the last one sent.
        quantiles, levels, aggregate: what to tell of those, as texts: "0.1,0.9", "0.8,0.95", "sum,max".
        samples: how many sample paths to tell.
        binary_data_output: how HTTP writes the answer; nothing here depends on it.
    """

    first_timestamp: str | None = None
    static_covariates: str | None = None
    anomaly_threshold: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    frequency: str | None = None
    horizon: Annotated[int, msgspec.Meta(ge=1)] | None = None
    quantiles: str | float | None = None
    levels: str | float | None = None
    aggregate: str | None = None
    samples: Annotated[int, msgspec.Meta(ge=1)] | None = None
    binary_data_output: bool = False


_StaticValues = dict[str, float | str]


def read_parameters(given: Parameters) -> InferParameters:
    """What an inference request's parameters say.

    Raises:
        InputMismatch: one is unknown or of the wrong type, or a sequence is begun or ended without an id.
    """
    try:
        asked = msgspec.convert(given, InferParameters)
    except msgspec.ValidationError as error:
        raise mismatch(error, given, "parameters", InferParameters) from None
    check_sequence(asked)
    return asked


def check_sequence(asked: SequenceParameters) -> None:
    """Check that what belongs to a sequence comes with one.

    Raises:
        InputMismatch: it does not.
    """
    if asked.sequence_id:
        if asked.durability is not None and not asked.sequence_start:
            raise InputMismatch("parameters.durability: expected only where a sequence starts", parameter="durability")
        return
    for name in ("sequence_start", "sequence_end", "position", "idempotency_key", "durability"):
        if getattr(asked, name) not in (False, None):
            raise InputMismatch(
                f"parameters.{name}: expected a sequence_id with it, a text that is not empty or a number above 0",
                parameter=name,
            )


def read_static(text: str | None) -> StaticValues | None:
    """Static covariates by name from their JSON.

    Raises:
        InputMismatch: not a JSON object of numbers and texts.
    """
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=_StaticValues)
    except msgspec.DecodeError as error:
        raise InputMismatch(
            f"parameters.static_covariates: expected a JSON object of numbers and texts in a text: {error}",
            parameter="static_covariates",
        ) from None
