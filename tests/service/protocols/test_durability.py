"""Sessions opened by the borrowed schemas: their durability, and what tells that one was restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.protocols.native.frames import HEADER, RESTORED
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.protocols.hot.frames import steps
from tests.service.protocols.serving import Served, serve, write_models

TEXT, SERIES, INSTANCE = "text", "series", "instance"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


def complete(served: Served, **more: Any) -> Any:
    body = {"model": NEXT_TOKEN, "prompt": "ab", "max_tokens": 2, "session_id": TEXT, **more}
    return served.post("/v1/completions", body).json()


def forecast(served: Served, **more: Any) -> Any:
    series = {"name": "a", "series": [1.0], "session_id": SERIES, **more}
    body = {"model": RUNNING_SUM, "inputs": [series], "options": {"horizon": 2}}
    answer = served.post("/v1/timeseries/forecast", body).json()
    return answer["outputs"][0] if "outputs" in answer else answer


def invoke(served: Served, session: str, **more: Any) -> Any:
    headers = {"X-Amzn-SageMaker-Session-Id": session, "X-Amzn-SageMaker-Target-Model": RUNNING_SUM}
    return served.post("/invocations", {"instances": [{"target": [1.0]}], **more}, **headers)


def durability(served: Served, session: str) -> str:
    return str(served.client.get(f"/v1/sessions/{session}").json()["durability"])


def test_durability_is_chosen_where_a_session_is_opened(models: Path) -> None:
    with serve(models) as served:
        complete(served, durability="none")
        forecast(served, durability="async")
        opened = invoke(served, "NEW_SESSION", durability="none").headers["X-Amzn-SageMaker-Session-Id"]
        kept = [durability(served, session) for session in (TEXT, SERIES, opened.split(";")[0])]
        assert kept == ["none", "async", "none"]
        # The same again is the same; another is refused, and so is one of no session.
        assert complete(served, durability="none")["position"] == 8
        for told in (complete(served, durability="sync"), forecast(served, durability="sync")):
            assert "durability" in str(told["error"])
        for ask in (complete, forecast):
            told = ask(served, durability="sync", session_id=None)
            assert "only together with session_id" in str(told["error"])


def test_a_restored_session_says_so_once_in_every_schema(models: Path, tmp_path: Path) -> None:
    journal = f"sqlite://{tmp_path}/sessions.db"
    with serve(models, journal=journal) as served:
        complete(served)
        forecast(served)
        served.open(id=INSTANCE)
        served.open(id="frames")
        served.observe("frames", values=[1])
        assert "restored" not in complete(served) and "restored" not in forecast(served)
    with serve(models, journal=journal) as served:
        assert complete(served)["restored"] and "restored" not in complete(served)
        assert forecast(served)["restored"] and "restored" not in forecast(served)
        assert invoke(served, INSTANCE).json()["restored"] and "restored" not in invoke(served, INSTANCE).json()
        with served.stream("frames") as stream:
            for flags in (RESTORED, 0):
                stream.send(steps((1.0,)))
                answer = stream.recv(10)
                assert isinstance(answer, bytes) and HEADER.unpack_from(answer)[5] == flags
