"""Every route of the application, asked without a key, with a wrong one, without the right, and for another's session.

The routes are the application's own: one that is added and not told of here fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Mount, Route, WebSocketRoute

from service.app import create_app
from service.settings import Settings
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.protocols.keyed import KEYS, WRONG, bearing, keyed, of
from tests.service.protocols.serving import CALENDAR_SUM, Served

APP = create_app(Settings(models=Path("none"), journal="memory:", device="cpu"))
ROUTES = sorted(
    (method, route.path)
    for route in APP.routes
    if isinstance(route, Route)
    for method in (route.methods or set()) - {"HEAD"}
)
OPEN = {"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/ping"}
ANY_KEY = {"/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}
PREDICT = {
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{name:path}"),
    ("GET", "/v2"),
    ("GET", "/v2/models/stats"),
    ("POST", "/v2/repository/index"),
    *(
        ("GET", f"/v2/models/{{model}}{version}{what}")
        for version in ("", "/versions/{version}")
        for what in ("", "/ready", "/config", "/stats")
    ),
}
ADMIN = {
    ("POST", "/v1/models/reload"),
    ("POST", "/v2/repository/models/{model}/load"),
    ("POST", "/v2/repository/models/{model}/unload"),
    ("GET", "/metrics"),
}
SESSION = "/v1/sessions/{session_id}"
BODIES: dict[str, Any] = {
    "/v1/sessions": {"model": RUNNING_SUM},
    "/v1/observe": {"sessions": [{"session_id": "own", "values": [1]}]},
    "/v1/forecast": {"sessions": [{"session_id": "own", "horizon": 1}]},
    f"{SESSION}/observe": {"values": [1]},
    f"{SESSION}/forecast": {"horizon": 2},
    f"{SESSION}/generate": {"steps": 1},
    f"{SESSION}/checkpoints": {"name": "here"},
}
SESSIONS = {
    ("GET", "/v1/sessions"),
    ("DELETE", "/v1/sessions"),
    ("POST", "/v1/sessions"),
    ("POST", "/v1/observe"),
    ("POST", "/v1/forecast"),
    ("GET", SESSION),
    ("DELETE", SESSION),
    ("GET", f"{SESSION}/snapshot"),
    *((method, f"{SESSION}/checkpoints") for method in ("GET", "POST")),
    ("DELETE", f"{SESSION}/checkpoints/{{name}}"),
    *(("POST", f"{SESSION}/{what}") for what in ("observe", "forecast", "generate", "fork", "migrate")),
}
TENSOR = {"name": "target", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}
SERIES = {"type": "univariate_time_series", "name": "x", "series": [1.0, 2.0], "frequency": "1h"}
MIXED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "/v1/completions": (
        {"model": NEXT_TOKEN, "prompt": "a", "max_tokens": 1},
        {"model": NEXT_TOKEN, "prompt": "a", "max_tokens": 1, "session_id": "own"},
    ),
    "/v1/score": ({"model": NEXT_TOKEN, "text": "a"}, {"session_id": "own", "text": "a"}),
    "/v1/timeseries/forecast": (
        {"model": RUNNING_SUM, "inputs": [SERIES], "options": {"horizon": 1}},
        {"model": RUNNING_SUM, "inputs": [SERIES | {"session_id": "series"}], "options": {"horizon": 1}},
    ),
    "/invocations": (
        {"model": RUNNING_SUM, "instances": [{"start": "2024-07-01 00:00:00", "target": [1.0]}]},
        {"model": RUNNING_SUM, "requestType": "NEW_SESSION"},
    ),
    **{
        f"/v2/models/{{model}}{version}/infer": (
            {"inputs": [TENSOR]},
            {"inputs": [TENSOR], "parameters": {"sequence_id": 7, "sequence_start": True}},
        )
        for version in ("", "/versions/{version}")
    },
    **{
        f"/v2/models/{{model}}{version}/{what}": (
            {"text_input": "a", "parameters": {"max_tokens": 1}},
            {"text_input": "a", "parameters": {"max_tokens": 1, "sequence_id": 8, "sequence_start": True}},
        )
        for version in ("", "/versions/{version}")
        for what in ("generate", "generate_stream")
    },
}
"""Routes that serve with and without a session, with a body of each kind."""


@pytest.fixture(scope="module")
def served(protocol_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with keyed(protocol_models, tmp_path_factory.mktemp("keys"), grpc_port=0) as running:
        running.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": "own"}, headers=of("alice"))
        yield running


def address(path: str, session: str = "own") -> str:
    model = NEXT_TOKEN if "generate" in path and path.startswith("/v2") else RUNNING_SUM
    if path.startswith("/v2/repository"):
        model = CALENDAR_SUM  # which nothing else here needs
    parts = {"{session_id}": session, "{name:path}": model, "{model}": model, "{version}": "1"}
    for name, value in parts.items():
        path = path.replace(name, value)
    return path


def ask(served: Served, method: str, path: str, headers: dict[str, str], body: Any = None) -> httpx.Response:
    content = body if body is not None else BODIES.get(path)
    if content is None and path in MIXED:
        content = MIXED[path][0]
    query = {"idle_for_s": "1e6"} if (method, path) == ("DELETE", "/v1/sessions") else None
    return served.client.request(method, address(path), params=query, headers=headers, json=content or {})


def tells_error(path: str, answer: httpx.Response) -> bool:
    """Whether an answer has the shape of its protocol's errors, and shows no key."""
    told = answer.json()["error"]
    assert not any(key in answer.text for key in (*KEYS.values(), WRONG))
    if path.startswith("/v2"):
        return isinstance(told, str)
    if path.startswith("/v1/completions"):
        return set(told) == {"message", "type", "param", "code"}
    return set(told) >= {"code", "message"}


