"""onnxruntime reports its use over the network unless told not to: it is told before it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_serving_in_a_fresh_interpreter_leaves_no_trace_of_telemetry(running_sum_models: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    # Without what makes onnxruntime suppress it by itself: signs of automated builds and of tests.
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    code = (
        "from pathlib import Path; from service.models.device import choose_device;"
        "from service.models.repository import Repository;"
        f"repository = Repository(Path({str(running_sum_models)!r}), choose_device('auto'));"
        "assert len(repository.scan().loaded) == 1"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert [path for path in home.rglob("*") if "microsoft" in str(path).lower()] == []
