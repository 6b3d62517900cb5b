"""SageMaker's stateful sessions: opened on the way or beforehand, exactly once, and shared with every other route."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.protocols.sagemaker.sessions import SESSION_ID
from tests.service.protocols.sagemaker.deepar_model import DEEPAR, HORIZON
from tests.service.protocols.serving import Served

NEW = {SESSION_ID: "NEW_SESSION"}


def series(*target: Any, start: str | None = None, cat: list[int] | None = None) -> dict[str, Any]:
    given = {"target": target, "dynamic_feat": [[0.0] * (len(target) + HORIZON)], "start": start, "cat": cat}
    return {"instances": [{name: value for name, value in given.items() if value is not None}]}


def invoke(served: Served, body: dict[str, Any], session: str | None = None, **headers: str) -> httpx.Response:
    return served.post("/invocations", body, **({} if session is None else {SESSION_ID: session}), **headers)


def opened(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-amzn-sagemaker-new-session-id"]).split(";")[0]


def new_session(served: Served, **more: Any) -> str:
    return opened(invoke(served, {"requestType": "NEW_SESSION", "cat": [0, 1], **more}))


def told(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_session_goes_on_where_it_stands(deepar: Served) -> None:
    whole = new_session(deepar, start="2024-07-01", seed=5)
    parts = new_session(deepar, start="2024-07-01", seed=5)
    at_once = told(invoke(deepar, series(1, 2, "NaN", 4), whole))
    told(invoke(deepar, series(1, 2), parts))
    later = told(invoke(deepar, series(None, 4), parts))
    seen, all_seen = later.pop("observed"), at_once.pop("observed")
    assert [seen[name] for name in ("pit", "expected")] == [all_seen[name][2:] for name in ("pit", "expected")]
    assert later == at_once
    assert told(invoke(deepar, series(), parts)) == at_once
    assert at_once["position"] == 4


def test_the_first_instance_opens_a_session_on_its_way(deepar: Served) -> None:
    answer = invoke(deepar, series(1, 2, start="2024-07-01", cat=[0, 1]), **NEW)
    session = opened(answer)
    assert told(answer)["position"] == 2
    facts = deepar.client.get(f"/v1/sessions/{session}").json()
    assert facts["model"] == DEEPAR and facts["first_timestamp"] == "2024-07-01T00:00:00Z"


def test_a_first_instance_that_is_refused_leaves_no_session_behind(deepar: Served) -> None:
    before = len(deepar.context.service.store)
    for body in (series(1), series(1, cat=[0, 1]) | {"position": 4}, series(1, cat=[0, 1]), series(1, cat=[9, 1])):
        assert invoke(deepar, body, **NEW).status_code in (400, 409)
    assert len(deepar.context.service.store) == before


def test_a_request_sent_again_is_carried_out_once(deepar: Served) -> None:
    session = new_session(deepar, start="2024-07-01")
    body = series(1, 2) | {"position": 0}
    first, again = (told(invoke(deepar, body, session)) for _ in range(2))
    assert first == again and deepar.position(session) == 2
    other = invoke(deepar, series(1, 3) | {"position": 0}, session)
    assert other.status_code == 409 and other.json()["error"]["code"] == "position_conflict"
    by_key = [told(invoke(deepar, series(3), session, **{"idempotency-key": "k"})) for _ in range(2)]
    assert by_key[0] == by_key[1] and deepar.position(session) == 3


def test_gaps_are_filled_by_the_start_of_what_is_new(deepar: Served) -> None:
    session = new_session(deepar, start="2024-07-01")
    told(invoke(deepar, series(1, 2, start="2024-07-01"), session))
    assert told(invoke(deepar, series(5, start="2024-07-05"), session))["position"] == 5


def test_a_time_to_live_may_be_chosen(deepar: Served) -> None:
    session = new_session(deepar, time_to_live_s=60)
    assert deepar.client.get(f"/v1/sessions/{session}").json()["time_to_live_s"] == 60


def test_any_session_of_the_service_can_be_meant(deepar: Served) -> None:
    session = deepar.open(DEEPAR, first_timestamp="2024-07-01T00:00:00Z", static_covariates={"store": "a", "kind": "x"})
    assert told(invoke(deepar, series(1), session))["position"] == 1
    named = invoke(deepar, series(2) | {"model": "next-token"}, session)
    assert named.status_code == 400 and named.json()["error"]["parameter"] == "session_id"


@pytest.mark.parametrize(
    ("body", "session", "status", "words"),
    [
        ({"requestType": "CLOSE"}, None, 400, "expected the session to close, got none"),
        ({"requestType": "CLOSE"}, "NEW_SESSION", 400, "expected the session to close, got none"),
        ({"requestType": "CLOSE"}, "nobody", 404, "there is no session"),
        ({"requestType": "CLOSE", "force": True}, "nobody", 400, "force: unknown parameter"),
        ({"requestType": "NEW_SESSION", "cat": [0, 1]}, "nobody", 400, "expected NEW_SESSION with requestType"),
        ({"requestType": "NEW_SESSION"}, "NEW_SESSION", 400, "cat: expected a number for each of store, kind"),
        ({"requestType": "NEW_SESSION", "model": "next-token"}, None, 400, "use a forecast model"),
        (series(1), "nobody", 404, "there is no session"),
        ({"instances": series(1)["instances"] * 2}, "nobody", 400, "expected one in a session, got 2"),
    ],
)
def test_what_no_session_can_do_is_named(
    deepar: Served, body: dict[str, Any], session: str | None, status: int, words: str
) -> None:
    answer = invoke(deepar, body, session)
    assert answer.status_code == status and words in answer.json()["error"]["message"], answer.text


def test_categories_are_taken_at_the_opening_alone(deepar: Served) -> None:
    session = new_session(deepar, start="2024-07-01")
    refused = invoke(deepar, series(1, cat=[0, 1]), session)
    assert refused.status_code == 400 and "only when the session is opened" in refused.json()["error"]["message"]


def test_a_session_without_a_time_is_refused_where_the_model_looks_at_the_calendar(deepar: Served) -> None:
    session = new_session(deepar)
    refused = invoke(deepar, series(1), session)
    assert refused.status_code == 400 and "looks at the calendar" in refused.json()["error"]["message"]
    assert deepar.position(session) == 0
