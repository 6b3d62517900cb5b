"""Health and metrics."""

from __future__ import annotations

from pathlib import Path

from tests import known_models
from tests.service.protocols.serving import Served, serve


def value(text: str, sample: str) -> float:
    """The value of one sample in Prometheus' text format; 0 where it is not there."""
    lines = [line for line in text.splitlines() if line.startswith(sample + " ")]
    return float(lines[0].rsplit(" ", 1)[1]) if lines else 0.0


def test_a_running_service_is_live_and_ready(served: Served) -> None:
    assert served.client.get("/health/live").json() == {"status": "live"}
    assert served.client.get("/health/ready").json() == {"status": "ready"}


def test_a_service_without_models_is_live_and_not_ready(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        assert served.client.get("/health/live").status_code == 200
        answer = served.client.get("/health/ready")
        assert answer.status_code == 503 and answer.json()["reasons"] == ["no model version is loaded"]


def test_what_happens_is_counted(tmp_path: Path) -> None:
    known_models.running_sum(tmp_path)
    known_models.next_token(tmp_path)
    (broken := known_models.running_sum(tmp_path, version=2)).joinpath("weights.bin").write_bytes(b"x")
    assert broken.exists()
    with serve(tmp_path) as served:
        session, text_session = served.open(), served.open(known_models.NEXT_TOKEN)
        served.observe(session, values=[1, 2, 3])
        served.observe(text_session, text="abcd")
        served.post(f"/v1/sessions/{text_session}/generate", {"max_tokens": 5})
        served.post("/v1/completions", {"model": known_models.NEXT_TOKEN, "prompt": "ab", "max_tokens": 7})
        served.post(f"/v1/sessions/{session}/observe", {"values": ["x"]})
        served.client.delete(f"/v1/sessions/{session}")
        with served.stream(text_session) as stream:
            stream.send('{"type":"session"}')
            stream.recv(10)
            text = served.client.get("/metrics").text
    model = f'model="{known_models.RUNNING_SUM}"'
    assert value(text, f'unroll_session_events_total{{event="opened",{model}}}') == 1
    assert value(text, f'unroll_session_events_total{{event="closed",{model}}}') == 1
    assert value(text, f"unroll_sessions{{{model}}}") == 0
    assert value(text, f'unroll_steps_total{{graph="observe",{model}}}') == 3
    tokens = f'model="{known_models.NEXT_TOKEN}"'
    assert value(text, f'unroll_tokens_total{{direction="prompt",{tokens}}}') == 6
    assert value(text, f'unroll_tokens_total{{direction="completion",{tokens}}}') == 12
    assert value(text, f"unroll_state_bytes{{{tokens}}}") > 0
    assert value(text, "unroll_websocket_connections") == 1
    assert value(text, "unroll_models_ready") == 2 and value(text, "unroll_models_rejected") == 1
    observe = 'method="POST",route="/v1/sessions/{session_id}/observe"'
    assert value(text, f'unroll_requests_total{{{observe},status="200"}}') == 2
    assert value(text, f'unroll_requests_total{{{observe},status="422"}}') == 1
    assert value(text, 'unroll_request_seconds_count{route="/v1/completions"}') == 1
    assert value(text, f'unroll_run_rows_count{{graph="observe",{model}}}') >= 1
    assert session not in text


def test_tokens_of_a_repeated_request_are_counted_once(tmp_path: Path) -> None:
    known_models.next_token(tmp_path)
    with serve(tmp_path) as served:
        session = served.open(known_models.NEXT_TOKEN)
        for _ in range(3):
            served.observe(session, text="abcd", position=0)
        text = served.client.get("/metrics").text
    assert value(text, f'unroll_tokens_total{{direction="prompt",model="{known_models.NEXT_TOKEN}"}}') == 4
