"""Sessions over HTTP that the journal keeps: restored, listed, moved, taken along; and journals that cannot be used."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.sessions.ownership import SessionKey
from tests import known_models
from tests.known_models import RUNNING_SUM
from tests.service.protocols.serving import CALENDAR_SUM, Served, serve, write_models

Start = Callable[..., AbstractContextManager[Served]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def start(models: Path, tmp_path: Path) -> Start:
    """Serves on one file, again and again."""

    @contextmanager
    def started(folder: Path = models, **how: Any) -> Iterator[Served]:
        with serve(folder, **{"journal": f"sqlite://{tmp_path}/sessions.db", **how}) as served:
            yield served

    return started


def test_a_session_goes_on_after_a_restart_and_says_so_once(start: Start) -> None:
    with start() as served:
        session = served.open(seed=3)
        told = served.observe(session, values=[1, 2])
        assert told["durable_position"] == 2 and "restored" not in told
        before = served.client.get(f"/v1/sessions/{session}").json()
    with start() as served:
        after = served.client.get(f"/v1/sessions/{session}").json()
        assert after["restored"] and not before["restored"] and after["expires"] >= before["expires"] - 1
        assert {**after, "restored": False, "expires": 0} == {**before, "expires": 0}
        assert served.observe(session, values=[3])["restored"]
        assert "restored" not in served.observe(session, values=[3])


@pytest.mark.parametrize("way", ["bulk", "websocket", "sequence", "completion"])
def test_every_way_finds_a_session_that_only_the_journal_has(start: Start, way: str) -> None:
    series, text = f"{RUNNING_SUM}:7", "text"
    with start() as served:
        served.open(id=series)
        served.open(known_models.NEXT_TOKEN, id=text)
        served.observe(series, values=[5])
        served.observe(text, text="abc")
    with start() as served:
        if way == "bulk":
            asked = [{"session_id": name, "values": [1]} for name in (series, "never")]
            body: dict[str, Any] = {"sessions": asked}
            found, missing = served.post("/v1/observe", body).json()["data"]
            assert found["position"] == 2 and missing["error"]["code"] == "session_not_found"
        elif way == "websocket":
            with served.stream(series) as stream:
                stream.send('{"type":"observe","values":[1]}')
                assert '"position":2' in str(stream.recv()) and served.position(series) == 2
        elif way == "sequence":
            inputs = [{"name": "target", "datatype": "FP32", "shape": [1, 1], "data": [1]}]
            body = {"inputs": inputs, "parameters": {"sequence_id": 7}}
            answer = served.post(f"/v2/models/{RUNNING_SUM}/infer", body).json()
            assert answer["parameters"]["position"] == 2 and answer["parameters"]["restored"]
        else:
            body = {"model": known_models.NEXT_TOKEN, "prompt": "d", "max_tokens": 2, "session_id": text}
            assert served.post("/v1/completions", body).status_code == 200
            assert served.position(text) == 6


def test_lists_hold_every_session_once_wherever_it_is(start: Start) -> None:
    with start() as served:
        kept = [served.open(id=f"s{number}") for number in range(7)]
        other = served.open(known_models.NEXT_TOKEN, id="text")
    with start() as served:
        kept += [served.open(id=f"t{number}") for number in range(3)]
        forgetful = [served.open(id=f"a{number}", durability="none") for number in range(3)]
        served.observe("s3", values=[1])
        for limit in (1, 2, 5, 100):
            seen: list[dict[str, Any]] = []
            after: str | None = None
            while True:
                query = {"limit": str(limit)} | ({"after": after} if after else {})
                page = served.client.get("/v1/sessions", params=query).json()
                seen += page["data"]
                if (after := page["next"]) is None:
                    break
            assert [one["id"] for one in seen] == sorted([*kept, other]) + forgetful
        assert seen[3]["position"] == 1 and seen[3]["restored"] and not seen[4]["restored"]
        only = served.client.get("/v1/sessions", params={"model": known_models.NEXT_TOKEN}).json()["data"]
        assert [one["id"] for one in only] == [other]
        assert served.context.service.store.find(SessionKey("s0")) is None, "a list brings nothing into memory"


def test_closing_many_closes_those_in_the_journal_too(start: Start) -> None:
    with start() as served:
        for number in range(5):
            served.open(id=f"s{number}")
        text = served.open(known_models.NEXT_TOKEN)
    with start() as served:
        served.observe("s1", values=[1])
        assert served.client.delete("/v1/sessions", params={"idle_for_s": 3600}).json() == {"closed": 0}
        assert served.client.delete("/v1/sessions", params={"model": RUNNING_SUM}).json() == {"closed": 5}
    with start() as served:
        assert [one["id"] for one in served.client.get("/v1/sessions").json()["data"]] == [text]


def test_a_durability_that_does_not_exist_is_refused(start: Start) -> None:
    with start() as served:
        answer = served.post("/v1/sessions", {"model": RUNNING_SUM, "durability": "maybe"})
        assert answer.status_code == 422 and answer.json()["error"]["parameter"] == "durability"
        session = served.open(durability="none")
        assert served.observe(session, values=[1, 2])["durable_position"] == 0


def test_a_session_may_move_to_another_version_of_the_same_layout(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    known_models.running_sum(folder)
    with start(folder) as served:
        for name in ("resident", "stored", "gone"):
            served.open(id=name)
            served.observe(name, values=[1, 2])
    known_models.running_sum(folder, version=2)
    with start(folder) as served:
        served.observe("resident", values=[3])
        for name, position in (("resident", 3), ("stored", 2)):
            moved = served.post(f"/v1/sessions/{name}/migrate", {}).json()
            assert (moved["version"], moved["position"]) == (2, position)
        assert served.observe("resident", values=[0])["quantiles"]["values"][0][1] == 6
    shutil.rmtree(folder / RUNNING_SUM / "1")
    with start(folder) as served:
        refused = served.post("/v1/sessions/gone/observe", {"values": [1]})
        assert refused.status_code == 409 and refused.json()["error"]["code"] == "version_gone"
        told = served.client.get("/v1/sessions", params={"limit": 1}).json()["data"][0]
        assert (told["id"], told["version"], told["position"]) == ("gone", 1, 2) and "migrate" in told["error"]
        assert served.post("/v1/sessions/gone/migrate", {"version": 2}).json()["position"] == 2
        assert served.observe("gone", values=[0])["quantiles"]["values"][0][1] == 3
        other = served.post("/v1/sessions/gone/migrate", {"model": CALENDAR_SUM})
        assert other.status_code == 404
    with start(folder) as served:
        assert served.observe("stored", values=[0])["quantiles"]["values"][0][1] == 3


def test_a_session_does_not_move_to_a_version_whose_rows_hold_something_else(start: Start) -> None:
    with start() as served:
        session = served.open()
        answer = served.post(f"/v1/sessions/{session}/migrate", {"model": known_models.NEXT_TOKEN})
        assert answer.status_code == 422 and "same state layout" in answer.json()["error"]["message"]
        assert served.observe(session, values=[1])["position"] == 1


def snapshot_of(served: Served, session: str) -> str:
    answer = served.client.get(f"/v1/sessions/{session}/snapshot")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/octet-stream"
    return base64.b64encode(answer.content).decode()


def test_a_snapshot_opens_a_session_that_stands_where_the_other_did(start: Start) -> None:
    with start() as served:
        session = served.open(seed=5)
        served.observe(session, values=[1, 2], position=0)
        snapshot = snapshot_of(served, session)
        served.observe(session, values=[100])
    with start() as served:
        again = served.open(snapshot=snapshot, id="again")
        told = served.client.get("/v1/sessions/again").json()
        assert (told["position"], told["seed"], told["durable_position"]) == (2, 5, 2)
        assert served.observe(again, values=[1, 2], position=0)["repeated"]
        assert served.observe(again, values=[0])["quantiles"]["values"][0][1] == 3


def test_a_snapshot_is_refused_for_another_model_or_when_it_was_touched(start: Start) -> None:
    with start() as served:
        snapshot = snapshot_of(served, served.open())
        blob = bytearray(base64.b64decode(snapshot))
        blob[40] ^= 1
        for body, said in (
            ({"model": known_models.NEXT_TOKEN, "snapshot": snapshot}, "of model running-sum/1, not of next-token/1"),
            ({"model": RUNNING_SUM, "snapshot": base64.b64encode(blob).decode()}, "its checksum is wrong"),
            ({"model": RUNNING_SUM, "snapshot": "AAAA"}, "expected a snapshot of the format"),
            ({"model": RUNNING_SUM, "snapshot": snapshot, "static_covariates": {"a": 1}}, "a snapshot has its own"),
        ):
            answer = served.post("/v1/sessions", body)
            assert answer.status_code == 422 and said in answer.json()["error"]["message"], answer.text


def test_servers_of_one_key_take_each_others_snapshots(models: Path) -> None:
    with serve(models, snapshot_key="k" * 16) as one, serve(models, snapshot_key="k" * 16) as two:
        snapshot = snapshot_of(one, one.open(seed=5))
        assert two.client.get(f"/v1/sessions/{two.open(snapshot=snapshot)}").json()["seed"] == 5
    with serve(models, snapshot_key="another key of its own") as three:
        answer = three.post("/v1/sessions", {"model": RUNNING_SUM, "snapshot": snapshot})
        assert answer.status_code == 422 and "signed with another key" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be looked at" * 10, b"SQLite format 3\0" * 99]
)
def test_a_journal_that_cannot_be_used_is_left_alone_and_readiness_says_why(
    start: Start, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "sessions.db"
    file.write_bytes(content)
    with start() as served:
        ready = served.client.get("/health/ready")
        assert ready.status_code == 503 and "journal" in ready.json()["reasons"][0]
        answer = served.post("/v1/sessions", {"model": RUNNING_SUM})
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"]["code"] == "journal_unavailable"
        assert served.client.get("/v1/sessions/a").status_code == 503
        series = [{"type": "univariate_time_series", "name": "a", "series": [1, 2, 3], "frequency": "1h"}]
        body = {"model": RUNNING_SUM, "inputs": series, "options": {"horizon": 1}}
        assert served.post("/v1/timeseries/forecast", body).status_code == 200, "what needs no session is served"
    assert file.read_bytes() == content


def test_a_file_that_another_service_uses_is_left_to_it(start: Start, tmp_path: Path) -> None:
    with start() as first:
        session = first.open()
        with start() as second:
            assert second.client.get("/health/ready").status_code == 503
        assert first.observe(session, values=[1])["position"] == 1


def test_metrics_tell_of_the_journal(start: Start) -> None:
    with start() as served:
        session = served.open()
        served.observe(session, values=[1])
        text = served.client.get("/metrics").text
        for line in (
            "unroll_journal_commits_total 2.0",
            'unroll_journal_entries_total{outcome="stored"} 2.0',
            "unroll_journal_commit_entries_count 2.0",
            "unroll_journal_commit_seconds_count 2.0",
            "unroll_journal_lag_seconds 0.0",
        ):
            assert line in text
    with start() as served:
        served.client.get(f"/v1/sessions/{session}")
        assert (
            'unroll_session_events_total{event="restored",model="running-sum"} 1.0'
            in served.client.get("/metrics").text
        )
