"""What clients were answered, against runs that nothing ever disturbed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.compose.clients import FIRST_TIMESTAMP, SERIES_MODEL, Client, Observer, Writer
from tests.compose.stack import IMAGE, Failed, command, container

_SCRIPT = Path(__file__).with_name("offline.py")


async def check(observers: Sequence[Observer], writers: Sequence[Writer]) -> None:
    """Find that nothing acknowledged was lost or done twice, and that all answers are right to the last bit; say so."""
    clients: list[Client] = [*observers, *writers]
    for client in clients:
        await _check_position(client)
        await client.close()
    numbers = await asyncio.to_thread(_check_observers, observers)
    tokens = await asyncio.to_thread(_check_writers, writers)
    steps = sum(len(client.answers) for client in clients)
    print(f"  {steps} steps acknowledged, none lost, none doubled; {numbers} numbers and {tokens} characters exact")
    troubles = sum((client.troubles for client in clients), start=Counter[str]())
    print(f"  on the way: {', '.join(f'{count} × {name}' for name, count in troubles.most_common())}", flush=True)


async def _check_position(client: Client) -> None:
    described = await client.described()
    if described["position"] != client.position:
        raise Failed(f"{client.name} is at {described['position']}, and was told {client.position}")


def _check_observers(clients: Sequence[Observer]) -> int:
    """Compare with one graph run over whole series; how many numbers that were."""
    values = [client.values[: client.position] for client in clients]
    longest = max(map(len, values))
    # Causal everywhere: what stands behind a series does not change what is answered to it.
    padded = [[*given, *[None] * (longest - len(given))] for given in values]
    asked = json.dumps({"model": SERIES_MODEL, "first_timestamp": FIRST_TIMESTAMP, "values": padded})
    run = ("docker", "run", "--rm", "--interactive", "--network", "none", IMAGE, "python", "-c")
    right = json.loads(command(*run, _SCRIPT.read_text(encoding="utf-8"), given=asked))
    return sum(_compared(client, row, right) for row, client in enumerate(clients))


def _compared(client: Observer, row: int, right: dict[str, list[list[object]]]) -> int:
    numbers = 0
    for name, answered in client.observed.items():
        for step, (one, other) in enumerate(zip(answered, right[name][row], strict=False)):
            if one != other:
                raise Failed(f"{client.name}: {name} of step {step} is {one}, and offline {other}")
            numbers += len(one) if isinstance(one, list) else 1
    return numbers


def _check_writers(clients: Sequence[Writer]) -> int:
    """Compare with what a service writes that is left alone; how many characters that were."""
    with container(8000) as address:
        return sum(_check_writer(client, address) for client in clients)


def _check_writer(client: Writer, address: str) -> int:
    with httpx.Client(base_url=f"http://{address}", timeout=60) as http:
        http.post("/v1/sessions", json={"id": client.name, **client.opening}).raise_for_status()
        for answer in client.answers:
            step = client.asked(answer["start"])
            right = http.post(f"/v1/sessions/{client.name}/generate", json=step).raise_for_status().json()
            if any(right[part] != answer[part] for part in ("text", "tokens", "position")):
                raise Failed(f"{client.name}: {answer} was written, and undisturbed it is {right}")
    return client.position
