"""The port: opened and closed with the service, bounded, and off where nobody wants it."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import tritonclient.grpc as triton

from benchmarks.server import ROOT
from service.__main__ import main
from service.protocols.inference_v2 import inference_pb2 as messages
from service.protocols.inference_v2.grpc_server import listening
from tests.known_models import RUNNING_SUM
from tests.service.protocols.inference_v2.grpc_clients import (
    SERVICE,
    call,
    centres,
    channel,
    parameters,
    streamed,
    until,
    values,
)
from tests.service.protocols.serving import Served, serve
from tests.service.running import gated

INFER = SERVICE + "ModelInfer"


def test_turned_off_nothing_of_it_is_there(running_sum_models: Path) -> None:
    with serve(running_sum_models, grpc_port=-1) as served:
        assert served.context.ports == {}
    code = "import service.app, sys; sys.exit('grpc' in sys.modules or 'google.protobuf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_port_in_use_ends_the_service_with_the_reason(served: Served) -> None:
    port = served.grpc_address.split(":")[1]
    command = [sys.executable, "-m", "service", "--port", "0", "--grpc-port", port]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr.startswith(f"python -m service: UNROLL_GRPC_PORT: port {port} cannot be listened on")
    assert ended.stderr.count("\n") == 1


def test_one_port_for_both_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "8042", "--grpc-port", "8042"]) == 2
    assert capsys.readouterr().err.endswith("UNROLL_GRPC_PORT: expected another port than UNROLL_PORT\n")


@pytest.mark.anyio
async def test_a_port_is_never_shared(served: Served) -> None:
    settings = replace(served.context.settings, grpc_port=served.context.ports["grpc"])
    with pytest.raises(RuntimeError, match="bind"):
        async with listening(replace(served.context, settings=settings)):
            raise AssertionError("two services listen on one port")


def test_a_message_that_is_too_long_is_refused(served: Served) -> None:
    code, details, _ = call(served.grpc_address, INFER, bytes(300_000))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and "200000" in details


def test_a_message_that_grows_too_long_is_refused(served: Served) -> None:
    code, _, _ = call(served.grpc_address, INFER, bytes(20_000_000), compression=grpc.Compression.Gzip)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_what_is_no_message_is_refused(served: Served) -> None:
    code, details, told = call(served.grpc_address, INFER, b"\xff\xff", metadata=[("x-request-id", "mine")])
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details == "expected a message inference.ModelInferRequest, got 2 bytes that are none"
    assert told["x-request-id"] == "mine" and told["unroll-code"] == "bad_request"


def test_a_method_that_is_none_is_refused(served: Served) -> None:
    code, details, _ = call(served.grpc_address, SERVICE + "Generate", b"")
    assert code is grpc.StatusCode.UNIMPLEMENTED and details.startswith("Generate: not implemented")
    assert call(served.grpc_address, "/other.Service/Method", b"")[0] is grpc.StatusCode.UNIMPLEMENTED


def request_of(sequence: int = 0, **parameters: int) -> messages.ModelInferRequest:
    """One step of the running sum."""
    request = messages.ModelInferRequest(model_name=RUNNING_SUM)
    request.inputs.add(name="target", datatype="FP32", shape=[1, 1]).contents.fp32_contents.append(1)
    for name, value in {"sequence_id": sequence, **parameters}.items():
        request.parameters[name].int64_param = value
    return request


def test_a_conflict_tells_both_positions(served: Served) -> None:
    with triton.InferenceServerClient(served.grpc_address) as client:
        client.infer(RUNNING_SUM, values(1), sequence_id=801, sequence_start=True)
    request = request_of(801, position=5)
    code, _, told = call(served.grpc_address, INFER, request.SerializeToString())
    assert code is grpc.StatusCode.ABORTED and told["unroll-position"] == "1"


@pytest.mark.parametrize("wanted", [True, False])
def test_what_the_compiled_client_says_in_every_request_is_understood(served: Served, wanted: bool) -> None:
    request = request_of()
    request.parameters["triton_enable_empty_final_response"].bool_param = wanted
    with channel(served.grpc_address) as opened:
        method: Any = opened.unary_unary(INFER)
        answer = messages.ModelInferResponse.FromString(method(request.SerializeToString()))
    assert [answer.parameters[name].bool_param for name in answer.parameters] == [True] * wanted


def test_calls_and_streamed_requests_are_counted(served: Served) -> None:
    def counted() -> dict[str, float]:
        lines = served.client.get("/metrics").text.splitlines()
        found = (line.rsplit(" ", 1) for line in lines if line.startswith("unroll_requests_total") and "GRPC" in line)
        return {series: float(count) for series, count in found}

    before = counted()
    with triton.InferenceServerClient(served.grpc_address) as client:
        client.infer(RUNNING_SUM, values(1))
    call(served.grpc_address, INFER, b"\xff\xff")
    after = counted()
    grown = {series: after[series] - before.get(series, 0) for series in after if after[series] != before.get(series)}
    label = 'unroll_requests_total{{method="GRPC",route="/inference.GRPCInferenceService/ModelInfer",status="{}"}}'
    assert grown == {label.format(0): 1, label.format(3): 1}


def until_active(served: Served, count: int) -> None:
    """Wait until so many requests are being answered."""
    until(lambda: served.context.traffic.active == count)


def code_at_end(answers: Any) -> grpc.StatusCode:
    """The status of a stream that has nothing more to tell."""
    with pytest.raises(grpc.RpcError) as ended:
        next(answers)
    code: grpc.StatusCode = ended.value.code()
    return code


def test_a_stop_finishes_what_runs_and_refuses_what_is_new(running_sum_models: Path) -> None:
    results: queue.Queue[tuple[Any, Any]] = queue.Queue()
    seen: list[Any] = []
    with serve(running_sum_models, grpc_port=0) as served:
        client = triton.InferenceServerClient(served.grpc_address)
        model = served.context.service.repository.get(RUNNING_SUM)
        with channel(served.grpc_address) as opened, client, gated(model) as gate:
            client.infer(RUNNING_SUM, values(1), sequence_id=1, sequence_start=True)
            waiting = queue.Queue[bytes]()
            idle, busy = streamed(opened, iter(queue.Queue[bytes]().get, b"")), streamed(opened, iter(waiting.get, b""))
            gate.close()
            client.async_infer(
                RUNNING_SUM, values(2), lambda result, error: results.put((result, error)), sequence_id=1
            )
            waiting.put(request_of().SerializeToString())
            until_active(served, 2)

            def watch_it_stop() -> None:
                until(lambda: served.context.traffic.draining)
                seen.append(call(served.grpc_address, INFER, b""))
                seen.append((client.is_server_live(), client.is_server_ready(), client.is_model_ready(RUNNING_SUM)))
                seen.append(code_at_end(idle))
                gate.open()
                seen.append(messages.ModelStreamInferResponse.FromString(next(busy)).error_message)
                seen.append(code_at_end(busy))

            watcher = threading.Thread(target=watch_it_stop)
            watcher.start()
            served.stop()
            result, error = results.get(timeout=20)
            watcher.join(20)
    assert error is None and centres(result) == [1] and parameters(result)["position"] == 2
    (code, _, told), *rest = seen
    assert code is grpc.StatusCode.UNAVAILABLE and told["grpc-retry-pushback-ms"] == "1000"
    unavailable = grpc.StatusCode.UNAVAILABLE
    assert rest == [(True, False, False), unavailable, "", unavailable]


def test_a_stop_without_grace_refuses_what_waits(running_sum_models: Path) -> None:
    results: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with serve(running_sum_models, grpc_port=0, shutdown_grace_s=0.0) as served:
        with (
            triton.InferenceServerClient(served.grpc_address) as client,
            gated(served.context.service.repository.get(RUNNING_SUM)) as gate,
        ):
            gate.close()
            for running in (1, 2):
                client.async_infer(RUNNING_SUM, values(2), lambda result, error: results.put((result, error)))
                until_active(served, running)
            started = time.monotonic()
            threading.Timer(0.5, gate.open).start()
            served.stop()
            answers = [results.get(timeout=20) for _ in range(2)]
    assert time.monotonic() - started < 10
    # A run cannot be broken off, so that its answer is given.
    assert sorted("" if error is None else error.status() for _, error in answers) == ["", "StatusCode.UNAVAILABLE"]
