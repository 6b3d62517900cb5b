"""What tests of gRPC send and look at: Triton's own client, and calls as bytes where that client would not go."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import triton_to_np_dtype

SERVICE = "/inference.GRPCInferenceService/"
PATIENCE_S = 20.0


def values(*target: float, name: str = "target") -> list[triton.InferInput]:
    """One row of values, (1, T)."""
    return [tensor(name, [target])]


def tensor(name: str, content: Sequence[Any] | NDArray[Any], datatype: str = "FP32") -> triton.InferInput:
    """An input of whatever shape its content has."""
    array = np.array(content, triton_to_np_dtype(datatype))
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def centres(result: triton.InferResult) -> list[float]:
    """The medians of one row's quantiles, NaN as −1: of the running sum, the sum of all values before each."""
    quantiles: NDArray[np.float32] = result.as_numpy("quantiles")
    return [-1.0 if np.isnan(centre) else float(centre) for centre in quantiles[0, :, 1]]


def parameters(result: triton.InferResult) -> dict[str, Any]:
    """What an answer says beside its tensors."""
    told = result.get_response().parameters
    return {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in told.items()}


class Stream:
    """Triton's blocking client on one stream, its answers in the order they came."""

    def __init__(self, address: str) -> None:
        self._client = triton.InferenceServerClient(address)
        self._answers: queue.Queue[tuple[triton.InferResult | None, Any]] = queue.Queue()

    def send(self, model: str, inputs: list[triton.InferInput], **more: Any) -> None:
        self._client.async_stream_infer(model, inputs, **more)

    def next(self) -> tuple[triton.InferResult | None, Any]:
        """The next answer, and the error in its place."""
        return self._answers.get(timeout=PATIENCE_S)

    def results(self, count: int) -> list[triton.InferResult]:
        """The next answers, none of which may be an error."""
        found = []
        for _ in range(count):
            result, error = self.next()
            assert error is None and result is not None, error
            found.append(result)
        return found

    def start(self) -> None:
        self._client.start_stream(lambda result, error: self._answers.put((result, error)))

    def stop(self) -> None:
        self._client.stop_stream()
        self._client.close()


@contextmanager
def stream(address: str) -> Iterator[Stream]:
    """A stream that is ended with the context."""
    opened = Stream(address)
    opened.start()
    try:
        yield opened
    finally:
        opened.stop()


@contextmanager
def channel(address: str) -> Iterator[grpc.Channel]:
    """A bare channel that sends messages of any size."""
    with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as opened:
        yield opened


def call(address: str, method: str, content: bytes, **more: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """The status, details and trailing metadata of one call that fails."""
    with channel(address) as opened:
        answer: Any = opened.unary_unary(method)
        try:
            answer(content, **more)
        except grpc.RpcError as error:
            return (
                error.code(),
                error.details() or "",
                {each.key: str(each.value) for each in error.trailing_metadata()},
            )
    raise AssertionError("the call was answered")


def streamed(opened: grpc.Channel, requests: Iterable[bytes]) -> Any:
    """The answers to these requests on one stream, as they come; an error of the stream is raised in their place."""
    method: Any = opened.stream_stream(SERVICE + "ModelStreamInfer")
    return method(iter(requests))


def call_stream(address: str, requests: Iterable[bytes]) -> tuple[list[bytes], grpc.StatusCode]:
    """The answers to these requests on one stream, and the status it ended with."""
    answers: list[bytes] = []
    with channel(address) as opened:
        try:
            answers.extend(streamed(opened, requests))
        except grpc.RpcError as error:
            return answers, error.code()
    return answers, grpc.StatusCode.OK


def until(condition: Callable[[], object]) -> None:
    """Wait until something has become true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)