def test_nothing_is_served_that_is_not_told_of_here() -> None:
    told = {path for _, path in PREDICT | ADMIN | SESSIONS} | OPEN | ANY_KEY | MIXED.keys()
    assert {path for _, path in ROUTES} == told
    assert [route.path for route in APP.routes if isinstance(route, WebSocketRoute)] == [f"{SESSION}/stream"]
    others = [route for route in APP.routes if not isinstance(route, Route | WebSocketRoute)]
    assert (
        [route.path for route in others if isinstance(route, Mount)]
        == ["/static-offline-docs"]
        == [getattr(route, "path", None) for route in others]
    )


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "headers", [{}, bearing(WRONG), {"x-api-key": WRONG}], ids=["none", "wrong", "in another header"]
)
def test_without_a_known_key_only_what_is_open_answers(
    served: Served, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = ask(served, method, path, headers)
    if path in OPEN:
        assert answer.status_code == 200
    else:
        assert answer.status_code == 401, answer.text
        assert answer.headers["www-authenticate"] == "Bearer"
        assert tells_error(path, answer)


@pytest.mark.parametrize(("method", "path"), [one for one in ROUTES if one[1] not in OPEN | ANY_KEY | MIXED.keys()])
def test_a_key_without_the_right_is_refused_and_one_with_it_is_not(served: Served, method: str, path: str) -> None:
    place = (method, path)
    needed = "predict" if place in PREDICT else "admin" if place in ADMIN else "sessions"
    holders = {"predict": {"alice", "bob", "reader"}, "sessions": {"alice", "bob", "keeper"}, "admin": {"operator"}}
    for name in ("reader", "keeper", "operator"):
        answer = ask(served, method, path, of(name))
        if name in holders[needed]:
            assert answer.status_code not in (401, 403), answer.text
        else:
            assert answer.status_code == 403, (name, answer.text)
            assert tells_error(path, answer)


@pytest.mark.parametrize("path", sorted(MIXED))
def test_with_a_session_one_right_is_needed_and_without_it_another(served: Served, path: str) -> None:
    alone, in_session = MIXED[path]
    assert ask(served, "POST", path, of("reader"), alone).status_code == 200
    assert ask(served, "POST", path, of("keeper"), in_session).status_code == 200
    for name, body in (("reader", in_session), ("keeper", alone), ("operator", alone), ("operator", in_session)):
        answer = ask(served, "POST", path, of(name), body)
        assert answer.status_code == 403, (name, answer.text)
        assert tells_error(path, answer)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css"])
def test_any_key_shows_the_documentation(served: Served, path: str) -> None:
    assert served.client.get(path, headers=of("operator")).status_code == 200
    assert served.client.get(path).status_code == 401


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1/nothing", "/v2/nothing", "/", "/v1/sessions/a/b/c", "//metrics", "/health", "/ping/"]
)
def test_what_is_not_served_is_not_told_without_a_key(served: Served, path: str) -> None:
    assert served.client.get(path).status_code == 401
    assert served.client.get(path, headers=of("reader")).status_code == 404


@pytest.mark.parametrize("path", [path for _, path in sorted(SESSIONS) if path.startswith(SESSION)])
@pytest.mark.parametrize(
    "session", ["own", "alice/own", "alice%2Fown", "own%00", "..%2Falice%2Fown", "bob/../alice/own"]
)
def test_another_owners_session_is_simply_not_there(served: Served, path: str, session: str) -> None:
    before = served.client.get("/v1/sessions/own", headers=of("alice")).json()
    for method in [method for method, known in sorted(SESSIONS) if known == path]:
        answer = served.client.request(
            method, address(path, session), headers=of("bob"), json=None if method == "GET" else BODIES.get(path) or {}
        )
        assert answer.status_code == 404, answer.text
        never = served.client.request(
            method, address(path, "never"), headers=of("bob"), json=None if method == "GET" else BODIES.get(path) or {}
        )
        if session == "own":
            assert (
                answer.text.replace("own", "never").partition("request_id")[0] == never.text.partition("request_id")[0]
            )
    assert served.client.get("/v1/sessions/own", headers=of("alice")).json() == before | {
        "expires": pytest.approx(before["expires"], abs=60)
    }


def test_the_description_tells_what_right_each_route_asks_for(served: Served) -> None:
    document = served.client.get("/openapi.json", headers=of("reader")).json()
    assert {"bearer", "header"} == set(document["components"]["securitySchemes"])
    for method, path in ROUTES:
        if path in ANY_KEY:
            continue
        operation = document["paths"][path.replace(":path", "")][method.lower()]
        place = (method, path)
        needed = "predict" if place in PREDICT else "admin" if place in ADMIN else "sessions"
        if path in OPEN:
            assert "security" not in operation
        elif path in MIXED:
            assert "the right `predict`, or `sessions` where a session is meant" in operation["description"]
        elif place in (("GET", "/v1/sessions"), ("DELETE", "/v1/sessions"), ("DELETE", SESSION)):
            assert "the right `sessions`, or `admin` where `owner` is named" in operation["description"]
        else:
            assert operation["description"].endswith(f"With API keys: the right `{needed}`.")
