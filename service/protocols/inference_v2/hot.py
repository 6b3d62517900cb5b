"""`POST /v2/models/{model}/infer` for the next steps of a forecaster's sequence, below ASGI, in JSON and binary.

What begins or ends a sequence, looks ahead, is compressed or is unusual in any other way is left to the application.
"""

from __future__ import annotations

import re
from functools import partial
from itertools import chain
from typing import Annotated

import msgspec
import numpy as np

from service.access.caller import Caller, enter
from service.contract.manifest import ForecastTask
from service.engine.job import Result
from service.engine.run import Run
from service.errors import UnrollError
from service.models.model import Model
from service.protocols.answering import to_json
from service.protocols.arrays import LARGEST, BoundedNumber
from service.protocols.context import Context
from service.protocols.hot.head import Head
from service.protocols.hot.routes import Exchange, Written, tell
from service.protocols.inference_v2 import wire
from service.protocols.inference_v2.compression import chosen_coding
from service.protocols.inference_v2.infer import infer
from service.protocols.inference_v2.sequences import session_id_of
from service.protocols.inference_v2.signature import signature_of
from service.protocols.session_use import expected
from service.sessions.session import Session
from service.sessions.step import Step
from service.sessions.transition import NOTHING_EXPECTED, Expected
from service.tasks.anomalies import has_anomaly
from service.tasks.forecast import observe_at_once
from service.tasks.series_inputs import Values

_PATH = re.compile(rb"/v2/models/(?P<model>[^/]+)/infer")
_VERSIONED_PATH = re.compile(rb"/v2/models/(?P<model>[^/]+)/versions/(?P<version>\d+)/infer")
_DIGITS = 18
"""Of a length in a header; a longer one is no length of anything."""
_Natural = Annotated[int, msgspec.Meta(ge=0)]


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    """Base of what takes the short way: a body with anything else does not decode."""


class _Sequence(_Strict):
    sequence_id: _Natural | str
    sequence_start: bool = False
    sequence_end: bool = False
    position: _Natural | msgspec.UnsetType = msgspec.UNSET
    idempotency_key: str | msgspec.UnsetType = msgspec.UNSET
    binary_data_output: bool = False


class _InputParameters(_Strict):
    binary_data_size: _Natural


class _Input(_Strict):
    name: str
    shape: list[_Natural]
    datatype: str
    parameters: _InputParameters | None = None
    data: list[BoundedNumber] | None = None


class _OutputParameters(_Strict):
    binary_data: bool


class _Output(_Strict):
    name: str
    parameters: _OutputParameters | None = None


class _Body(_Strict):
    inputs: list[_Input]
    parameters: _Sequence
    outputs: list[_Output] | None = None
    id: str = ""


_decode = msgspec.json.Decoder(_Body).decode
_HEAD = (
    b'{"model_name":%b,"model_version":"%d",%b'
    b'"parameters":{"sequence_id":%b,"position":%d,"durable_position":%d%b},"outputs":[%b]}'
)


class HotInfer:
    """The hot route, for the version in the path where it is to have one; see `HotRoute`."""

    def __init__(self, context: Context, *, versioned: bool = False) -> None:
        self._context = context
        self.template = "/v2/models/{model}/versions/{version}/infer" if versioned else "/v2/models/{model}/infer"
        self._path = _VERSIONED_PATH if versioned else _PATH

    def matches(self, path: bytes) -> bool:
        return self._path.fullmatch(path) is not None

    def begin(self, head: Head, body: bytes, caller: Caller, exchange: Exchange) -> bool:
        headers, json_length = head.headers, len(body)
        if (given := headers.get(b"inference-header-content-length")) is not None:
            if not given.isdigit() or len(given) > _DIGITS or not 0 < int(given) <= len(body):
                return False
            json_length = int(given)
        if chosen_coding(headers.get(b"accept-encoding", b"").decode()) is not None:
            return False
        try:
            asked = _decode(body[:json_length])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        session = self._session(head.path, asked.parameters, caller)
        wanted = None if session is None else _wanted(session.model, asked)
        steps = None if session is None else _steps(session.model, asked.inputs, body[json_length:])
        if session is None or wanted is None or steps is None:
            return False
        when = _expected(asked.parameters, headers.get(b"idempotency-key"))
        if when is None:
            return False
        again = partial(self._again, caller, head, body, json_length)
        then = partial(tell, exchange, partial(_answer, asked, wanted), again)
        return observe_at_once(session, steps, then, expected=when, limits=self._context.limits)

    async def _again(self, caller: Caller, head: Head, body: bytes, json_length: int) -> Written:
        """The answer to a step that another replica was faster at: it may be that very step."""
        enter(caller)
        found = self._path.fullmatch(head.path)
        assert found is not None
        model, version = found["model"].decode(), (found.groupdict().get("version") or b"").decode()
        key = head.headers.get(b"idempotency-key")
        asked = wire.read_request(
            body, json_length, model=model, version=version, key=None if key is None else key.decode()
        )
        content, header_length = await wire.write_answer(await infer(self._context, asked), asked)
        if header_length is None:
            return content, b"application/json", b""
        return content, b"application/octet-stream", b"inference-header-content-length: %d\r\n" % header_length

    def _session(self, path: bytes, asked: _Sequence, caller: Caller) -> Session | None:
        """The sequence's session, where it has begun and goes on."""
        if asked.sequence_start or asked.sequence_end or not asked.sequence_id:
            return None
        found = self._path.fullmatch(path)
        assert found is not None
        model, version = found["model"].decode(), found.groupdict().get("version")
        session = self._context.service.store.find(caller.own(session_id_of(model, asked.sequence_id)))
        if session is None or session.model.manifest.name != model:
            return None
        return session if version in (None, b"%d" % session.model.manifest.version) else None


