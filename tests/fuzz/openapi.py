"""Schemathesis over the OpenAPI description: requests that fit it, and requests that do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.fuzz import seeds
from tests.fuzz.server import FuzzedServer

_CHECKS = "not_a_server_error,content_type_conformance,use_after_free"
_CONFIGURATION = f"""
[dictionaries]
models = {{ values = ["{seeds.FORECASTER}", "{seeds.WRITER}", "{seeds.COVARIATE}", "unknown"] }}
sessions = {{ values = ["{seeds.FORECAST_SESSION}", "{seeds.TEXT_SESSION}", "{seeds.COVARIATE_SESSION}"] }}
versions = {{ values = ["1", "2"] }}

[parameters]
"path.session_id" = {{ dictionary = "sessions", probability = 0.9 }}
"path.model" = {{ dictionary = "models", probability = 0.9 }}
"path.name" = {{ dictionary = "models", probability = 0.9 }}
"path.version" = {{ dictionary = "versions", probability = 0.9 }}
"body.model" = {{ dictionary = "models", probability = 0.9 }}
"body.session_id" = {{ dictionary = "sessions", probability = 0.5 }}
"""


def explore(server: FuzzedServer, folder: Path, *, examples: int, seed: int, seconds: int) -> tuple[bool, str]:
    """Let Schemathesis try every operation; whether nothing was found, and what it says.

    Args:
        examples: requests of each operation that are made up, beside those of its coverage phase.
        seconds: how long it may take at most.
    """
    configuration = folder / "schemathesis.toml"
    configuration.write_text(_CONFIGURATION, "utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration), "--no-color"]
    command += ["run", f"{server.url}/openapi.json", "--checks", _CHECKS, "--warnings", "off"]
    command += ["--max-examples", str(examples), "--seed", str(seed), "--max-time", str(seconds)]
    command += ["--generation-database", "none", "--request-timeout", "20", "--continue-on-failure"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr
