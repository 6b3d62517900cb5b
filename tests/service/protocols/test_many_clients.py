"""Crowds, rude clients and full queues: nobody gets another's answer, and nothing is half done."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import websockets

from service.protocols.native.frames import HEADER
from tests import known_models
from tests.service.protocols.serving import Served, serve

SESSIONS, STEPS = 200, 10


def frame(value: float) -> bytes:
    return HEADER.pack(b"UN", 1, 1, 1, 1, 0, 0, -1, 0) + np.float32(value).tobytes()


@pytest.mark.anyio
async def test_two_hundred_sessions_at_once_give_what_each_gives_alone(served: Served) -> None:
    """Half over HTTP, half over WebSockets, all at the same time; the running sum tells whose values were taken."""
    opened = served.post("/v1/sessions", [{"model": known_models.RUNNING_SUM}] * SESSIONS).json()

    async def by_http(client: httpx.AsyncClient, number: int, session: str) -> float:
        for _ in range(STEPS):
            answer = await client.post(f"/v1/sessions/{session}/observe", json={"values": [number]})
        return float(answer.json()["quantiles"]["values"][0][1])

    async def by_websocket(number: int, session: str) -> float:
        address = f"{served.url.replace('http', 'ws')}/v1/sessions/{session}/stream"
        async with websockets.connect(address, open_timeout=60) as stream:
            for _ in range(STEPS):
                await stream.send(frame(number))
                answer = await stream.recv()
        assert isinstance(answer, bytes)
        return float(np.frombuffer(answer, "<f4", offset=HEADER.size)[1])

    async with httpx.AsyncClient(base_url=served.url, timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        medians = await asyncio.gather(
            *(
                by_http(client, number, session["id"]) if number % 2 else by_websocket(number, session["id"])
                for number, session in enumerate(opened)
            )
        )
    assert medians == [float(number * (STEPS - 1)) for number in range(SESSIONS)]


def test_a_client_killed_in_the_middle_of_a_stream_disturbs_nobody(served: Served) -> None:
    text, series = served.open(known_models.NEXT_TOKEN), served.open()
    address = f"{served.url.replace('http', 'ws')}/v1/sessions/{text}/stream"
    program = (
        "from websockets.sync.client import connect\n"
        f"with connect({address!r}) as stream:\n"
        '    stream.send(\'{"type": "generate", "max_tokens": 4096}\')\n'
        "    print(stream.recv(), flush=True)\n"
        "    while True: pass\n"
    )
    client = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    with client.stdout:
        assert client.stdout.readline()
        client.send_signal(signal.SIGKILL)
        client.wait()
    assert served.observe(series, values=[1])["position"] == 1
    stands = served.observe(text, text="a")["position"]
    assert 16 < stands <= 4097
    assert served.position(text) == stands


def test_a_full_queue_refuses_before_anything_is_done(tmp_path: Path) -> None:
    known_models.running_sum(tmp_path)
    with serve(tmp_path, max_queue=1) as served, ThreadPoolExecutor(32) as pool:
        sessions = [served.open() for _ in range(32)]
        body = {"values": [1.0] * 3000}
        answers = list(pool.map(lambda one: served.post(f"/v1/sessions/{one}/observe", body), sessions))
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused and all(answer.status_code in (200, 429) for answer in answers)
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        for session, answer in zip(sessions, answers, strict=True):
            assert served.position(session) == (3000 if answer.status_code == 200 else 0)


def test_a_large_body_is_refused_without_being_read(served: Served) -> None:
    answer = served.client.post("/v1/sessions", content=b"x" * 30_000_000)
    assert answer.status_code == 413
