"""SIGTERM under load: whoever was let in is answered, and whoever was not has changed nothing.

Clients step as fast as they can, without a position, so that no repeat can hide anything. The service is asked to stop
and started again; then every session must stand exactly where its client's answers say.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests import known_models
from tests.crash.servers import KilledServer

_REFUSED_CODES = ("shutting_down", "journal_unavailable", "overloaded")


@dataclass
class Stepping:
    """One client's session, and what it was told."""

    session_id: str
    by_websocket: bool
    acknowledged: int = 0
    refused: int = 0
    unanswered: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass
class StopReport:
    """What some stops came to. `wrong` is empty where every request that was let in was answered."""

    stops: int = 0
    steps: int = 0
    refused: int = 0
    unanswered: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = (
            f"{self.stops} stops under load, {self.steps} acknowledged steps, {self.refused} requests refused, "
            f"{self.unanswered} that met a closed connection"
        )
        if not self.wrong:
            return f"{told}\nnone that was let in failed, and every session stands where its answers say"
        return told + "".join(f"\nWRONG: {one}" for one in self.wrong)


async def stop_under_load(
    journal: str, folder: Path, *, sessions: int = 24, stops: int = 3, replicas: int = 1, seed: int = 0
) -> StopReport:
    """Stop a service, or its replicas in turn, at random moments of a load, and look at every session afterwards."""
    models = folder / "models of stopped servers"
    known_models.running_sum(models)
    chance = random.Random(seed)
    servers = [KilledServer(models, journal, folder / f"stopped{number}.log") for number in range(replicas)]
    report = StopReport()
    clients = [Stepping(f"stopped-{number}", number % 2 == 1) for number in range(sessions)]
    try:
        for server in servers:
            server.start()
        await asyncio.gather(*(server.until_ready() for server in servers))
        await _open(servers[0], clients)
        for number in range(stops):
            server = servers[number % replicas]
            load = [asyncio.create_task(_step_until_closed(server, client)) for client in clients]
            await _until_stepped(clients, chance.randint(3, 20))
            status = await asyncio.to_thread(server.stop)
            await asyncio.gather(*load)
            if status != 0:
                report.wrong.append(f"stop {number}: expected the exit status 0, got {status}")
            server.start()
            await server.until_ready()
            await _compare(server, clients, report)
            report.stops += 1
    finally:
        for server in servers:
            server.kill()
    for client in clients:
        report.steps += client.acknowledged
        report.refused += client.refused
        report.unanswered += client.unanswered
        report.wrong += client.failed
    return report


async def _open(server: KilledServer, clients: Sequence[Stepping]) -> None:
    async with httpx.AsyncClient(timeout=20) as http:
        for client in clients:
            body = {"id": client.session_id, "model": known_models.RUNNING_SUM}
            answer = await http.post(f"http://{server.address}/v1/sessions", json=body)
            assert answer.status_code == 201, answer.text


async def _until_stepped(clients: Sequence[Stepping], each: int) -> None:
    """Wait until clients have taken so many steps more, on average."""
    before = sum(client.acknowledged for client in clients)
    while sum(client.acknowledged for client in clients) < before + each * len(clients):
        await asyncio.sleep(0.005)


async def _step_until_closed(server: KilledServer, client: Stepping) -> None:
    if client.by_websocket:
        await _step_by_websocket(server, client)
        return
    url = f"http://{server.address}/v1/sessions/{client.session_id}/observe"
    async with httpx.AsyncClient(timeout=20) as http:
        while True:
            try:
                answer = await http.post(url, json={"values": [1.0]})
            except httpx.ConnectError:
                return
            except httpx.HTTPError:
                client.unanswered += 1
                return
            if answer.status_code == 200:
                client.acknowledged += 1
            elif answer.status_code in (429, 503) and answer.json()["error"]["code"] in _REFUSED_CODES:
                client.refused += 1
                await asyncio.sleep(0.01)
            else:
                client.failed.append(f"session {client.session_id}: {answer.status_code} {answer.text}")


async def _step_by_websocket(server: KilledServer, client: Stepping) -> None:
    try:
        async with connect(f"ws://{server.address}/v1/sessions/{client.session_id}/stream") as socket:
            while True:
                await socket.send(json.dumps({"type": "observe", "values": [1.0]}))
                told = json.loads(await socket.recv())
                if told["type"] == "observe":
                    client.acknowledged += 1
                elif told["type"] == "error" and told["error"]["code"] in _REFUSED_CODES:
                    client.refused += 1
                else:
                    client.failed.append(f"session {client.session_id}: {told}")
    except ConnectionClosed:
        client.unanswered += 1
    except (OSError, InvalidHandshake):
        return  # it is not there any more


async def _compare(server: KilledServer, clients: Sequence[Stepping], report: StopReport) -> None:
    async with httpx.AsyncClient(timeout=20) as http:
        for client in clients:
            answer = await http.get(f"http://{server.address}/v1/sessions/{client.session_id}")
            position = answer.json().get("position")
            if position != client.acknowledged:
                name, count = client.session_id, client.acknowledged
                report.wrong.append(f"session {name}: {count} steps were acknowledged, and it stands at {position}")
