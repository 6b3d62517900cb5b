"""What a run folder says about itself: command, commit, data, seed and every resolved setting.

The record is written before the first update and read by `resume` and `export`. It names files, never where
on a machine they lie.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from service.contract.manifest import DataFingerprint, TaskName, Training
from training.checkpoint import CHECKPOINT_FILE
from training.data.tokenizers import TOKENIZER_FILE
from training.errors import TrainingError

RECORD_FILE = "run.json"
RESULT_FILE = "result.json"


@dataclass(frozen=True)
class RunRecord:
    """One run: `settings` holds one group per settings dataclass, by the group's name."""

    task: TaskName
    command: str
    commit: str
    data_name: str
    data_sha256: str
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)

    def provenance(self, result: dict[str, Any], parity_max_abs_error: float) -> Training:
        """How the run's model came to be, for its manifest; `result` as `save_result` keeps it."""
        return Training(
            command=self.command,
            commit=self.commit,
            data=DataFingerprint(name=self.data_name, sha256=self.data_sha256),
            seed=self.seed,
            settings=self.settings,
            metrics=result["metrics"],
            baselines=result["baselines"],
            parity_max_abs_error=parity_max_abs_error,
        )


def record_command(
    task: TaskName, data_name: str, data_sha256: str, seed: int, settings: Mapping[str, Any]
) -> RunRecord:
    """The record of the run that this process was started for."""
    return RunRecord(task, command_line(sys.argv[1:]), current_commit(), data_name, data_sha256, seed, dict(settings))


def command_line(arguments: Sequence[str]) -> str:
    """The command as typed, with every path shortened to its last part."""
    return "python -m training " + shlex.join(without_folders(argument) for argument in arguments)


def without_folders(argument: str) -> str:
    """The argument of a command, with a path in it shortened to its last part."""
    flag, equals, value = argument.partition("=")
    if argument.startswith("-"):
        return flag + equals + without_folders(value) if equals else argument
    is_path = argument.startswith(("/", "./", "../", "~")) or ("/" in argument and " " not in argument)
    return Path(argument).name if is_path else argument


def current_commit() -> str:
    """The commit of the code that runs, with `+changes` where files differ from it; `unknown` outside of git."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        commit = git("rev-parse", "HEAD").strip()
        return commit + ("+changes" if git("status", "--porcelain", "--untracked-files=no", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def begin_run(folder: Path, record: RunRecord, *, resume: bool) -> None:
    """Make the run folder and write its record; on resume, check that nothing that matters has changed.

    A run that ended before its first checkpoint, as at a setting that its data do not allow, has left nothing to lose
    or to go on from: the folder is begun anew, with `resume` or without.

    Raises:
        TrainingError: the folder holds a run already, or, on resume, a run with other settings or data.
    """
    begun = any((folder / left).exists() for left in (CHECKPOINT_FILE, RESULT_FILE))
    if resume and (begun or not (folder / RECORD_FILE).exists()):
        _require_same(load_record(folder), record)
        return
    if begun and (folder / RECORD_FILE).exists():
        raise TrainingError(
            f"{folder.name}: expected a new run folder, but it holds a run; use --resume or another one"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / RECORD_FILE).exists():  # resuming would take the tokenizer of the run that failed for this one's
        (folder / TOKENIZER_FILE).unlink(missing_ok=True)
    (folder / RECORD_FILE).write_text(json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _require_same(before: RunRecord, now: RunRecord) -> None:
    old, new = (_flat(asdict(record)) for record in (before, now))
    for name in sorted(old.keys() | new.keys()):
        if name not in ("command", "commit") and old.get(name) != new.get(name):
            raise TrainingError(f"resume: {name}: expected {old.get(name)} as the run began, got {new.get(name)}")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: json.dumps(value)}
    return flat


def load_record(folder: Path) -> RunRecord:
    """The record of a run folder."""
    path = folder / RECORD_FILE
    if not path.is_file():
        raise TrainingError(f"{folder.name}: expected a run folder with {RECORD_FILE}, found none")
    return RunRecord(**json.loads(path.read_text(encoding="utf-8")))


def save_result(folder: Path, result: dict[str, Any]) -> None:
    """Write what the finished run came to: metrics, baselines and what the card shows."""
    (folder / RESULT_FILE).write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_result(folder: Path) -> dict[str, Any]:
    """What the finished run came to."""
    path = folder / RESULT_FILE
    if not path.is_file():
        raise TrainingError(f"{folder.name}: expected a finished run with {RESULT_FILE}; continue it with --resume")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
