"""SageMaker's stateful sessions: opened and closed by `requestType`, meant by a header, answered in headers."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from service.access.caller import own, owner, require
from service.errors import InputMismatch
from service.protocols.answering import json_answer
from service.protocols.context import Context
from service.protocols.reading import decode
from service.protocols.sagemaker.messages import CloseSession, NewSession
from service.protocols.sagemaker.models import chosen_model
from service.protocols.sagemaker.reading import categories, first_timestamp
from service.sessions.service import OpenSession
from service.sessions.session import Session

SESSION_ID = "X-Amzn-SageMaker-Session-Id"
NEW_SESSION_ID = "X-Amzn-SageMaker-New-Session-Id"
CLOSED_SESSION_ID = "X-Amzn-SageMaker-Closed-Session-Id"
NEW = "NEW_SESSION"


class _Kind(msgspec.Struct):
    requestType: object = None


def is_of_sessions(body: bytes) -> bool:
    """Whether a body opens or closes a session; what cannot be read does not, and whoever reads it says why."""
    try:
        return msgspec.json.decode(body, type=_Kind).requestType is not None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def session_id_of(request: Request) -> str | None:
    """The session that the request means, "NEW_SESSION" for one to be opened, None for none."""
    return request.headers.get(SESSION_ID)


def new_id() -> str:
    """An id such as SageMaker takes: letters and digits."""
    return secrets.token_hex(16)


async def open_or_close(request: Request, context: Context, body: bytes) -> Response:
    """Carry out a request that opens or closes a session."""
    asked = decode(NewSession | CloseSession, body)
    session_id = session_id_of(request)
    if isinstance(asked, NewSession):
        if session_id not in (None, NEW):
            raise InputMismatch(
                f"{SESSION_ID}: expected {NEW} with requestType {NEW}, got {session_id[:60]!r}", parameter=SESSION_ID
            )
        session = await _open(request, context, asked)
        return json_answer(session.describe(), headers=opened_headers(session))
    if session_id in (None, NEW):
        raise InputMismatch(f"{SESSION_ID}: expected the session to close, got none", parameter=SESSION_ID)
    await context.service.store.close(own(session_id))
    return json_answer({"closed": 1}, headers={CLOSED_SESSION_ID: session_id})


async def _open(request: Request, context: Context, asked: NewSession) -> Session:
    require("sessions")
    model = chosen_model(request, context, asked.model)
    return await context.service.open(
        OpenSession(
            model.manifest.name,
            version=model.manifest.version,
            owner=owner(),
            id=new_id(),
            first_timestamp=first_timestamp(model, asked.start),
            static=categories(model, asked.cat),
            seed=asked.seed,
            time_to_live_s=asked.time_to_live_s,
            durability=asked.durability,
            anomaly_threshold=asked.anomaly_threshold,
        )
    )


def opened_headers(session: Session) -> dict[str, str]:
    """What tells SageMaker of a session that was opened: under the name that AWS's library uses, and DJL's."""
    expires = datetime.fromtimestamp(session.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = f"{session.id}; Expires={expires}"
    return {NEW_SESSION_ID: told, SESSION_ID: told}
