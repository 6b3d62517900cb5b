"""A run folder says what was run, without saying where; and refuses to become another run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from training.checkpoint import CHECKPOINT_FILE
from training.data.tokenizers import TOKENIZER_FILE
from training.errors import TrainingError
from training.run_record import (
    RunRecord,
    begin_run,
    command_line,
    current_commit,
    load_record,
    load_result,
    save_result,
)

RECORD = RunRecord("text", "python -m training text", "abc", "poems.txt", "0" * 64, 1, {"fit": {"epochs": 3}})


def test_the_command_keeps_names_and_drops_folders() -> None:
    arguments = ["text", "--data", "/somewhere/private/poems.txt", "--run-folder=../runs/a b", "--separator", "\\n\\n"]
    assert command_line([*arguments, "--description", "load 24/7 of it"]) == (
        "python -m training text --data poems.txt '--run-folder=a b' --separator '\\n\\n' "
        "--description 'load 24/7 of it'"
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    begin_run(tmp_path / "run", RECORD, resume=False)
    assert load_record(tmp_path / "run") == RECORD


def test_a_manifest_is_told_how_its_model_came_to_be() -> None:
    told = RECORD.provenance({"metrics": {"mase": 0.5}, "baselines": {}, "loss": {}}, 1e-6)
    assert (told.command, told.data.name, told.seed, told.settings) == (
        RECORD.command,
        "poems.txt",
        1,
        {"fit": {"epochs": 3}},
    )
    assert (told.metrics, told.parity_max_abs_error) == ({"mase": 0.5}, 1e-6)


def test_a_folder_with_a_run_is_not_begun_again(tmp_path: Path) -> None:
    begin_run(tmp_path, RECORD, resume=False)
    (tmp_path / CHECKPOINT_FILE).touch()
    with pytest.raises(TrainingError, match="use --resume or another one"):
        begin_run(tmp_path, RECORD, resume=False)


def test_resuming_allows_another_command_line_and_no_other_settings_or_data(tmp_path: Path) -> None:
    begin_run(tmp_path, RECORD, resume=False)
    (tmp_path / CHECKPOINT_FILE).touch()
    begin_run(tmp_path, dataclasses.replace(RECORD, command="… --resume", commit="def"), resume=True)
    changed = dataclasses.replace(RECORD, settings={"fit": {"epochs": 4}})
    with pytest.raises(TrainingError, match="settings.fit.epochs: expected 3 as the run began, got 4"):
        begin_run(tmp_path, changed, resume=True)
    with pytest.raises(TrainingError, match="data_sha256"):
        begin_run(tmp_path, dataclasses.replace(RECORD, data_sha256="1" * 64), resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_failed_before_its_first_checkpoint_is_begun_anew_with_other_settings(
    tmp_path: Path, resume: bool
) -> None:
    begin_run(tmp_path, RECORD, resume=False)
    (tmp_path / TOKENIZER_FILE).touch()
    corrected = dataclasses.replace(RECORD, settings={"fit": {"epochs": 4}})
    begin_run(tmp_path, corrected, resume=resume)
    assert load_record(tmp_path) == corrected
    assert not (tmp_path / TOKENIZER_FILE).exists()


def test_a_folder_without_record_or_result_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="expected a run folder with run.json"):
        load_record(tmp_path)
    with pytest.raises(TrainingError, match="continue it with --resume"):
        load_result(tmp_path)


def test_a_result_is_readable_json(tmp_path: Path) -> None:
    save_result(tmp_path, {"samples": {"1.0": "明月几时有"}})
    assert load_result(tmp_path) == json.loads((tmp_path / "result.json").read_text()) and "明月" in (
        tmp_path / "result.json"
    ).read_text(encoding="utf-8")


def test_the_commit_is_a_hash_or_unknown() -> None:
    assert current_commit() == "unknown" or len(current_commit().removesuffix("+changes")) == 40
