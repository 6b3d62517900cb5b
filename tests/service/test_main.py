"""`python -m service` as a process of its own: what it prints, and how it stops."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from service.models.device import why_cuda_cannot_load
from service.settings import settings_table
from tests import known_models

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "service", "--grpc-port", "-1", "--journal", "memory:", *arguments]


@contextmanager
def process(models: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """A running service: the process, its address, and the lines it printed when it started."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNROLL_")}
    running = subprocess.Popen(
        command("--port", "0", "--models", str(models), "--device", "cpu", *arguments),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    try:
        lines = [running.stdout.readline()]
        found = re.search(r"http://127\.0\.0\.1:\d+", lines[0])
        assert found is not None, lines[0] + (running.stderr.read() if running.stderr else "")
        while lines[-1].strip() or len(lines) < 4:
            lines.append(running.stdout.readline())
        yield running, found[0], lines
    finally:
        running.kill()
        running.communicate()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    known_models.running_sum(tmp_path)
    known_models.next_token(tmp_path)
    return tmp_path


def test_it_prints_its_address_and_a_request_that_works(models: Path) -> None:
    with process(models) as (_, address, lines):
        text = "".join(lines)
        assert "next-token/1, running-sum/1" in text
        request = text[text.index("curl") :].replace("\\\n", " ")
        answer = subprocess.run(shlex.split(request), capture_output=True, text=True, check=True)
        assert answer.stdout.strip(), answer.stderr
        assert "error" not in json.loads(answer.stdout) or json.loads(answer.stdout)["error"] is None
        assert address in request


def test_of_a_classifier_it_prints_how_to_open_a_session_and_observe_a_text(tmp_path: Path) -> None:
    known_models.token_counts(tmp_path)
    with process(tmp_path) as (_, _, lines):
        text = "".join(lines)
        done = subprocess.run(["bash", "-euc", text[text.index("curl") :]], capture_output=True, text=True, check=True)
        assert '"position":0' in done.stdout and '"position":3' in done.stdout and '"labels":[' in done.stdout


def test_a_wrong_setting_ends_it_with_the_variable_named() -> None:
    environment = dict(os.environ) | {"UNROLL_PORT": "secret"}
    ended = subprocess.run(command(), cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.strip() == "python -m service: UNROLL_PORT: expected a whole number from 0 to 65535"


def test_a_device_that_is_not_there_ends_it_with_the_reason() -> None:
    if why_cuda_cannot_load() is None:
        pytest.skip("CUDA runs here")
    ended = subprocess.run(command("--device", "cuda"), cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2 and "device: expected to load CUDA" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_host_that_is_not_this_machines_is_told_as_such(models: Path) -> None:
    for host in ("nowhere.invalid", "203.0.113.7"):
        ended = subprocess.run(
            command("--models", str(models), "--host", host), cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == 2 and "UNROLL_HOST: expected an address of this machine" in ended.stderr


def test_a_folder_of_models_that_is_not_there_is_told(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with subprocess.Popen(
        command("--port", "0", "--models", str(missing)), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline().startswith("Unroll serves no model, as yet, at http://127.0.0.1:")
            assert running.stdout.readline().startswith(f"no model: there is no folder {missing}: see UNROLL_MODELS")
        finally:
            running.terminate()


def test_a_second_service_on_a_journal_takes_over_when_the_first_stops(models: Path, tmp_path: Path) -> None:
    journal = ("--journal", f"sqlite://{tmp_path}/sessions.db")
    with process(models, *journal) as (first, address, _):
        path = "/v1/sessions"
        assert httpx.post(address + path, json={"model": known_models.RUNNING_SUM, "id": "a"}).status_code == 201
        with process(models, *journal) as (_, other, lines):
            assert "sessions cannot be kept: " in "".join(lines) and "another process holds it" in "".join(lines)
            refused = httpx.get(f"{other}{path}/a")
            assert refused.status_code == 503 and refused.headers["retry-after"] == "2"
            first.terminate()
            first.wait(60)
            until = time.monotonic() + 30
            while (answer := httpx.get(f"{other}{path}/a")).status_code == 503 and time.monotonic() < until:
                time.sleep(0.1)
            assert answer.status_code == 200 and answer.json()["restored"]
            assert httpx.get(f"{other}/health/ready").status_code == 200


def test_a_port_in_use_ends_it_with_the_reason(models: Path) -> None:
    with process(models) as (_, address, _):
        port = address.rsplit(":", 1)[1]
        ended = subprocess.run(command("--port", port), cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == 2
        assert f"UNROLL_PORT: port {port} cannot be listened on: Address already in use" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_it_prints_the_settings_table() -> None:
    ended = subprocess.run(command("--settings-table"), cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == settings_table()


def test_a_stop_finishes_what_runs_and_refuses_what_is_new(models: Path) -> None:
    with process(models, "--max-tokens", "40000", "--shutdown-grace-s", "60") as (running, address, _):
        path = f"{address}/v1/sessions"
        for session in ("busy", "idle"):
            assert httpx.post(path, json={"model": known_models.NEXT_TOKEN, "id": session}).status_code == 201
        websocket = address.replace("http", "ws") + "/v1/sessions/idle/stream"
        answers: list[httpx.Response] = []

        def generate() -> None:
            body = {"max_tokens": 40_000, "temperature": 1}
            answers.append(httpx.post(f"{path}/busy/generate", json=body, timeout=60))

        with httpx.Client() as kept_alive, connect(websocket) as stream:
            kept_alive.get(f"{address}/health/ready")
            worker = threading.Thread(target=generate)
            worker.start()
            time.sleep(0.3)
            running.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                stream.recv(20)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013
            assert not answers, "the generation was to be still running"
            refused = kept_alive.post(path, json={"model": known_models.NEXT_TOKEN})
            assert refused.status_code == 503 and refused.json()["error"]["code"] == "shutting_down"
            assert "retry-after" in refused.headers
            worker.join(60)
        assert answers[0].status_code == 200 and len(answers[0].json()["tokens"]) == 40_000
        assert running.wait(30) == 0


def test_a_stop_without_grace_refuses_what_runs(models: Path) -> None:
    with process(models, "--shutdown-grace-s", "0", "--max-tokens", "1000000") as (running, address, _):
        body = {"model": known_models.NEXT_TOKEN, "prompt": "a", "max_tokens": 1_000_000}
        answers: list[httpx.Response] = []
        worker = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{address}/v1/completions", json=body, timeout=60))
        )
        worker.start()
        time.sleep(0.5)
        started = time.monotonic()
        running.send_signal(signal.SIGTERM)
        worker.join(30)
        assert running.wait(30) == 0
        assert time.monotonic() - started < 15
        assert answers[0].status_code == 503 and answers[0].json()["error"]["code"] == "shutting_down"
