"""Triton's model repository extension: what there is, and loading and unloading by name."""

from __future__ import annotations

import asyncio

from service.errors import InputMismatch
from service.protocols.context import Context
from service.protocols.inference_v2.core import Parameters


async def index(context: Context, *, ready: bool = False) -> list[dict[str, str]]:
    """Every model version there is in the repository, or only those that serve."""
    listed = await asyncio.to_thread(context.service.repository.index)
    return [
        {
            "name": entry.name,
            "version": entry.version,
            "state": "READY" if entry.reason is None else "UNAVAILABLE",
            "reason": entry.reason or "",
        }
        for entry in listed
        if entry.reason is None or not ready
    ]


async def load(context: Context, name: str, parameters: Parameters) -> None:
    """Load what the repository holds of a model: versions that are new or changed, and all if it was unloaded.

    Raises:
        InputMismatch: a parameter is given, or a version is kept out.
        ModelNotFound: the repository has no such model.
    """
    for given in parameters:
        raise InputMismatch(
            f"parameters.{given[:60]}: models are loaded as they were published: put the files into the model "
            "repository, and load without parameters",
            parameter=given[:60],
        )
    await context.service.load(name)


async def unload(context: Context, name: str, parameters: Parameters) -> None:
    """Let go of all versions of a model; open sequences go on until they end.

    Raises:
        InputMismatch: an unknown parameter.
        ModelNotFound: no such model is loaded.
    """
    for given, value in parameters.items():
        # No model depends on another, so that either answer is carried out.
        if given != "unload_dependents" or not isinstance(value, bool):
            raise InputMismatch(
                f"parameters.{given[:60]}: expected nothing but unload_dependents, true or false", parameter=given[:60]
            )
    await context.service.unload(name)
