"""The gRPC port: opened beside the HTTP port on the same event loop, closed with it; off where the setting says so."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from grpc import aio

from service.protocols.context import Context
from service.protocols.inference_v2.grpc_service import InferenceService
from service.settings import Settings

log = logging.getLogger(__name__)

_CALLS_PER_CONNECTION = 4096
"""What one connection may have open at once; its further calls wait at the client."""
_PING_S = 60
"""Seconds without a word after which a client is asked whether it is still there."""
_PING_PATIENCE_S = 20
_PING_AT_MOST_S = 10
"""How often clients may ask that of us."""
_IDLE_S = 600
"""Seconds without a call after which a connection is closed; clients open another by themselves."""
_LAST_ANSWERS_S = 2


@asynccontextmanager
async def listening(context: Context) -> AsyncIterator[int]:
    """Answer gRPC calls until the context ends; gives the port. Running calls get the shutdown's grace to finish.

    Raises:
        RuntimeError: the port cannot be listened on.
    """
    settings = context.settings
    server = aio.server(
        handlers=[InferenceService(context)],
        options=_options(settings),
        maximum_concurrent_rpcs=settings.max_connections,
    )
    port = server.add_insecure_port(_address(settings))
    await server.start()
    try:
        yield port
    finally:
        # Who drained has waited for what ran: only its last answers are still on their way.
        await server.stop(_LAST_ANSWERS_S if context.traffic.draining else settings.shutdown_grace_s)


def _address(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{host}:{settings.grpc_port}"


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        # Two processes on one port would share its clients, and their sessions, at random.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", _CALLS_PER_CONNECTION),
        ("grpc.server_handshake_timeout_ms", round(1000 * settings.request_timeout_s)),
        ("grpc.max_connection_idle_ms", 1000 * _IDLE_S),
        ("grpc.keepalive_time_ms", 1000 * _PING_S),
        ("grpc.keepalive_timeout_ms", 1000 * _PING_PATIENCE_S),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 1000 * _PING_AT_MOST_S),
    ]
