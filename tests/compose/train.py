"""Profile `train`: a file in a mounted folder becomes a model in the served volume, and the service serves it."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import httpx

from tests.compose.clients import series
from tests.compose.stack import Failed, stack

NAME = "made-here"


def run() -> None:
    """Raises Failed if anything is not as promised."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        _write_series(Path(folder) / "load.csv")
        with stack("single", "train", UNROLL_DATA=folder, UNROLL_TRAINING_IMAGE="unroll:training") as made:
            made.up("service")
            flags = ("--data", "/data/load.csv", "--frequency", "1h", "--name", NAME, "--epochs", "1", "--threads", "1")
            made.compose("run", "--rm", "--no-TTY", "train", "forecaster", *flags)
            with httpx.Client(base_url=f"http://{made.address}", timeout=60) as http:
                http.post("/v1/models/reload").raise_for_status()
                served = [model["id"] for model in http.get("/v1/models").json()["data"]]
                if NAME not in served:
                    raise Failed(f"{NAME} was trained, and served are {served}")
    print("  trained, published and served", flush=True)


def _write_series(path: Path) -> None:
    lines = ["unique_id,ds,y"]
    for name, seed in (("a", 1), ("b", 2)):
        for hour, value in enumerate(series(seed, 24 * 60)):
            stamp = datetime(2024, 1, 1) + timedelta(hours=hour)
            lines.append(f"{name},{stamp.isoformat()},{'' if value is None else value}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
