"""Pieces come back in order from any number of processes, and a failure or a signal ends all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("torch")

from training.errors import TrainingError
from training.evaluation.parallel import Stopped, in_processes


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def fail_at_two(number: int) -> int:
    if number == 2:
        raise TrainingError("two: expected another number")
    return number


def wait_long(number: int) -> int:
    time.sleep(0.01 if number == 0 else 250)
    return number


def test_one_job_works_in_this_process() -> None:
    found = in_processes(square, [3, 1, 2], jobs=1)
    assert found == [(9, os.getpid()), (1, os.getpid()), (4, os.getpid())]


def test_several_jobs_work_elsewhere_and_keep_the_order() -> None:
    shares: list[float] = []
    found = in_processes(square, [3, 1, 2], jobs=2, advanced=shares.append)
    assert [result for result, _ in found] == [9, 1, 4]
    assert os.getpid() not in {process for _, process in found}
    assert shares == sorted(shares) and shares[-1] == 1


def test_the_error_of_a_piece_is_the_error_of_all() -> None:
    with pytest.raises(TrainingError, match="two: expected another number"):
        in_processes(fail_at_two, [1, 2, 3], jobs=2)


def test_a_process_that_is_ended_from_outside_is_told_with_what_to_try() -> None:
    with pytest.raises(TrainingError, match="one was ended from outside, .* try fewer --jobs"):
        in_processes(end_itself, [1, 2], jobs=2)


def end_itself(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_signal_ends_the_work_at_once_and_says_how_much_was_done() -> None:
    def interrupt(share: float) -> None:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    began = time.monotonic()
    with pytest.raises(Stopped, match="stopped after 1 of 3 parts"):
        in_processes(wait_long, [0, 1, 2], jobs=2, advanced=interrupt)
    assert time.monotonic() - began < 200


def test_ctrl_c_in_a_terminal_reaches_all_processes_and_is_told_once() -> None:
    code = "from tests.training.evaluation.test_parallel import wait_until_stopped; wait_until_stopped()"
    command = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert command.stdout is not None and command.stdout.readline() == "begun\n"
    time.sleep(0.3)  # the processes start
    os.killpg(command.pid, signal.SIGINT)
    assert command.communicate(timeout=60)[0] == "stopped after 0 of 2 parts\n"


def wait_until_stopped() -> None:
    print("begun", flush=True)
    try:
        in_processes(wait_long, [1, 2], jobs=2)
    except Stopped as stop:
        print(stop)


def test_in_one_process_the_piece_at_work_is_finished_first() -> None:
    def interrupt(share: float) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="stopped after 1 of 2 parts"):
        in_processes(square, [1, 2], advanced=interrupt)


def test_nothing_to_do_is_nothing() -> None:
    assert in_processes(square, [], jobs=4) == []
