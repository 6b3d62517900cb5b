"""Independent pieces of work in several processes, with progress, and stopped at once when somebody asks for it."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from training.errors import TrainingError
from training.interrupt import StopRequest, stop_on_signal

Piece = TypeVar("Piece")
Result = TypeVar("Result")

SECONDS_BETWEEN_LOOKS = 0.2


class Stopped(Exception):
    """The work was stopped by a signal; says how much of it was done."""

    def __init__(self, done: int, pieces: int, work: str = "") -> None:
        super().__init__(f"stopped after {done} of {pieces} parts{f' of {work}' if work else ''}")
        self.done, self.pieces = done, pieces


def in_processes(
    work: Callable[[Piece], Result],
    pieces: Sequence[Piece],
    jobs: int = 1,
    advanced: Callable[[float], None] = lambda share: None,
    *,
    apart: bool = False,
) -> list[Result]:
    """`work` done on each piece, in their order; with one job, or one piece, in this process.

    The processes are spawned, since threads do not survive a fork: `work` is a function of a module, pieces and
    results can be pickled, and a script that calls this guards its main part by `if __name__ == "__main__"`.

    Args:
        advanced: told the share that is done, after each piece.
        apart: in processes of their own, even if it is only one: for work that prints, or stops at a signal by itself.

    Raises:
        Stopped: SIGINT or SIGTERM came; nothing goes on in the background.
        TrainingError: a process was ended from outside.
    """
    with stop_on_signal() as request:
        if min(jobs, len(pieces)) <= 1 and not apart:
            return _here(work, pieces, request, advanced)
        return _elsewhere(work, pieces, jobs, request, advanced)


@contextmanager
def stopped_by_signal(advanced: Callable[[float], None], pieces: int) -> Iterator[Callable[[float], None]]:
    """`advanced` for work in this process, which raises `Stopped` there after SIGINT or SIGTERM."""
    with stop_on_signal() as request:

        def told(share: float) -> None:
            advanced(share)
            if request.made and share < 1:
                raise Stopped(round(share * pieces), pieces)

        yield told


def _here(
    work: Callable[[Piece], Result],
    pieces: Sequence[Piece],
    request: StopRequest,
    advanced: Callable[[float], None],
) -> list[Result]:
    results: list[Result] = []
    for piece in pieces:
        results.append(work(piece))
        advanced(len(results) / len(pieces))
        if request.made and len(results) < len(pieces):
            raise Stopped(len(results), len(pieces))
    return results


def _elsewhere(
    work: Callable[[Piece], Result],
    pieces: Sequence[Piece],
    jobs: int,
    request: StopRequest,
    advanced: Callable[[float], None],
) -> list[Result]:
    pool = ProcessPoolExecutor(max(min(jobs, len(pieces)), 1), multiprocessing.get_context("spawn"))
    done: set[Future[Result]] = set()
    try:
        futures = _submitted(pool, work, pieces)
        while len(done) < len(futures):
            finished, _ = wait(set(futures) - done, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
            for future in finished:
                future.result()  # a piece that failed ends the rest
            done |= finished
            if finished:
                advanced(len(done) / len(pieces))
            if request.made and len(done) < len(pieces):
                raise Stopped(len(done), len(pieces))
        return [future.result() for future in futures]
    except BaseException as error:
        for process in list((pool._processes or {}).values()):  # what is being computed is of no use any more
            process.terminate()
        if not isinstance(error, BrokenExecutor):
            raise
        if request.made:  # the signal was sent to all of them
            raise Stopped(len(done), len(pieces)) from error
        raise TrainingError(
            "jobs: expected every process to finish its work, but one was ended from outside, perhaps for lack of"
            " memory; try fewer --jobs"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(
    pool: ProcessPoolExecutor, work: Callable[[Piece], Result], pieces: Sequence[Piece]
) -> list[Future[Result]]:
    """The pieces on their way, in processes that do not hear Ctrl-C, which reaches every process of a terminal."""
    hears = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return [pool.submit(work, piece) for piece in pieces]  # the processes start with the first of them
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, hears)
