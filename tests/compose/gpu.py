"""Profile `gpu`: a GPU is asked for, and where the engine can give one, the CUDA image serves from it."""

from __future__ import annotations

import json
import re

import httpx

from tests.compose.stack import IMAGE, Failed, command, stack


def run() -> None:
    """Raises Failed if anything is not as promised."""
    with stack("gpu", UNROLL_CUDA_IMAGE="unroll:compose-test-cuda", UNROLL_DEVICE="auto") as made:
        service = json.loads(made.compose("config", "--format", "json"))["services"]["service-gpu"]
        devices = service["deploy"]["resources"]["reservations"]["devices"]
        if (devices[0]["driver"], devices[0]["capabilities"]) != ("nvidia", ["gpu"]):
            raise Failed(f"expected a GPU to be asked for, got {devices}")
        if not _engine_gives_a_gpu():
            print("  a GPU is asked for; nothing was run: this engine has none to give", flush=True)
            return
        print(f"  healthy after {made.up('--build'):.1f} s, its image built", flush=True)
        body = {"model": "shakespeare", "prompt": "A", "max_tokens": 20, "seed": 1}
        httpx.post(f"http://{made.address}/v1/completions", json=body, timeout=60).raise_for_status()
        device = re.search(r'"models loaded".*"device": "(\w+)"', made.compose("logs", "--no-color", "service-gpu"))
        size = int(command("docker", "image", "inspect", "--format", "{{.Size}}", "unroll:compose-test-cuda")) / 1e6
        print(f"  graphs run on: {device[1] if device else 'not told'}; the image has {size:.0f} MB", flush=True)


def _engine_gives_a_gpu() -> bool:
    try:
        command("docker", "run", "--rm", "--gpus", "1", "--network", "none", IMAGE, "true")
    except Failed:
        return False
    return True
