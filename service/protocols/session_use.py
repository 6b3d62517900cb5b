"""What clients say of the session they mean, and sessions as the borrowed schemas use them: an id that is unknown opens
one, a known one goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from service.access.caller import own
from service.errors import InputMismatch, SessionNotFound
from service.models.model import Model
from service.protocols.model_names import find_model
from service.sessions.service import OpenSession, Service
from service.sessions.session import Session
from service.sessions.transition import Expected

MAX_KEY = 255
"""Characters of an idempotency key."""


async def model_for(service: Service, reference: str, session_id: str | None) -> Model:
    """The model a request means: the version its session was opened with, else the one named.

    Raises:
        ModelNotFound: there is none.
        InputMismatch: the session is on another model.
        SessionExpired: the session lived and is over.
    """
    session = None if session_id is None else await _find(service, session_id)
    if session is None:
        return find_model(service.repository, reference)
    name, _, version = reference.partition("/")
    manifest = session.model.manifest
    if manifest.name != name or version not in ("", str(manifest.version)):
        raise _elsewhere(session, find_model(service.repository, reference))
    return session.model


@asynccontextmanager
async def opened_or_found(service: Service, model: Model, wanted: OpenSession) -> AsyncIterator[tuple[Session, bool]]:
    """The session by the wanted id, opened on `model` if there is none, and whether it is new.

    One that is new is closed again if what it was opened for fails: a refused request leaves nothing behind, unless
    another request has moved the session meanwhile.
    """
    assert wanted.id is not None
    found = await _find(service, wanted.id)
    session = await _open(service, replace(wanted, version=model.manifest.version)) if found is None else found
    if session.model is not model:
        raise _elsewhere(session, model)
    if wanted.durability not in (None, session.durability):
        raise InputMismatch(
            f"durability: session {session.id} was opened with {session.durability}, got {wanted.durability}: leave it "
            "out, or open another session",
            parameter="durability",
        )
    if wanted.anomaly_threshold not in (None, session.anomaly_threshold):
        threshold = "its model's" if session.anomaly_threshold is None else f"{session.anomaly_threshold:g}"
        raise InputMismatch(
            f"anomaly_threshold: session {session.id} was opened with {threshold}, got {wanted.anomaly_threshold:g}: "
            "leave it out, or open another session",
            parameter="anomaly_threshold",
        )
    try:
        yield session, found is None
    except BaseException:
        if found is None:
            await service.store.discard_unused(session)
        raise


def expected(position: int | None, key: str | None) -> Expected:
    """What a client expects of its session: the position in the message, the key in the header.

    Raises:
        InputMismatch: a key that is empty or too long.
    """
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise InputMismatch(
            f"idempotency-key: expected 1 to {MAX_KEY} characters, got {len(key)}", parameter="idempotency-key"
        )
    return Expected(position, key)


async def _open(service: Service, wanted: OpenSession) -> Session:
    try:
        return await service.open(wanted)
    except InputMismatch as error:
        if error.parameter == "id":  # which these schemas call session_id
            raise InputMismatch(f"session_{error.message}", parameter="session_id") from None
        raise


async def _find(service: Service, session_id: str) -> Session | None:
    try:
        return await service.store.get(own(session_id))
    except SessionNotFound:
        return None


def _elsewhere(session: Session, model: Model) -> InputMismatch:
    return InputMismatch(
        f"session_id: session {session.id} is on {session.model.manifest.id}, not on {model.manifest.id}",
        parameter="session_id",
    )
