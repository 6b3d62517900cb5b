"""The JSON text frames clients send over a session's WebSocket."""

from __future__ import annotations

import msgspec

from service.protocols.native import messages
from service.protocols.native.forecast_messages import ForecastBody

Identifier = str | int


class _Frame(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    id: Identifier | None = None


class ObserveFrame(messages.ObserveBody, tag_field="type", tag="observe"):
    """`observe` with the fields of the HTTP body."""

    id: Identifier | None = None
    idempotency_key: str | None = None


class ForecastFrame(ForecastBody, tag_field="type", tag="forecast"):
    """`forecast` with the fields of the HTTP body."""

    id: Identifier | None = None


class GenerateFrame(messages.GenerateBody, tag_field="type", tag="generate"):
    """`generate` with the fields of the HTTP body; text always comes in pieces."""

    id: Identifier | None = None
    idempotency_key: str | None = None


class SessionFrame(_Frame, tag="session"):
    """`session`: where the session stands."""


class ForkFrame(_Frame, tag="fork"):
    """`fork`: a second session that stands where this one does, or did.

    Its id is `session_id` and its seed `seed`, if they matter; `id` names only the frame, as in all others.
    """

    session_id: str | None = None
    seed: messages.Seed | None = None
    position: messages.Position | None = None
    checkpoint: str | None = None
    anomaly_threshold: messages.Threshold | None = None


class CancelFrame(_Frame, tag="cancel"):
    """`cancel`: end the generation that runs, after the piece that was delivered last."""


Frame = ObserveFrame | ForecastFrame | GenerateFrame | SessionFrame | ForkFrame | CancelFrame


class _Identified(msgspec.Struct):
    id: Identifier | None = None


def identifier_in(text: str) -> Identifier | None:
    """The `id` of a frame that may be broken."""
    try:
        return msgspec.json.decode(text, type=_Identified).id
    except (msgspec.DecodeError, RecursionError):
        return None


def asks_to_cancel(text: str) -> bool:
    """Whether a frame is `cancel`."""
    try:
        msgspec.json.decode(text, type=CancelFrame)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
