"""A server in a process of its own, with many clients and clients that are killed."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from benchmarks.clients import HttpConnection
from benchmarks.server import ServerProcess, running_server
from tests.known_models import RUNNING_SUM

pytestmark = pytest.mark.anyio
SESSIONS = 200
STEPS = 12

KILLED_CLIENT = """
import asyncio, json, sys
from websockets.asyncio.client import connect

async def main():
    async with connect(sys.argv[1]) as connection:
        while True:
            await connection.send(json.dumps({"type": "observe", "values": [1.0]}))
            await connection.recv()
            print("step", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server(running_sum_models: Path) -> Iterator[ServerProcess]:
    with running_server(running_sum_models) as server:
        yield server


def opened(server: ServerProcess, count: int) -> list[str]:
    bodies = [{"model": RUNNING_SUM} for _ in range(count)]
    answer = httpx.post(f"{server.url}/v1/sessions", json=bodies, timeout=30)
    assert answer.status_code == 201, answer.text
    return [session["id"] for session in answer.json()]


def stream_url(server: ServerProcess, session: str) -> str:
    return f"ws://{server.address}/v1/sessions/{session}/stream"


def centres(start: int) -> list[float | None]:
    """What the running sum predicts for the values start, start + 1, …: the sum of those before."""
    return [None, *(float(sum(range(start, start + step))) for step in range(1, STEPS))]


async def test_two_hundred_http_sessions_at_once_each_get_their_own_answers(server: ServerProcess) -> None:

    async def client(number: int, session: str) -> list[float | None]:
        seen = []
        async with HttpConnection.open(server.address) as connection:
            for step in range(STEPS):
                body = json.dumps({"values": [number + step]}).encode()
                status, answer = await connection.request("POST", f"/v1/sessions/{session}/observe", body)
                assert status == 200, answer
                quantiles = json.loads(answer)["quantiles"]["values"][0]
                seen.append(None if quantiles is None else quantiles[1])
        return seen

    sessions = opened(server, SESSIONS)
    answers = await asyncio.gather(*(client(number, session) for number, session in enumerate(sessions)))
    assert answers == [centres(number) for number in range(SESSIONS)]


async def test_two_hundred_websocket_sessions_at_once_each_get_their_own_answers(server: ServerProcess) -> None:
    async def client(number: int, session: str) -> list[float | None]:
        seen = []
        async with connect(stream_url(server, session), open_timeout=60) as connection:
            for step in range(STEPS):
                await connection.send(json.dumps({"type": "observe", "values": [number + step]}))
                quantiles = json.loads(await connection.recv())["quantiles"]["values"][0]
                seen.append(None if quantiles is None else quantiles[1])
        return seen

    sessions = opened(server, SESSIONS)
    answers = await asyncio.gather(*(client(number, session) for number, session in enumerate(sessions)))
    assert answers == [centres(number) for number in range(SESSIONS)]


async def test_a_client_killed_in_mid_stream_costs_nobody_anything(server: ServerProcess) -> None:
    killed, other = opened(server, 2)
    client = subprocess.Popen(
        [sys.executable, "-c", KILLED_CLIENT, stream_url(server, killed)], stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    for _ in range(50):
        assert client.stdout.readline() == "step\n"
    client.send_signal(signal.SIGKILL)
    received = 50 + len(client.communicate()[0].split())

    async with httpx.AsyncClient(base_url=server.url) as http:
        position = (await http.get(f"/v1/sessions/{killed}")).json()["position"]
        # One more may have been applied whose answer never arrived.
        assert received <= position <= received + 1
        answer = await http.post(f"/v1/sessions/{killed}/observe", json={"values": [1], "position": position})
        assert answer.json()["quantiles"]["values"][0][1] == position
        assert (await http.post(f"/v1/sessions/{other}/observe", json={"values": [1]})).json()["position"] == 1


async def test_a_stopped_server_answers_or_refuses_and_drops_nothing(server: ServerProcess) -> None:
    session = opened(server, 1)[0]
    applied = 0
    async with connect(stream_url(server, session)) as connection:
        try:
            for step in range(100_000):
                if step == 50:
                    server.process.send_signal(signal.SIGTERM)
                await connection.send(json.dumps({"type": "observe", "values": [1.0]}))
                applied = json.loads(await connection.recv()).get("position", applied)
        except ConnectionClosed as closed:
            assert closed.rcvd is not None and closed.rcvd.code == 1013
    assert applied >= 50
    assert server.process.wait(30) == 0
