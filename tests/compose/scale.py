"""Profile `scale`: replicas come, go, hang and die under clients that never stop, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx
import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput

from tests.compose.clients import FIRST_TIMESTAMP, Client, Observer, Streamer, Writer, progress, running, series
from tests.compose.exactness import check
from tests.compose.stack import Failed, Stack, command, stack

OBSERVERS, STREAMERS, WRITERS = 6, 6, 2
STEPS = 5000
_STEPS_BETWEEN = 20
_PAUSE_S = 4.0


def run() -> None:
    """Raises Failed if anything is not as promised."""
    with stack("scale") as made:
        print(f"  healthy after {made.up():.1f} s, with {len(made.containers('replica'))} replicas", flush=True)
        _check_grpc(made.local("UNROLL_GRPC_PORT"))
        asyncio.run(_scenario(made))


def _check_grpc(address: str) -> None:
    """A step of a sequence over gRPC, through the same gateway."""
    target = InferInput("target", [1, 3], "FP32").set_data_from_numpy(np.array([[1.0, 2.0, 3.0]], np.float32))
    with InferenceServerClient(address) as client:
        answer = client.infer(
            "pjm-load",
            [target],
            sequence_id="over-grpc",
            sequence_start=True,
            parameters={"first_timestamp": FIRST_TIMESTAMP},
            headers={"x-session-id": "over-grpc"},
        )
        if answer.as_numpy("pit").shape != (1, 3):
            raise Failed(f"over gRPC: {answer.get_response()}")


async def _scenario(made: Stack) -> None:
    observers = [Observer(made.address, f"http-{n}", series(n, STEPS)) for n in range(OBSERVERS)]
    streamers = [Streamer(made.address, f"stream-{n}", series(100 + n, STEPS)) for n in range(STREAMERS)]
    writers = [Writer(made.address, f"text-{n}") for n in range(WRITERS)]
    clients: list[Client] = [*observers, *streamers, *writers]
    for client in clients:
        await client.open()
    story = Story(made, clients)
    async with running(clients):
        await story.tell("undisturbed")
        await story.tell("a replica killed with SIGKILL", story.kill_a_replica)
        await story.tell(f"Valkey paused for {_PAUSE_S:.0f} s, nothing acknowledged meanwhile", story.pause_the_journal)
        await story.tell("Valkey killed with SIGKILL and started again", story.kill_the_journal)
        await story.tell("everything restarted", story.composed("restart", "--timeout", "30"))
        await story.tell("five replicas", story.composed("up", "--detach", "--wait", "--scale", "replica=5"))
        await story.tell("one of the five killed with SIGKILL", story.kill_a_replica)
        await story.tell("all taken down, and up again on the same volume", story.down_and_up)
    await check([*observers, *streamers], writers)


@dataclass(frozen=True)
class Story:
    """What happens to a stack while clients work."""

    stack: Stack
    clients: Sequence[Client]

    async def tell(self, what: str, happens: Callable[[], Awaitable[None]] | None = None) -> None:
        """Let something happen, wait until every client goes on, and say how long the unluckiest waited."""
        for client in self.clients:
            client.longest_wait_s = 0.0
        began = time.monotonic()
        if happens is not None:
            await happens()
        await progress(self.clients, _STEPS_BETWEEN)
        waited = max(client.longest_wait_s for client in self.clients)
        print(f"  {what}: all go on, {time.monotonic() - began:.1f} s; longest wait {waited:.1f} s", flush=True)

    def composed(self, *words: str) -> Callable[[], Awaitable[None]]:
        async def happens() -> None:
            await asyncio.to_thread(self.stack.compose, *words)

        return happens

    async def kill_a_replica(self) -> None:
        """It stays dead until something starts it again."""
        await asyncio.to_thread(command, "docker", "kill", "--signal", "KILL", self.stack.containers("replica")[0])

    async def kill_the_journal(self) -> None:
        await self.composed("kill", "--signal", "KILL", "valkey")()
        await self.composed("start", "valkey")()

    async def down_and_up(self) -> None:
        await self.composed("down", "--timeout", "30")()
        await self.composed("up", "--detach", "--wait")()

    async def pause_the_journal(self) -> None:
        """With the journal away requests are refused, and nothing is acknowledged until it is back."""
        await self.composed("pause", "valkey")()
        try:
            await asyncio.sleep(_PAUSE_S / 2)
            before = [len(client.answers) for client in self.clients]
            await self._check_that_an_opening_is_refused()
            await asyncio.sleep(_PAUSE_S / 2)
            if before != [len(client.answers) for client in self.clients]:
                raise Failed("steps were acknowledged while the journal was paused")
        finally:
            await self.composed("unpause", "valkey")()

    async def _check_that_an_opening_is_refused(self) -> None:
        async with httpx.AsyncClient(base_url=f"http://{self.stack.address}", timeout=10) as http:
            answer = await http.post("/v1/sessions", json={"model": "pjm-load"})
        if answer.status_code != 503 or "retry-after" not in answer.headers:
            raise Failed(f"with the journal paused, an opening was answered {answer.status_code} {answer.headers}")
