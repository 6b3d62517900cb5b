"""Routes of models: what there is, what was kept out and why, and looking again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.models.model import Model
from service.models.repository import Repository
from service.protocols.answering import json_answer
from service.protocols.context import context_of
from service.protocols.model_names import find_model


async def list_models(request: Request) -> Response:
    """List models, each by its newest version, and what was kept out.

    The shape of OpenAI's list, with facts from the manifest beside.
    """
    repository = context_of(request).service.repository
    newest = {model.manifest.name: model for model in repository.models()}
    return json_answer(
        {
            "object": "list",
            "data": [describe(model, repository) for model in newest.values()],
            "rejected": [_rejected(key, reason) for key, reason in sorted(repository.rejected.items())],
        }
    )


async def get_model(request: Request, name: str) -> Response:
    """Get a model: `name` for the newest version, `name/version` for that one."""
    repository = context_of(request).service.repository
    return json_answer(describe(find_model(repository, name), repository, in_full=True))


async def reload_models(request: Request) -> Response:
    """Look at the model repository again: load what is new, let go of what is gone.

    Open sessions stay on the version they were opened with.
    """
    report = await context_of(request).service.reload()
    return json_answer(
        {
            "loaded": [model.manifest.id for model in report.loaded],
            "removed": [model.manifest.id for model in report.removed],
            "rejected": [_rejected(key, reason) for key, reason in sorted(report.rejected.items())],
        }
    )


def describe(model: Model, repository: Repository, *, in_full: bool = False) -> dict[str, Any]:
    """Facts of one version; `in_full` with how it was trained."""
    manifest = model.manifest
    known = [other.manifest.version for other in repository.models() if other.manifest.name == manifest.name]
    facts: dict[str, Any] = {
        "id": manifest.name,
        "object": "model",
        "created": int(_unix_time(manifest.created)),
        "owned_by": "unroll",
        "version": manifest.version,
        "versions": sorted(known),
        "ready": True,
        "task": manifest.task,
        "description": manifest.description,
        "license": manifest.license,
        "cell": manifest.cell,
        "state_bytes": 4 * manifest.state.width,
    }
    section = manifest.forecast or manifest.tokens
    assert section is not None
    facts[manifest.task] = section.model_dump(mode="json", exclude={"tokenizer"}, exclude_none=True)
    facts["metrics"] = manifest.training.metrics
    if in_full:
        facts["training"] = manifest.training.model_dump(mode="json")
        facts["rejected"] = [
            _rejected(key, reason)
            for key, reason in sorted(repository.rejected.items())
            if key.startswith(f"{manifest.name}/")
        ]
    return facts


def _rejected(key: str, reason: str) -> dict[str, str]:
    name, _, version = key.partition("/")
    return {"id": name, "version": version, "reason": reason}


def _unix_time(created: str) -> float:
    try:
        return datetime.fromisoformat(created).timestamp()
    except ValueError:
        return 0.0
