"""The OpenAPI page: schemas from the message structs, a worked example on every route."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Literal

import msgspec
from fastapi import FastAPI
from starlette.responses import Response

from service.access.caller import Right, caller
from service.protocols.glossary import add_meanings

_SCHEMAS = "#/components/schemas/{name}"


Needs = Right | Literal["open", "key", "predict or sessions", "sessions or admin"]
"""What a route asks of its caller: nothing at all; any API key; one with that right; or with either right, and which it
is depends on what is asked."""


@dataclass(frozen=True)
class Route:
    """One HTTP route: where it is, what answers and for whom, and what the page shows of it.

    Args:
        needs: what the caller must have; checked here, before the handler is asked.
        body: the type of the request's JSON, if it has one.
        example: a body that works against the bundled models.
        answer: an example of what comes back; None where that is nothing.
        parameters: query parameters and headers, name → (where, meaning).
    """

    method: str
    path: str
    handler: Any
    answer: Any
    needs: Needs
    status: int = 200
    body: Any = None
    example: Any = None
    parameters: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    media_type: str = "application/json"

    def __post_init__(self) -> None:
        object.__setattr__(self, "handler", _guarded(self.handler, self.needs))

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
            responses={self.status: {"description": "as in the example"} | self._answer()},
            openapi_extra=self._request(),
        )

    def _answer(self) -> dict[str, Any]:
        return {} if self.answer is None else {"content": {self.media_type: {"example": self.answer}}}

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


def check(needs: Needs) -> None:
    """Raises NotAllowed where the present caller has nothing of what is needed."""
    if needs != "open":
        who = caller.get()  # nobody has come in where this is not known
        if needs != "key":
            who.require_any(needs.split(" or "))


def _guarded(handler: Any, needs: Needs) -> Any:
    """The handler, asked only for callers who may."""

    @wraps(handler)
    async def guarded(*args: Any, **kwargs: Any) -> Response:
        check(needs)
        answer: Response = await handler(*args, **kwargs)
        return answer

    return guarded


_KEY_STYLES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key, where the service asks for one"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "the same"},
}
_NEEDED = {
    "key": "With API keys: any.",
    "predict or sessions": "With API keys: the right `predict`, or `sessions` where a session is meant.",
    "sessions or admin": "With API keys: the right `sessions`, or `admin` where `owner` is named.",
    **{right: f"With API keys: the right `{right}`." for right in ("predict", "sessions", "admin")},
}


def _describe_keys(document: dict[str, Any], routes: Iterable[Route]) -> None:
    """Tell how API keys are shown, and what right each route asks for."""
    document["components"]["securitySchemes"] = _KEY_STYLES
    for route in routes:
        if route.needs != "open":
            operation = document["paths"][route.path.replace(":path", "")][route.method.lower()]
            operation["security"] = [{}, *({style: []} for style in _KEY_STYLES)]
            described = (operation.get("description"), _NEEDED[route.needs])
            operation["description"] = "\n\n".join(part for part in described if part)


def describe_with_structs(
    app: FastAPI,
    routes: Iterable[Route],
    extra_types: Iterable[Any],
    complete: Callable[[dict[str, Any]], None] = lambda document: None,
) -> None:
    """Make the application's OpenAPI document name the schemas of all messages; `complete` adds what else it tells."""
    routes = list(routes)
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
            add_meanings(components)
            schemas.update(components)
            _describe_keys(document, routes)
            complete(document)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