def _expected(asked: _Sequence, header: bytes | None) -> Expected | None:
    """What the client expects; None where that takes more looking at."""
    position = None if asked.position is msgspec.UNSET else asked.position
    key = None if asked.idempotency_key is msgspec.UNSET else asked.idempotency_key
    if header is None and position is None and key is None:
        return NOTHING_EXPECTED
    if header is not None:
        if key not in (None, header.decode()):
            return None
        key = header.decode()
    try:
        return expected(position, key)
    except UnrollError:
        return None


def _wanted(model: Model, asked: _Body) -> list[tuple[str, bool]] | None:
    """The outputs to write, and whether each is written after the JSON; None where one is not the graph's own."""
    default = asked.parameters.binary_data_output
    own = [described.name for described in signature_of(model).outputs]
    if not asked.outputs:
        return [(name, default) for name in own]
    wanted = [
        (output.name, default if output.parameters is None else output.parameters.binary_data)
        for output in asked.outputs
    ]
    names = [name for name, _ in wanted]
    return wanted if len(set(names)) == len(names) and set(own).issuperset(names) else None


def _steps(model: Model, inputs: list[_Input], raw: bytes) -> Values | list[float | None] | None:
    """Values and covariates (T, 1 + K), a single step as a list; None where they are not what the model takes."""
    task = model.manifest.forecast
    if task is None or not inputs or inputs[0].name != "target" or len(inputs[0].shape) != 2:
        return None
    rows, length = inputs[0].shape
    if rows != 1 or length < 1 or not _are_as_expected(task, inputs, length):
        return None
    if all(tensor.data is not None for tensor in inputs):
        if raw or any(tensor.parameters is not None for tensor in inputs):
            return None
        lists = [tensor.data or [] for tensor in inputs]
        if [len(values) for values in lists] != [length, length * len(task.future_covariates)][: len(lists)]:
            return None
        flat_list = list(chain.from_iterable(lists))
        return flat_list if length == 1 else _joined(np.array(flat_list, np.float32), length)
    sizes = [tensor.parameters.binary_data_size for tensor in inputs if tensor.parameters and tensor.data is None]
    if sizes != [4 * length, 4 * length * len(task.future_covariates)][: len(inputs)] or sum(sizes) != len(raw):
        return None
    flat = np.frombuffer(raw, "<f4")
    return None if (np.abs(flat) > LARGEST).any() else _joined(flat, length)


def _are_as_expected(task: ForecastTask, inputs: list[_Input], length: int) -> bool:
    """Whether the inputs are the target and, where the model takes any, the covariates, in that order."""
    if any(tensor.datatype != "FP32" for tensor in inputs):
        return False
    if not task.future_covariates:
        return len(inputs) == 1
    return (
        len(inputs) == 2
        and inputs[1].name == "covariates"
        and inputs[1].shape == [1, length, len(task.future_covariates)]
    )


def _joined(flat: Values, length: int) -> Values:
    """Steps (T, 1 + K) from all values (T) followed by all covariates (T, K)."""
    if length == 1:
        return flat.reshape(1, -1)
    return np.concatenate((flat[:length, np.newaxis], flat[length:].reshape(length, -1)), axis=1)


def _answer(asked: _Body, wanted: list[tuple[str, bool]], step: Step, result: Result) -> tuple[bytes, ...]:
    """Body, media type and further headers."""
    manifest = step.session.model.manifest
    outputs, raw = _outputs(result.run, wanted)[result.first]
    head = _HEAD % (
        to_json(manifest.name),
        manifest.version,
        b'"id":%b,' % to_json(asked.id) if asked.id else b"",
        to_json(asked.parameters.sequence_id),
        step.start + result.steps,
        step.session.durable_position,
        b',"anomaly":true' if has_anomaly(step.session, result) else b"",
        outputs,
    )
    if not raw:
        return (head,)
    return head + raw, b"application/octet-stream", b"inference-header-content-length: %d\r\n" % len(head)


def _outputs(run: Run, wanted: list[tuple[str, bool]]) -> list[tuple[bytes, bytes]]:
    """For each row of a run the outputs as JSON describes them, and what comes after it; made for all rows at once."""
    key = f"inference_v2 {wanted}"
    made: list[tuple[bytes, bytes]] | None = run.kept.get(key)
    if made is None:
        columns = [_binary_column(run, name) if binary else _json_column(run, name) for name, binary in wanted]
        rows = zip(*columns, strict=True)
        made = run.kept[key] = [(b",".join(text for text, _ in row), b"".join(raw for _, raw in row)) for row in rows]
    return made


def _described(run: Run, name: str) -> bytes:
    levels = b",%d" % run.outputs[name].shape[2] if name == "quantiles" else b""
    return b'{"name":"%b","datatype":"FP32","shape":[1,%d%b],' % (name.encode(), run.steps, levels)


def _binary_column(run: Run, name: str) -> list[tuple[bytes, bytes]]:
    rows = np.ascontiguousarray(run.outputs[name], "<f4")
    size, raw = rows[0].nbytes, rows.tobytes()
    text = _described(run, name) + b'"parameters":{"binary_data_size":%d}}' % size
    return [(text, raw[start : start + size]) for start in range(0, len(raw), size)]


def _json_column(run: Run, name: str) -> list[tuple[bytes, bytes]]:
    described = _described(run, name)
    return [(described + b'"data":%b}' % _flat(text, name), b"") for text in run.json(name)]


def _flat(text: bytes, name: str) -> bytes:
    """An output of one row as a flat JSON list."""
    return text[1:-1].replace(b"],[", b",") if name == "quantiles" else text
