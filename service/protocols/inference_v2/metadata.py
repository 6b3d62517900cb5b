"""What V2 tells of the server and its models: metadata, readiness, and the configuration as Triton would have it."""

from __future__ import annotations

from typing import Any

from service.models.model import Model
from service.protocols.context import Context
from service.protocols.inference_v2.signature import Described, signature_of
from service.protocols.model_names import find_model

SERVER_NAME = "unroll"
SERVER_VERSION = "0.1.0"
"""The package's; said here because the image holds the source alone. A test compares the two."""
PLATFORM = "onnx_onnxv1"
"""The standard's name for ONNX models."""
EXTENSIONS = (
    "sequence",
    "sequence(string_id)",
    "binary_tensor_data",
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "model_configuration",
    "parameters",
    "statistics",
)
"""Exactly those that are implemented. Triton names none for `generate`, so neither is one named here."""


def find(context: Context, name: str, version: str) -> Model:
    """The model of that name, the newest version if none is named.

    Raises:
        ModelNotFound: there is none.
    """
    return find_model(context.service.repository, f"{name}/{version}" if version else name)


def is_ready(context: Context) -> bool:
    """Whether the server can answer inference requests now."""
    ready, _ = context.service.ready()
    return ready and not context.traffic.draining


def server_metadata() -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return {"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": list(EXTENSIONS)}


def model_metadata(context: Context, name: str, version: str = "") -> dict[str, Any]:
    """A model's versions, inputs and outputs.

    Raises:
        ModelNotFound: there is none of that name and version.
    """
    model = find(context, name, version)
    signature = signature_of(model)
    known = [other.manifest.version for other in context.service.repository.models() if other.manifest.name == name]
    return {
        "name": name,
        "versions": [str(number) for number in sorted(known)],
        "platform": PLATFORM,
        "inputs": [_tensor_metadata(described) for described in signature.inputs],
        "outputs": [_tensor_metadata(described) for described in signature.outputs],
    }


def model_config(context: Context, name: str, version: str = "") -> dict[str, Any]:
    """A model's configuration in the terms of Triton's `ModelConfig`; dimensions leave out the batch.

    Raises:
        ModelNotFound: there is none of that name and version.
    """
    model = find(context, name, version)
    signature, settings = signature_of(model), context.settings
    return {
        "name": name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"all": {}},
        "max_batch_size": settings.max_inputs,
        "input": [
            _tensor_config(described) | {"format": "FORMAT_NONE", "optional": described.optional}
            for described in signature.inputs
        ],
        "output": [_tensor_config(described) for described in signature.outputs],
        "instance_group": [
            {
                "name": name,
                "kind": "KIND_GPU" if context.service.repository.device.name == "cuda" else "KIND_CPU",
                "count": 1,
            }
        ],
        "sequence_batching": {
            "oldest": {"max_candidate_sequences": settings.max_sessions, "max_queue_delay_microseconds": 0},
            "max_sequence_idle_microseconds": int(settings.session_time_to_live_s * 1e6),
        },
        "model_transaction_policy": {"decoupled": False},
    }


def _tensor_metadata(described: Described) -> dict[str, Any]:
    return {"name": described.name, "datatype": described.datatype, "shape": list(described.shape)}


def _tensor_config(described: Described) -> dict[str, Any]:
    return {
        "name": described.name,
        "data_type": f"TYPE_{described.datatype}",
        "dims": list(described.shape[1:]),
        "is_shape_tensor": False,
    }
