"""Anomalies as every protocol tells them, and the counter of them."""

from __future__ import annotations

import struct
from itertools import count
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc
import tritonclient.http as http

from service.protocols.native.frames import ANOMALY, HEADER, SCORED
from service.protocols.sagemaker.sessions import SESSION_ID
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.protocols.hot.frames import steps
from tests.service.protocols.inference_v2.asking import ask, output, refused, tensor
from tests.service.protocols.serving import SCORED_SUM, Served

_numbers = count(70_000)


def counted(served: Served) -> float:
    """Anomalies of the scored sum so far."""
    name = f'unroll_anomalies_total{{model="{SCORED_SUM}"}} '
    lines = [line for line in served.client.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(lines[0].removeprefix(name)) if lines else 0.0


def test_flags_are_counted(served: Served) -> None:
    session, before = served.open(SCORED_SUM), counted(served)
    served.observe(session, values=[10, 100, None], position=0)
    served.observe(session, values=[10, 100, None], position=0)
    served.observe(session, values=[500])
    assert counted(served) == before + 2


def test_a_session_is_opened_with_a_threshold_and_tells_it(served: Served) -> None:
    session = served.open(SCORED_SUM, anomaly_threshold=0.25)
    assert served.observe(session, values=[10, 12])["anomaly"] == [False, True]
    assert served.client.get(f"/v1/sessions/{session}").json()["anomaly_threshold"] == 0.25
    fork = served.post(f"/v1/sessions/{session}/fork", {"anomaly_threshold": 0.3}).json()
    assert fork["anomaly_threshold"] == 0.3
    with served.stream(session) as stream:
        stream.send('{"type":"fork","anomaly_threshold":0.4}')
        assert '"anomaly_threshold":0.4' in str(stream.recv())


@pytest.mark.parametrize(
    ("model", "threshold", "message"),
    [
        (SCORED_SUM, 0, "anomaly_threshold: "),
        (SCORED_SUM, 1.5, "anomaly_threshold: "),
        (SCORED_SUM, "high", "anomaly_threshold: "),
        (NEXT_TOKEN, 0.9, "anomaly_threshold: expected with a forecaster"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(served: Served, model: str, threshold: Any, message: str) -> None:
    answer = served.post("/v1/sessions", {"model": model, "anomaly_threshold": threshold})
    assert answer.status_code == 422 and message in answer.json()["error"]["message"]


def test_many_sessions_are_told_in_one_request(served: Served) -> None:
    names = [served.open(SCORED_SUM, anomaly_threshold=t) for t in (None, 0.25)]
    sessions = [{"session_id": name, "values": [10, 12]} for name in names]
    data = served.post("/v1/observe", {"sessions": sessions}).json()["data"]
    assert [one["anomaly"] for one in data] == [[False, False], [False, True]]
    asked = [steps((22,)), steps((26,), flags=SCORED)]
    body = b"".join(struct.pack("<H", len(n)) + n.encode() + one for n, one in zip(names, asked, strict=True))
    binary = {"content-type": "application/octet-stream"}
    answer = served.client.post("/v1/observe", content=body, headers=binary).content
    (first,) = struct.unpack_from("<I", answer)
    assert HEADER.unpack_from(answer, 4)[4:6] == (4, 0)
    assert HEADER.unpack_from(answer, 4 + first + 4)[4:6] == (5, SCORED | ANOMALY)


def observed(served: Served, *values: float | None, outputs: list[str], model: str = SCORED_SUM, **more: Any) -> Any:
    return ask(served, tensor("target", [list(values)]), model=model, outputs=outputs, **more)


def test_a_sequence_is_asked_by_name_for_what_was_expected_and_for_flags(served: Served) -> None:
    names = ["expected", "interval", "anomaly_score", "anomaly"]
    told = observed(served, 10, 12, 30, outputs=names, sequence_id=next(_numbers), sequence_start=True).json()
    assert [one["name"] for one in told["outputs"]] == names
    assert output(told, "expected")[0, 1:].tolist() == [10, 22]
    assert output(told, "interval")[0, 1:].tolist() == [[9, 11], [21, 23]]
    assert output(told, "anomaly_score")[0, 1:].tolist() == [0.25, 1]
    assert told["outputs"][3]["datatype"] == "BOOL" and told["outputs"][3]["data"] == [False, False, True]
    assert told["parameters"]["anomaly"] is True


def test_a_sequence_may_have_a_threshold_of_its_own_from_its_start_on(served: Served) -> None:
    number = next(_numbers)
    start: dict[str, Any] = {"sequence_id": number, "sequence_start": True, "anomaly_threshold": 0.25}
    assert observed(served, 10, 12, outputs=["anomaly"], **start).json()["outputs"][0]["data"] == [False, True]
    later = observed(served, 1, outputs=["pit"], sequence_id=number, anomaly_threshold=0.5)
    assert "expected only where the sequence starts" in refused(later)


def test_rows_without_a_sequence_are_flagged_by_the_models_threshold(served: Served) -> None:
    told = observed(served, 10, 12, 30, outputs=["anomaly", "expected"]).json()
    assert told["outputs"][0]["data"] == [False, False, True] and "parameters" not in told
    strict = observed(served, 10, 12, outputs=["anomaly"], model=RUNNING_SUM, anomaly_threshold=0.9).json()
    assert strict["outputs"][0]["data"] == [False, True]


def test_a_text_model_takes_no_threshold_with_or_without_a_sequence(served: Served) -> None:
    started: dict[str, Any] = {"sequence_id": next(_numbers), "sequence_start": True}
    for sequence in ({}, started):
        tokens = tensor("tokens", [[1, 2]], "INT64")
        answer = ask(served, tokens, model=NEXT_TOKEN, anomaly_threshold=0.5, **sequence)
        assert "anomaly_threshold" in refused(answer)


def test_flags_are_refused_where_there_is_no_threshold_and_nothing_has_moved(served: Served) -> None:
    number = next(_numbers)
    assert "has no threshold" in refused(observed(served, 1, outputs=["anomaly"], model=RUNNING_SUM))
    begun = {"sequence_id": number, "sequence_start": True}
    assert observed(served, 1, outputs=["pit"], model=RUNNING_SUM, **begun).status_code == 200
    answer = observed(served, 1, outputs=["anomaly"], model=RUNNING_SUM, sequence_id=number)
    assert "give one as the parameter anomaly_threshold" in refused(answer)
    assert served.position(f"{RUNNING_SUM}:{number}") == 1


def test_tritons_clients_read_flags_as_booleans(served: Served) -> None:
    values, sequence = np.array([[10, 12, 30]], np.float32), next(_numbers)
    over_grpc = grpc.InferInput("target", [1, 3], "FP32")
    over_grpc.set_data_from_numpy(values)
    with grpc.InferenceServerClient(served.grpc_address) as client:
        wanted = [grpc.InferRequestedOutput("anomaly")]
        told = client.infer(SCORED_SUM, [over_grpc], outputs=wanted, sequence_id=sequence, sequence_start=True)
    assert told.as_numpy("anomaly").tolist() == [[False, False, True]]
    assert told.get_response().parameters["anomaly"].bool_param
    over_http = http.InferInput("target", [1, 3], "FP32").set_data_from_numpy(values, binary_data=True)
    with http.InferenceServerClient(served.url.removeprefix("http://")) as client:
        wanted = [http.InferRequestedOutput("anomaly", binary_data=True)]
        answer = client.infer(SCORED_SUM, [over_http], outputs=wanted)
    assert answer.as_numpy("anomaly").tolist() == [[False, False, True]]


SERIES = "/v1/timeseries/forecast"


def series(name: str, *values: float | None, **more: Any) -> dict[str, Any]:
    given = {"name": "s", "series": list(values), "session_id": name, **more}
    return {"model": SCORED_SUM, "inputs": [given], "options": {"horizon": 2}}


def test_new_values_of_a_series_are_told_of_beside_their_forecast(served: Served) -> None:
    (output,) = served.post(SERIES, series("kserve-anomalies", 10, 12, 30)).json()["outputs"]
    assert output["observed"] == {
        "expected": [None, 10, 22],
        "interval": {"level": 0.5, "lower": [None, 9, 21], "upper": [None, 11, 23]},
        "pit": [None, output["observed"]["pit"][1], output["observed"]["pit"][2]],
        "anomaly_score": [None, 0.25, 1],
        "anomaly": [False, False, True],
    }
    (nothing_new,) = served.post(SERIES, series("kserve-anomalies")).json()["outputs"]
    assert (
        "observed" not in nothing_new
        and "observed"
        not in served.post(SERIES, series("", 1) | {"inputs": [{"name": "s", "series": [1]}]}).json()["outputs"][0]
    )


def test_a_series_session_has_the_threshold_it_was_opened_with(served: Served) -> None:
    told = served.post(SERIES, series("kserve-strict", 10, 12, anomaly_threshold=0.25)).json()
    assert told["outputs"][0]["observed"]["anomaly"] == [False, True]
    answer = served.post(SERIES, series("kserve-strict", 1, anomaly_threshold=0.75))
    assert answer.status_code == 422
    assert "was opened with 0.25, got 0.75: leave it out" in answer.json()["error"]["message"]
    alone = {"model": SCORED_SUM, "inputs": [{"name": "s", "series": [1], "anomaly_threshold": 0.5}]}
    answer = served.post(SERIES, alone | {"options": {"horizon": 1}})
    assert "anomaly_threshold: expected only together with session_id" in answer.json()["error"]["message"]


def test_an_invocation_of_a_session_tells_of_its_new_values(served: Served) -> None:
    opening = {"requestType": "NEW_SESSION", "model": SCORED_SUM, "anomaly_threshold": 0.25}
    opened = served.post("/invocations", opening, **{SESSION_ID: "NEW_SESSION"})
    session = opened.headers["x-amzn-sagemaker-new-session-id"].split(";")[0]
    told = served.post("/invocations", {"instances": [{"target": [10, 12, 22]}]}, **{SESSION_ID: session}).json()
    assert told["observed"]["anomaly"] == [False, True, False]
    assert told["observed"]["expected"] == [None, 10, 22]
