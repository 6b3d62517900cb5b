"""The OpenAPI page: schemas from the message structs, a worked example on every route."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.responses import Response

_SCHEMAS = "#/components/schemas/{name}"


@dataclass(frozen=True)
class Route:
    """One HTTP route: where it is, what answers, and what the page shows of it.

    Args:
        body: the type of the request's JSON, if it has one.
        example: a body that works against the bundled models.
        answer: an example of what comes back.
        parameters: query parameters and headers, name → (where, meaning).
    """

    method: str
    path: str
    handler: Any
    answer: Any
    status: int = 200
    body: Any = None
    example: Any = None
    parameters: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    media_type: str = "application/json"

    def add_to(self, app: FastAPI, tag: str) -> None:
        """Register the route; its docstring becomes the description."""
        first, _, rest = (self.handler.__doc__ or "").strip().partition("\n")
        app.router.add_api_route(
            self.path,
            self.handler,
            methods=[self.method],
            status_code=self.status,
            tags=[tag],
            summary=first.rstrip("."),
            description=rest.strip() or None,
            response_model=None,
            response_class=Response,
            responses={self.status: {"description": "as in the example", "content": self._answer()}},
            openapi_extra=self._request(),
        )

    def _answer(self) -> dict[str, Any]:
        return {self.media_type: {"example": self.answer}}

    def _request(self) -> dict[str, Any]:
        parameters = [
            {"name": name, "in": where, "required": False, "description": meaning, "schema": {"type": "string"}}
            for name, (where, meaning) in self.parameters.items()
        ]
        extra: dict[str, Any] = {"parameters": parameters} if parameters else {}
        if self.body is not None:
            (schema,), _ = msgspec.json.schema_components([self.body], ref_template=_SCHEMAS)
            content = {"schema": schema, "example": self.example}
            extra["requestBody"] = {"required": True, "content": {"application/json": content}}
        return extra


def describe_with_structs(app: FastAPI, routes: Iterable[Route], extra_types: Iterable[Any]) -> None:
    """Make the application's OpenAPI document name the schemas of all messages."""
    bodies = [route.body for route in routes if route.body is not None]
    _, components = msgspec.json.schema_components([*bodies, *extra_types], ref_template=_SCHEMAS)
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            # FastAPI's own error shape is nowhere answered.
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for path in document["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
            schemas.update(components)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
