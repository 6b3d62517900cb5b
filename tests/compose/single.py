"""Profile `single`, what `docker compose up` brings up: sessions in one file outlive the service, however it ends."""

from __future__ import annotations

import asyncio
import json

from tests.compose.clients import SERIES_MODEL, Client, Observer, Streamer, Writer, running, series
from tests.compose.exactness import check
from tests.compose.scale import Story
from tests.compose.stack import Failed, Stack, answers, command, container, stack

STEPS = 2000


def run() -> None:
    """Raises Failed if anything is not as promised."""
    with stack("single") as made:
        print(f"  healthy after {made.up():.1f} s", flush=True)
        _check_that_it_is_locked_down(made)
        asyncio.run(_scenario(made))
        _check_backup(made)
        _check_sagemaker(made)


def _check_that_it_is_locked_down(made: Stack) -> None:
    (container,) = made.containers("service")
    about = json.loads(command("docker", "inspect", container))[0]
    if about["Config"]["User"] in ("", "root", "0") or not about["HostConfig"]["ReadonlyRootfs"]:
        raise Failed("the service runs as root, or may write to its image")
    bindings = [binding["HostIp"] for port in about["NetworkSettings"]["Ports"].values() for binding in port]
    if set(bindings) != {"127.0.0.1"}:
        raise Failed(f"expected ports on the loopback address alone, got {bindings}")
    found = command("docker", "exec", container, "python", "-c", _FIND_WHAT_SHOULD_NOT_BE_THERE).split()
    if found:
        raise Failed(f"the image holds {found}")


_FIND_WHAT_SHOULD_NOT_BE_THERE = """
import importlib.util, shutil
print(*(name for name in ("torch", "training", "onnx", "pip") if importlib.util.find_spec(name)),
      *(name for name in ("gcc", "cc", "make", "git") if shutil.which(name)))
"""


def _check_backup(made: Stack) -> None:
    """As the README tells operators to make one, while the service runs."""
    journal = ("exec", "--no-TTY", "service", "python", "-m", "service", "journal")
    made.compose(*journal, "copy", "/var/lib/unroll/sessions.db", "/var/lib/unroll/backup.db")
    said = made.compose(*journal, "check", "/var/lib/unroll/backup.db").strip().splitlines()
    print(f"  a backup: {'; '.join(said)}", flush=True)


def _check_sagemaker(made: Stack) -> None:
    """Started as SageMaker starts it: `serve`, a port, models in its folder."""
    models = ("--volume", f"{made.project}_models:/opt/ml/model:ro")
    with container(8085, "--env", "SAGEMAKER_BIND_TO_PORT=8085", *models, runs=["serve"]) as address:
        if not answers(f"http://{address}/ping") or not answers(f"http://{address}/v1/models/{SERIES_MODEL}"):
            raise Failed("serve does not answer as SageMaker asks")
    print("  serve answers as SageMaker asks", flush=True)


async def _scenario(made: Stack) -> None:
    observers = [Observer(made.address, f"http-{n}", series(n, STEPS)) for n in range(3)]
    streamers = [Streamer(made.address, f"stream-{n}", series(50 + n, STEPS)) for n in range(3)]
    writers = [Writer(made.address, "text")]
    clients: list[Client] = [*observers, *streamers, *writers]
    for client in clients:
        await client.open()
    story = Story(made, clients)

    async def killed() -> None:
        await story.composed("kill", "--signal", "KILL", "service")()
        await story.composed("start", "service")()

    async with running(clients):
        await story.tell("undisturbed")
        await story.tell("restarted with SIGTERM", story.composed("restart", "--timeout", "30", "service"))
        await story.tell("killed with SIGKILL and started again", killed)
        await story.tell("taken down, and up again on the same volume", story.down_and_up)
    await check([*observers, *streamers], writers)
