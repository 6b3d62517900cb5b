"""Routes of sessions and their transitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response

from service.access.caller import own, owner, require
from service.errors import InputMismatch, UnrollError
from service.logging_setup import request_id
from service.protocols import arrays
from service.protocols.answering import EventStream, json_answer, to_json, until_gone
from service.protocols.boundary import ours
from service.protocols.bounds import at_most
from service.protocols.context import Context, context_of
from service.protocols.model_names import name_and_version
from service.protocols.native import messages, transitions
from service.protocols.native.checkpoints import place_of
from service.protocols.native.errors import error_body
from service.protocols.reading import convert, decode, read_body
from service.sessions.ownership import EVERYONES, SessionKey, Whose, session_key
from service.sessions.service import OpenSession
from service.sessions.session import Session

OpenBodies = messages.OpenSessionBody | list[messages.OpenSessionBody]

# Below so many steps an answer is there before a client could go away; watching for that would cost more.
_WORTH_CANCELLING = 64


async def _body(request: Request) -> bytes:
    return await read_body(request, context_of(request).settings.max_request_bytes)


async def open_sessions(request: Request) -> Response:
    """Open a session, or several with a list.

    A list is opened as a whole or not at all. An answer has one session for one, a list for a list.
    """
    context = context_of(request)
    asked = decode(OpenBodies, await _body(request))
    if not isinstance(asked, list):
        return json_answer((await _open(context, asked, "")).describe(), 201)
    at_most(len(asked), context.settings.max_inputs, "body", "max_inputs", "sessions")
    return json_answer([session.describe() for session in await _open_all(context, asked)], 201)


async def _open_all(context: Context, asked: list[messages.OpenSessionBody]) -> list[Session]:
    # All at once, so that they are stored together.
    work = (_open(context, one, f"{index}.") for index, one in enumerate(asked))
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    opened = [one for one in outcomes if isinstance(one, Session)]
    for index, error in enumerate(outcomes):
        if isinstance(error, BaseException):
            for session in opened:
                await context.service.store.close(session.key)
            if isinstance(error, UnrollError):
                error.message = f"body.{index}: {error.message} (no session of the list was opened)"
            raise error
    return opened


async def _open(context: Context, asked: messages.OpenSessionBody, place: str) -> Session:
    first = None
    if asked.first_timestamp is not None:
        first = arrays.timestamp(asked.first_timestamp, f"{place}first_timestamp")
    model, version = name_and_version(asked.model, asked.version)
    return await context.service.open(
        OpenSession(
            model=model,
            version=version,
            owner=owner(),
            id=asked.id,
            first_timestamp=first,
            frequency=asked.frequency,
            static=asked.static_covariates,
            seed=asked.seed,
            time_to_live_s=asked.time_to_live_s,
            durability=asked.durability,
            snapshot=asked.snapshot,
            anomaly_threshold=asked.anomaly_threshold,
        )
    )


async def list_sessions(request: Request) -> Response:
    """List sessions, a page at a time, in the order of their ids.

    Go on with `after` set to the last answer's `next` until that is null.
    """
    query = convert(messages.SessionsQuery, dict(request.query_params), "query")
    found, following = await context_of(request).service.pages.page(
        query.after, query.limit, query.model, _whose(query.owner)
    )
    return json_answer({"object": "list", "data": found, "next": following})


async def get_session(request: Request, session_id: str) -> Response:
    """Get one session: where it stands and when it expires."""
    return json_answer((await context_of(request).service.store.look(own(session_id))).describe())


async def close_session(request: Request, session_id: str) -> Response:
    """Close a session, after what was asked of it before."""
    query = convert(messages.OwnerQuery, dict(request.query_params), "query")
    await context_of(request).service.store.close(_key_of(session_id, query.owner))
    return json_answer({"closed": 1})


async def close_sessions(request: Request) -> Response:
    """Close the sessions of a model, or those idle for long; at least one filter."""
    query = convert(messages.CloseQuery, dict(request.query_params), "query")
    if query.model is None and query.idle_for_s is None:
        raise InputMismatch("query: expected model or idle_for_s, so that not every session is closed by mistake")

    whose = _whose(query.owner)
    store, idle_for_s = context_of(request).service.store, query.idle_for_s or 0.0

    def chosen(session: Session) -> bool:
        return query.model in (None, session.model.manifest.name) and session.idle_s >= idle_for_s

    count = await store.close_many(whose, chosen) + await store.close_stored(whose, query.model, idle_for_s)
    return json_answer({"closed": count})


def _whose(named: str | None) -> Whose:
    """Whose sessions a request means: the caller's own, unless it names others', which takes the right to."""
    if named is None:
        return Whose(owner())
    require("admin")
    return EVERYONES if named == "*" else Whose(named or None)


def _key_of(session_id: str, named: str | None) -> SessionKey:
    """The name of the session that a request means: the caller's own, unless it names another owner."""
    if named is None:
        return own(session_id)
    require("admin")
    return session_key(named or None, session_id)


