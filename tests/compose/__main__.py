"""`python -m tests.compose`: bring up each profile of compose.yaml and see it do what it promises, failures included.

Needs a Docker engine with Compose. Takes names of scenarios; runs all that can run here otherwise.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator

import httpx

from tests.compose import gpu, monitoring, scale, single, train
from tests.compose.stack import IMAGE, Failed, command, engine_trouble

SCENARIOS: dict[str, Callable[[], None]] = {
    "single": single.run,
    "scale": scale.run,
    "monitoring": monitoring.run,
    "gpu": gpu.run,
    "train": train.run,
}
# Its image holds torch: gigabytes that not everyone who runs the others has or wants.
_ONLY_WHEN_NAMED = ("train",)


def main() -> int:
    """Run scenarios; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.compose", description=__doc__, allow_abbrev=False)
    parser.add_argument("scenario", nargs="*", choices=[[], *SCENARIOS], help="which to run; all but train otherwise")
    chosen = parser.parse_args().scenario or [name for name in SCENARIOS if name not in _ONLY_WHEN_NAMED]
    trouble = engine_trouble()
    if trouble is not None:
        print(f"no container engine answers: {trouble}", file=sys.stderr)
        return 2
    failed = ["image"] if not _passes("image", _build) else [one for one in chosen if not _passes(one, SCENARIOS[one])]
    print(f"failed: {', '.join(failed)}" if failed else "all is as promised", flush=True)
    return 1 if failed else 0


def _build() -> None:
    command("docker", "build", "--quiet", "--file", "docker/service.Dockerfile", "--tag", IMAGE, ".")
    size = int(command("docker", "image", "inspect", "--format", "{{.Size}}", IMAGE)) / 1e6
    print(f"  {IMAGE} has {size:.0f} MB, its base included")


def _passes(name: str, scenario: Callable[[], None]) -> bool:
    print(f"{name}", flush=True)
    began, passed = time.monotonic(), True
    try:
        scenario()
    except* (Failed, TimeoutError, httpx.HTTPError) as group:
        print(*(f"  FAILED: {type(error).__name__}: {error}" for error in _single(group)), sep="\n", flush=True)
        passed = False
    print(f"  {'passed' if passed else 'failed'} after {time.monotonic() - began:.0f} s", flush=True)
    return passed


def _single(group: BaseExceptionGroup[Exception]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _single(error)
        else:
            yield error


if __name__ == "__main__":
    sys.exit(main())
