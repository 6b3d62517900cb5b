"""Who may import whom, and what every error must have: kept true without anyone remembering it."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import service
from service import errors
from service.errors import UnrollError

ROOT = Path(__file__).parent.parent
SERVING_PYTHON = ROOT / ".venv" / "bin" / "python"
NEVER_SERVED = ["torch", "training", "onnx", "polars", "matplotlib", "tensorboard"]
PACKAGES_IN_ORDER = ["protocols", "tasks", "access", "sessions", "engine", "models", "contract"]


def ask(python: Path, code: str) -> Any:
    """Run code in a fresh interpreter and return what it prints, read as JSON."""
    answer = subprocess.run([python, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_importing_the_application_imports_no_training_framework() -> None:
    loaded = ask(Path(sys.executable), "import json, sys, service.app; print(json.dumps(sorted(sys.modules)))")
    assert "service.app" in loaded
    assert not [name for name in loaded if name.partition(".")[0] in NEVER_SERVED]


def test_importing_the_contract_imports_no_server() -> None:
    code = "import json, sys, service.contract.manifest; print(json.dumps(sorted(sys.modules)))"
    loaded = {name.partition(".")[0] for name in ask(Path(sys.executable), code)}
    assert not loaded & {"fastapi", "starlette", "onnxruntime", "tokenizers", "uvicorn", *NEVER_SERVED}


@pytest.mark.skipif(not SERVING_PYTHON.exists(), reason="make serve has not made .venv here")
def test_the_serving_environment_has_no_training_framework() -> None:
    code = "import json; from importlib import util; print(json.dumps([n for n in {} if util.find_spec(n)]))"
    wanted = [name for name in NEVER_SERVED if name != "training"]
    assert ask(SERVING_PYTHON, code.format(wanted)) == []


@pytest.mark.skipif(not SERVING_PYTHON.exists(), reason="make serve has not made .venv here")
def test_the_service_answers_in_the_serving_environment(known_models_folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("UNROLL_", "PYTHON"))}
    command = [str(SERVING_PYTHON), "-m", "service", "--port", "0", "--models", str(known_models_folder)]
    command += ["--grpc-port", "-1", "--journal", "memory:"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            greeting = process.stdout.readline()
            address = re.search(r"http://\S+:\d+", greeting)
            assert address is not None, greeting
            with urllib.request.urlopen(f"{address[0]}/v1/models", timeout=30) as answer:
                names = {model["id"] for model in json.load(answer)["data"]}
            assert names == {"next-token", "running-sum"}
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert process.returncode == 0


def test_import_contracts_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stdout


def test_every_package_of_the_service_has_its_place_in_the_order() -> None:
    packages = {module.name for module in pkgutil.iter_modules(service.__path__) if module.ispkg}
    assert packages == {*PACKAGES_IN_ORDER, "journal"}


def every_error() -> list[type[UnrollError]]:
    """All subclasses, those outside errors.py included: wherever one stands, a protocol has to render it."""
    for module in pkgutil.walk_packages(service.__path__, "service."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, left = [], [UnrollError]
    while left:
        left += (subclasses := left.pop().__subclasses__())
        found += subclasses
    return found


def test_every_error_stands_in_the_tree_of_errors_with_its_codes() -> None:
    rows = (inspect.getdoc(errors) or "").splitlines()
    for error in (error for error in every_error() if error.__module__ == "service.errors"):
        pattern = rf"\b{error.__name__}\b.*\b{error.status} · {error.close_code}\b"
        assert any(re.search(pattern, row) for row in rows), f"{error.__name__}: no row with its status and close code"


def test_only_what_http_alone_knows_has_errors_of_its_own() -> None:
    assert {error.__module__ for error in every_error()} == {"service.errors", "service.protocols.http_errors"}


def test_every_error_has_a_code_of_its_own_and_a_docstring() -> None:
    codes = [error.code for error in every_error()]
    assert len(codes) == len(set(codes))
    assert "error" not in codes
    assert all(inspect.getdoc(error) for error in every_error())


def test_files_stay_short_enough_to_read() -> None:
    sources = [path for folder in ("service", "training") for path in (ROOT / folder).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in sources}
    assert {name: length for name, length in lengths.items() if length > 350} == {}
