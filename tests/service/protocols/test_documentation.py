"""The OpenAPI document: complete, true, and free of shapes that are never answered."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from service.protocols import inference_v2, kserve_timeseries, native, openai, operations, sagemaker
from service.protocols.documentation import Route
from service.protocols.glossary import FIELDS
from service.protocols.reading import decode
from tests.service.protocols.serving import Served, serve

BUNDLED = Path(__file__).parents[3] / "models"

ROUTES = [
    *native.ROUTES,
    *openai.ROUTES,
    *kserve_timeseries.ROUTES,
    *sagemaker.ROUTES,
    *operations.routes("admin"),
    *inference_v2.ROUTES,
]


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body is not None], ids=name_of)
def test_every_example_is_a_request_that_is_read(route: Route) -> None:
    decode(route.body, json.dumps(route.example))


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_every_route_is_described_with_an_example(served: Served, route: Route) -> None:
    document = served.client.get("/openapi.json").json()
    operation = document["paths"][route.path.replace(":path", "")][route.method.lower()]
    assert operation["summary"]
    answer = operation["responses"][str(route.status)]
    if route.answer is None:
        assert "content" not in answer
    else:
        assert answer["content"][route.media_type]["example"]
    if route.body is not None:
        assert operation["requestBody"]["content"]["application/json"]["schema"]


def test_every_reference_leads_somewhere_and_nothing_is_the_frameworks(served: Served) -> None:
    document = served.client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    text = json.dumps(document)
    assert "HTTPValidationError" not in text

    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
            return own + [found for inner in part.values() for found in references(inner)]
        return [found for inner in part for found in references(inner)] if isinstance(part, list) else []

    assert references(document)
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas


@pytest.mark.skipif(not (BUNDLED / "pjm-load").exists(), reason="the bundled models are not there")
def test_every_example_works_against_the_bundled_models() -> None:
    with serve(BUNDLED) as served:
        for route in (route for route in ROUTES if route.body is not None):
            path = route.path.replace("{session_id}", "poem" if "/generate" in route.path else "meter-17")
            model = "shakespeare" if "/generate" in path else "pjm-load"
            path = path.replace("{model}", model).replace("{version}", "1")
            if "poem" in path:
                served.open("shakespeare", id="poem")
            answer = served.client.request(route.method, path, json=route.example)
            assert answer.status_code == route.status, (path, answer.text)


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_every_route_tells_of_its_errors_in_its_protocols_shape(served: Served, route: Route) -> None:
    document = served.client.get("/openapi.json").json()
    responses = document["paths"][route.path.replace(":path", "")][route.method.lower()]["responses"]
    told = {int(status) for status in responses if status != str(route.status)}
    if route.needs == "open":
        assert not told
        return
    assert told >= {401, 403, 429, 503}
    if route.body is not None:
        assert told >= {400, 413, 415}
    for status in told:
        for example in responses[str(status)]["content"]["application/json"]["examples"].values():
            assert example["summary"] and example["value"]["error"]


def test_every_field_of_a_message_says_what_it_means_and_nothing_else_is_explained(served: Served) -> None:
    schemas = served.client.get("/openapi.json").json()["components"]["schemas"]
    fields = {(name, field) for name, schema in schemas.items() for field in schema.get("properties", {})}
    silent = [f"{name}.{field}" for name, field in fields if "description" not in schemas[name]["properties"][field]]
    assert not silent
    known = {f"{name}.{field}" for name, field in fields} | {field for _, field in fields}
    assert set(FIELDS) <= known


def test_the_page_is_served(served: Served) -> None:
    assert "swagger" in served.client.get("/docs").text.lower()


def test_the_documentation_page_needs_nothing_from_elsewhere(served: Served) -> None:
    page = served.client.get("/docs").text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert addresses and not [address for address in addresses if "//" in address]
    for address in addresses:
        assert served.client.get(address).status_code == 200, address
