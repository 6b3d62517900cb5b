"""The whole of it: clients, kills at random moments, and the same scripts once more where nothing goes wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests import known_models
from tests.crash.client import Client, Seen, Wrong
from tests.crash.script import Script, scripts
from tests.crash.servers import KilledServer


@dataclass
class Report:
    """What a storm came to. `wrong` is empty where every promise was kept."""

    kills: int
    sessions: int
    steps: int
    retries: int
    repeated: int
    restored: int
    wrong: list[str]

    def __str__(self) -> str:
        told = (
            f"{self.kills} kills, {self.sessions} sessions, {self.steps} acknowledged steps, {self.retries} requests "
            f"sent again, {self.repeated} of them answered from the record, {self.restored} sessions told restored"
        )
        if not self.wrong:
            return f"{told}\nnone lost, none doubled, and every answer that of an undisturbed run in every bit"
        return told + "".join(f"\nWRONG: {one}" for one in self.wrong)


@dataclass(frozen=True)
class Weather:
    """How hard it blows: how many sessions, steps each, kills, and replicas on the journal."""

    journal: str
    sessions: int = 16
    steps: int = 60
    kills: int = 10
    replicas: int = 1
    seed: int = 0
    calm_s: tuple[float, float] = (0.3, 1.5)
    """Between a start and the next kill."""


async def storm(weather: Weather, folder: Path) -> Report:
    """Let it blow, and compare every answer with that of a run in which nothing was killed."""
    models = folder / "models"
    known_models.running_sum(models)
    known_models.next_token(models)
    todo = scripts(weather.sessions, weather.steps, weather.seed)
    servers = [
        KilledServer(models, weather.journal, folder / f"server{number}.log") for number in range(weather.replicas)
    ]
    try:
        for server in servers:
            server.start()
        await asyncio.gather(*(server.until_ready() for server in servers))
        kills, outcomes = await _play_and_kill(weather, servers, todo)
    finally:
        for server in servers:
            server.kill()
    seen = [one for one in outcomes if isinstance(one, Seen)]
    wrong = [str(one) for one in outcomes if not isinstance(one, Seen)]
    wrong += _differences(seen, await _undisturbed(seen, models, folder))
    return Report(
        kills,
        len(todo),
        sum(len(one.answers) for one in seen),
        sum(one.retries for one in seen),
        sum(one.repeated for one in seen),
        sum(one.restored for one in seen),
        wrong,
    )


async def _play_and_kill(
    weather: Weather, servers: Sequence[KilledServer], todo: Sequence[Script]
) -> tuple[int, list[Seen | Exception]]:
    chance = random.Random(weather.seed)
    addresses = [server.address for server in servers]
    enough = asyncio.Event()
    clients = [asyncio.create_task(_play(Client(script, addresses, weather.seed), enough)) for script in todo]
    kills = 0
    while kills < weather.kills and not all(client.done() for client in clients):
        await asyncio.sleep(chance.uniform(*weather.calm_s))
        server = chance.choice(servers)
        server.kill()
        kills += 1
        server.start()
        await server.until_ready()
    await asyncio.sleep(chance.uniform(*weather.calm_s))
    enough.set()
    return kills, await asyncio.gather(*clients)


async def _play(client: Client, enough: asyncio.Event) -> Seen | Exception:
    try:
        return await client.play(0.03, enough)
    except Wrong as error:
        return error


async def _undisturbed(seen: Sequence[Seen], models: Path, folder: Path) -> list[Seen]:
    """The same steps of every session, one after the other, where nothing is killed and nothing kept."""
    todo = [replace(one.script, steps=one.script.steps[: len(one.answers)]) for one in seen]
    server = KilledServer(models, "memory:", folder / "undisturbed.log")
    try:
        server.start()
        await server.until_ready()
        return [await Client(script, [server.address], 0).play() for script in todo]
    finally:
        server.kill()


def _differences(these: Sequence[Seen], those: Sequence[Seen]) -> list[str]:
    expected = {one.script.session_id: one.answers for one in those}
    wrong = []
    for one in these:
        name = one.script.session_id
        for number, (told, right) in enumerate(zip(one.answers, expected[name], strict=True)):
            if told != right:
                wrong.append(f"session {name}, step {number}: {told} instead of {right}")
    return wrong