async def fork_session(request: Request, session_id: str) -> Response:
    """Fork a session: a new one that stands where this one does, or did, and goes its own way.

    The body may be left empty. With `position`, the fork stands where one of the last turns ended, or with
    `checkpoint` where that was saved; a position that is not kept answers 409 with the nearest that is.
    """
    body = await _body(request)
    asked = decode(messages.ForkBody, body) if body.strip() else messages.ForkBody()
    place = place_of(asked.position, asked.checkpoint)
    forked = await context_of(request).service.store.fork(
        *(own(session_id), asked.id, asked.seed, place, asked.anomaly_threshold)
    )
    return json_answer(forked.describe(), 201)


async def take_snapshot(request: Request, session_id: str) -> Response:
    """Take a session's snapshot: a signed blob, from which this server, or one of the same key, opens another.

    `POST /v1/sessions` takes it as `snapshot`, in base64, and refuses it for another model or version.
    """
    service = context_of(request).service
    blob = await service.snapshots.take(await service.store.get(own(session_id)))
    return Response(blob, media_type="application/octet-stream")


async def migrate_session(request: Request, session_id: str) -> Response:
    """Let a session go on with another version of its model, from the state it has.

    The version must have the same state layout. The body may be left empty: the newest version is taken.
    """
    body = await _body(request)
    asked = decode(messages.MigrateBody, body) if body.strip() else messages.MigrateBody()
    session = await context_of(request).service.migrate(own(session_id), asked.model, asked.version)
    return json_answer(session.describe())


async def observe(request: Request, session_id: str) -> Response:
    """Take in observations (or text), and tell what was predicted for each before it was seen.

    A forecaster tells of each value the median that was expected and an interval around it, where in its distribution
    the value fell (`pit`), how rare that is (`anomaly_score`, from 0 to 1), and whether it is an `anomaly`: its score
    has reached the session's `anomaly_threshold`, or the model's. At a threshold of 0.99 at most one value in a
    hundred is, where a stream goes on as usual; by a score that is the model's own far fewer are.

    A classifier tells after each token how likely every class is by then.
    With `timestamps`, gaps are filled as missing up to a bound, and earlier ones are refused.
    Send `position` or an `Idempotency-Key` to be able to send the same request again.
    """
    context = context_of(request)
    body = decode(messages.ObserveBody, await _body(request))
    session = await context.service.store.get(own(session_id))
    work = transitions.observe(context, session, body, request.headers.get("idempotency-key"))
    if max(len(body.values or ()), len(body.tokens or ()), len(body.text or "")) < _WORTH_CANCELLING:
        return json_answer(await work)
    return json_answer(await until_gone(request, work))


async def generate(request: Request, session_id: str) -> Response:
    """Generate, and go on from it: text, or a forecaster's values.

    Text with `stream` comes in server-sent events that end with `[DONE]`. The session moves with every piece that is
    delivered; a client that goes away ends the generation there.
    """
    context = context_of(request)
    body = decode(messages.GenerateBody, await _body(request))
    session = await context.service.store.get(own(session_id))
    key = request.headers.get("idempotency-key")
    if not transitions.is_text(session):
        return json_answer(await until_gone(request, transitions.generate_values(context, session, body, key)))
    pieces = transitions.generate_text(context, session, body, key)
    if not body.stream:
        return json_answer(await until_gone(request, transitions.whole_text(pieces)))
    # The first piece decides the status; after it, an error can only be an event.
    first = await until_gone(request, anext(pieces))
    return EventStream(_events(first, pieces), pieces)


async def _events(
    first: messages.GeneratedText, pieces: AsyncGenerator[messages.GeneratedText, None]
) -> AsyncGenerator[bytes, None]:
    yield to_json(first)
    try:
        async for piece in pieces:
            yield to_json(piece)
    except Exception as error:
        yield to_json(error_body(ours(error), request_id.get() or ""))
    else:
        yield b"[DONE]"
