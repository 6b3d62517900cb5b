"""Routes of a session's earlier places, from which forks may begin."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from service.access.caller import own
from service.errors import CheckpointNotFound, InputMismatch
from service.protocols.answering import json_answer
from service.protocols.context import context_of
from service.protocols.native import messages
from service.protocols.reading import decode, read_body
from service.sessions.places import Place


def place_of(position: int | None, checkpoint: str | None) -> Place:
    """Where a fork is to begin.

    Raises:
        InputMismatch: at two places.
    """
    if position is not None and checkpoint is not None:
        raise InputMismatch("position, checkpoint: expected one of them, got both", parameter="checkpoint")
    return Place(position, checkpoint)


async def list_checkpoints(request: Request, session_id: str) -> Response:
    """List where forks may begin: checkpoints by name, and the positions of turn ends that are still kept."""
    store = context_of(request).service.store
    session = await store.look(own(session_id))
    ends = {kept.position for kept in store.live.turn_ends.of(session)} | {session.position}
    data = [{"name": name, "position": position} for name, position in await store.checkpoints.of(session)]
    return json_answer({"object": "list", "data": data, "turn_ends": sorted(ends)})


async def save_checkpoint(request: Request, session_id: str) -> Response:
    """Save a checkpoint: the session as it stands, under a name.

    A name that was used before moves here, and what it stood for is forgotten. A checkpoint lives for the session's
    time to live, counted from now.
    """
    context = context_of(request)
    body = decode(messages.CheckpointBody, await read_body(request, context.settings.max_request_bytes))
    session = await context.service.store.get(own(session_id))
    async with session.turn(fresh=True) as turn:
        await context.service.store.checkpoints.save(turn, body.name)
        return json_answer({"name": body.name, "position": session.position}, 201)


async def remove_checkpoint(request: Request, session_id: str, name: str) -> Response:
    """Remove a checkpoint."""
    store = context_of(request).service.store
    session = await store.get(own(session_id))
    async with session.turn(fresh=True):
        try:
            await store.checkpoints.remove(session, name)
        except InputMismatch as error:
            # Here the name is part of the path, and what a path names is there or not.
            raise CheckpointNotFound(error.message, parameter="name") from None
    return json_answer({"removed": 1})
