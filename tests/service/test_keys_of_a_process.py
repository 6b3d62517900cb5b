"""A process that asks for API keys: when it starts, and that no key is to be seen anywhere but where it was sent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from service.access.keys import draw_key
from tests.known_models import RUNNING_SUM
from tests.service.protocols.keyed import KEYS, of, write
from tests.service.test_main import ROOT, command, models, process

__all__ = ["models"]


def started(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNROLL_")}
    return subprocess.run(
        command(*arguments), cwd=ROOT, env=environment | variables, capture_output=True, text=True, timeout=60
    )


def test_open_to_a_network_it_does_not_start_without_keys_and_says_the_ways_on() -> None:
    for ended in (started("--host", "0.0.0.0"), started(UNROLL_HOST="::"), started("--authentication", "required")):
        assert ended.returncode == 2 and ended.stdout == "" and ended.stderr.count("\n") == 1
        for way in ("python -m service keys add", "127.0.0.1", "--authentication off"):
            assert way in ended.stderr


def test_a_wrong_file_of_keys_ends_it_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(f"[[keys]]\nname = 'a'\nrights = ['predict']\nsha256 = '{(key := draw_key())}'\n")
    ended = started("--api-keys", str(path))
    assert ended.returncode == 2 and "key 1, sha256" in ended.stderr and key not in ended.stderr
    assert "No such file" in started("--api-keys", str(tmp_path / "none.toml")).stderr


def test_turned_off_in_so_many_words_it_starts_and_asks_for_none(models: Path) -> None:
    with process(models, "--host", "0.0.0.0", "--authentication", "off") as (_, address, _):
        assert httpx.get(f"{address}/v1/models").status_code == 200


def test_keys_are_nowhere_to_be_seen(models: Path, tmp_path: Path) -> None:
    wrong = draw_key()
    path = write(tmp_path / "keys.toml")
    with process(models, "--api-keys", str(path), "--log-level", "debug") as (running, address, lines):
        assert "Bearer KEY" in "".join(lines)
        told = [httpx.get(f"{address}/v1/models", headers={"Authorization": f"Bearer {wrong}"}).text]
        body = {"model": RUNNING_SUM, "id": "a"}
        for headers in (of("alice"), {"X-Api-Key": KEYS["bob"]}, {"X-Api-Key": wrong}, of("reader"), {}):
            for step in (
                "/v1/sessions",
                "/v1/sessions/a/observe",
                "/v1/sessions/none/observe",
                "/v1/completions",
                "/no",
            ):
                sent = body if step == "/v1/sessions" else {"values": [1.0]}
                answer = httpx.post(f"{address}{step}", json=sent, headers=headers)
                told += [answer.text, str(answer.headers)]
        offered: list[str] = ["unroll", f"unroll.api-key.{wrong}"]
        stream = address.replace("http", "ws") + "/v1/sessions/a/stream"
        with pytest.raises(InvalidStatus) as refused, connect(stream, subprotocols=offered):  # type: ignore[arg-type]
            pass
        told.append(str(refused.value.response.body))
        told.append(httpx.get(f"{address}/metrics", headers=of("operator")).text)
        told.append(json.dumps(httpx.get(f"{address}/health/ready").json()))
        listed = Path(f"/proc/{running.pid}/cmdline")
        told.append(listed.read_text() if listed.exists() else "")
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=60)
    told += [out, err, "".join(lines)]
    assert "/v1/sessions/a/observe" in err, "requests were logged"
    for key in (wrong, *KEYS.values()):
        assert not any(key in one or key[10:] in one for one in told)
