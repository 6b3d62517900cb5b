"""What browsers are told: headers of every answer, pages of other origins, and the documentation page's policy."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from service.access.web import SECURITY_HEADERS
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.protocols.keyed import keyed, of
from tests.service.protocols.serving import Served, serve

APP = "https://app.example.com"
EVIL = "https://evil.example"


@pytest.fixture(scope="module")
def allowing(protocol_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with keyed(protocol_models, tmp_path_factory.mktemp("keys"), cors_origins=f"{APP},http://localhost:3000") as served:
        yield served


def test_every_answer_has_the_headers_that_browsers_heed(served: Served) -> None:
    session = served.open()
    answers = [
        served.client.get("/v1/models"),
        served.client.get("/nothing"),
        served.client.get("/health/ready"),
        served.client.get("/docs"),
        served.client.get("/v2"),
        served.client.get("/openapi.json"),
        served.post(f"/v1/sessions/{session}/observe", {"values": [1.0]}),
        served.post(f"/v1/sessions/{session}/observe", {"values": "x"}),
        served.post("/v1/completions", {"model": NEXT_TOKEN, "prompt": "a", "max_tokens": 2, "stream": True}),
    ]
    for answer in answers:
        for name, value in SECURITY_HEADERS:
            assert answer.headers.get_list(name) == [value], answer.url
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
def test_a_page_may_run_its_own_scripts_and_no_others(served: Served, path: str) -> None:
    answer = served.client.get(path)
    (policy,) = answer.headers.get_list("content-security-policy")
    inline = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    for script in inline:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "script-src 'self'" in policy and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    for loaded in re.findall(r"(?:src|href)=\"([^\"]+)\"", answer.text):
        assert loaded.startswith(("/", "#")), "nothing comes from elsewhere"


def test_data_has_no_policy_of_pages(served: Served) -> None:
    assert "content-security-policy" not in served.client.get("/v1/models").headers


# Pages of other origins


def test_pages_of_other_origins_may_not_ask_unless_they_are_listed(served: Served) -> None:
    session = served.open()
    for method, path in (
        ("GET", "/v1/models"),
        ("POST", f"/v1/sessions/{session}/observe"),
        ("DELETE", f"/v1/sessions/{session}"),
    ):
        answer = served.client.request(method, path, headers={"Origin": EVIL}, json={"values": [1.0]})
        assert answer.status_code == 403 and answer.json()["error"]["code"] == "not_allowed"
        assert "access-control-allow-origin" not in answer.headers
    preflight = {"Origin": EVIL, "Access-Control-Request-Method": "POST"}
    assert served.client.options(f"/v1/sessions/{session}/observe", headers=preflight).status_code == 403
    assert served.position(session) == 0
    own = served.url  # the documentation page of this very service
    assert (
        served.client.post(
            f"/v1/sessions/{session}/observe", headers={"Origin": own}, json={"values": [1.0]}
        ).status_code
        == 200
    )


def test_a_page_cannot_open_a_websocket_from_elsewhere(served: Served) -> None:
    url = f"{served.url.replace('http', 'ws')}/v1/sessions/{served.open()}/stream"
    with pytest.raises(InvalidStatus) as refused, connect(url, origin=Origin(EVIL)):
        pass
    assert refused.value.response.status_code == 403
    with connect(url, origin=Origin(served.url)) as connection:
        connection.send('{"type":"session"}')
        assert "session" in str(connection.recv())


def test_a_name_that_points_here_from_elsewhere_is_not_answered_where_nobody_shows_a_key(served: Served) -> None:
    for path in ("/v1/models", "/v1/sessions", "/metrics", "/docs"):
        answer = served.client.get(path, headers={"Host": "rebound.evil.example:8000"})
        assert answer.status_code == 403 and "UNROLL_CORS_ORIGINS" in answer.json()["error"]["message"]
    assert served.client.get("/health/ready", headers={"Host": "rebound.evil.example"}).status_code == 200


def test_with_keys_any_name_is_answered(allowing: Served) -> None:
    answer = allowing.client.get("/v1/models", headers={"Host": "api.example.com", **of("alice")})
    assert answer.status_code == 200


def test_a_listed_origin_is_let_in_by_cors_and_another_is_not(allowing: Served) -> None:
    preflight = {
        "Origin": APP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
    }
    answer = allowing.client.options("/v1/sessions", headers=preflight)
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == APP
    assert "access-control-allow-credentials" not in answer.headers
    evil = allowing.client.options("/v1/sessions", headers=preflight | {"Origin": EVIL})
    assert evil.status_code == 400 and "access-control-allow-origin" not in evil.headers
    body = {"model": RUNNING_SUM}
    opened = allowing.client.post("/v1/sessions", json=body, headers=of("alice") | {"Origin": APP})
    assert opened.status_code == 201 and opened.headers["access-control-allow-origin"] == APP
    assert "x-request-id" in opened.headers["access-control-expose-headers"].lower()
    observed = allowing.client.post(
        f"/v1/sessions/{opened.json()['id']}/observe", json={"values": [1.0]}, headers=of("alice") | {"Origin": APP}
    )
    assert observed.status_code == 200 and observed.headers["access-control-allow-origin"] == APP
    refused = allowing.client.post("/v1/sessions", json=body, headers={"Origin": APP})
    assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == APP
    assert allowing.client.post("/v1/sessions", json=body, headers=of("alice") | {"Origin": EVIL}).status_code == 403


# Settings


def test_metrics_may_be_open_where_keys_are_asked_for(protocol_models: Path, tmp_path: Path) -> None:
    with keyed(protocol_models, tmp_path, metrics_access="open") as served:
        assert served.client.get("/metrics").status_code == 200
        assert served.client.get("/v1/models").status_code == 401


def test_a_listed_name_is_answered_without_keys(protocol_models: Path) -> None:
    with serve(protocol_models, cors_origins="http://unroll.example.com") as served:
        assert served.client.get("/v1/models", headers={"Host": "unroll.example.com"}).status_code == 200


@pytest.mark.parametrize("host", ["service:8000", "replica:8000", "unroll.internal"])
def test_in_a_network_of_containers_it_is_asked_by_its_name_there(protocol_models: Path, host: str) -> None:
    with serve(protocol_models, host="0.0.0.0", authentication="off") as served:
        assert served.client.get("/metrics", headers={"Host": host}).status_code == 200


def test_what_a_page_of_another_site_loads_is_refused_and_a_link_followed(served: Served) -> None:
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert served.client.get("/v1/models", headers=image).status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert served.client.get("/docs", headers=link).status_code == 200
