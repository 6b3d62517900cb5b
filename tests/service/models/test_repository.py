"""The model repository: what is whole serves, what is broken is kept out by name, and scans may come at any time."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from service.errors import ModelNotFound
from service.models.device import Device
from service.models.repository import Repository
from tests import known_models

CPU = Device("cpu")


def ids(repository: Repository) -> list[str]:
    return [model.manifest.id for model in repository.models()]


def test_nothing_serves_before_the_first_scan(running_sum_models: Path) -> None:
    repository = Repository(running_sum_models, CPU)
    assert repository.models() == []
    with pytest.raises(ModelNotFound, match="expected one of none, got 'running-sum'"):
        repository.get("running-sum")


def test_a_folder_that_is_not_there_is_an_empty_repository(tmp_path: Path) -> None:
    report = Repository(tmp_path / "models", CPU).scan()
    assert (report.loaded, report.removed, report.rejected) == ((), (), {})


def test_the_newest_version_serves_unless_one_is_named(tmp_path: Path) -> None:
    for version in (1, 2, 10):
        known_models.running_sum(tmp_path, version=version)
    repository = Repository(tmp_path, CPU)
    report = repository.scan()
    assert [model.manifest.id for model in report.loaded] == ["running-sum/1", "running-sum/10", "running-sum/2"]
    assert ids(repository) == ["running-sum/1", "running-sum/2", "running-sum/10"]
    assert repository.get("running-sum").manifest.version == 10
    assert repository.get("running-sum", 2).manifest.version == 2


def test_an_unknown_name_or_version_is_told_what_there_is(known_models_folder: Path) -> None:
    repository = Repository(known_models_folder, CPU)
    repository.scan()
    with pytest.raises(ModelNotFound, match="expected one of next-token, running-sum, got 'gpt'") as caught:
        repository.get("gpt")
    assert caught.value.parameter == "model"
    with pytest.raises(ModelNotFound, match="expected one of 1 of model 'running-sum', got 7") as caught:
        repository.get("running-sum", 7)
    assert caught.value.parameter == "version"


def test_a_second_scan_keeps_what_is_loaded(known_models_folder: Path) -> None:
    repository = Repository(known_models_folder, CPU)
    repository.scan()
    before = repository.models()
    report = repository.scan()
    assert (report.loaded, report.removed) == ((), ())
    assert all(one is other for one, other in zip(before, repository.models(), strict=True))


def test_a_scan_takes_in_what_is_new_and_lets_go_of_what_vanished(running_sum_models: Path) -> None:
    repository = Repository(running_sum_models, CPU)
    repository.scan()
    known_models.running_sum(running_sum_models, version=2)
    shutil.rmtree(running_sum_models / "running-sum" / "1")
    report = repository.scan()
    assert [model.manifest.id for model in report.loaded] == ["running-sum/2"]
    assert [model.manifest.id for model in report.removed] == ["running-sum/1"]
    assert ids(repository) == ["running-sum/2"]


def test_a_version_whose_files_were_replaced_is_loaded_anew(running_sum_models: Path) -> None:
    repository = Repository(running_sum_models, CPU)
    repository.scan()
    before = repository.get("running-sum")
    shutil.rmtree(running_sum_models / "running-sum")
    known_models.running_sum(running_sum_models, frequency="15min")
    report = repository.scan()
    assert report.removed == (before,)
    assert report.loaded == (repository.get("running-sum"),)
    assert repository.get("running-sum") is not before


def test_a_loaded_version_broken_later_is_kept_out_from_the_next_scan_on(running_sum_models: Path) -> None:
    repository = Repository(running_sum_models, CPU)
    repository.scan()
    known_models.change_manifest(running_sum_models / "running-sum" / "1", "schema_version", to=2)
    report = repository.scan()
    assert [model.manifest.id for model in report.removed] == ["running-sum/1"]
    assert "schema_version" in report.rejected["running-sum/1"]


def test_a_broken_version_is_kept_out_with_its_reason_and_the_rest_serve(known_models_folder: Path) -> None:
    broken = known_models.running_sum(known_models_folder, version=2)
    with (broken / "weights.bin").open("ab") as weights:
        weights.write(b"more")
    repository = Repository(known_models_folder, CPU)
    report = repository.scan()
    assert ids(repository) == ["next-token/1", "running-sum/1"]
    assert report.rejected == repository.rejected
    assert repository.rejected.keys() == {"running-sum/2"}
    assert repository.rejected["running-sum/2"].startswith("weights.bin: the manifest says SHA-256")
    assert repository.get("running-sum").manifest.version == 1
    with pytest.raises(ModelNotFound, match="got 2; it was kept out: weights.bin: the manifest says"):
        repository.get("running-sum", 2)


def test_a_version_that_was_repaired_is_taken_in(running_sum_models: Path) -> None:
    weights = running_sum_models / "running-sum" / "1" / "weights.bin"
    whole = weights.read_bytes()
    weights.write_bytes(b"")
    repository = Repository(running_sum_models, CPU)
    repository.scan()
    with pytest.raises(ModelNotFound, match="'running-sum' was kept out"):
        repository.get("running-sum")
    weights.write_bytes(whole)
    repository.scan()
    assert ids(repository) == ["running-sum/1"]
    assert repository.rejected == {}


def test_a_folder_of_another_name_or_version_than_its_manifest_is_kept_out(running_sum_models: Path) -> None:
    shutil.copytree(running_sum_models / "running-sum" / "1", running_sum_models / "running-sum" / "2")
    shutil.copytree(running_sum_models / "running-sum" / "1", running_sum_models / "other" / "1")
    repository = Repository(running_sum_models, CPU)
    repository.scan()
    assert ids(repository) == ["running-sum/1"]
    assert "the folder says running-sum/2, the manifest running-sum/1" in repository.rejected["running-sum/2"]
    assert "the folder says other/1, the manifest running-sum/1" in repository.rejected["other/1"]


@pytest.mark.parametrize("name", ["01", "latest", "0", "-1", "1.5", "v1"])
def test_a_version_that_is_no_number_is_kept_out(running_sum_models: Path, name: str) -> None:
    (running_sum_models / "running-sum" / name).mkdir()
    repository = Repository(running_sum_models, CPU)
    repository.scan()
    assert ids(repository) == ["running-sum/1"]
    assert "expected a version folder named 1, 2, 3" in repository.rejected[f"running-sum/{name}"]


def test_hidden_folders_and_stray_files_are_not_looked_at(running_sum_models: Path) -> None:
    (running_sum_models / "running-sum" / ".staging-2").mkdir()
    (running_sum_models / ".git" / "1").mkdir(parents=True)
    (running_sum_models / "README.md").write_text("Models.")
    (running_sum_models / "running-sum" / "notes.txt").write_text("Notes.")
    repository = Repository(running_sum_models, CPU)
    assert repository.scan().rejected == {}
    assert ids(repository) == ["running-sum/1"]


def test_a_folder_that_links_out_of_the_repository_is_kept_out(tmp_path: Path, running_sum_models: Path) -> None:
    elsewhere = known_models.running_sum(tmp_path / "elsewhere", version=2)
    (running_sum_models / "running-sum" / "2").symlink_to(elsewhere)
    repository = Repository(running_sum_models, CPU)
    repository.scan()
    assert ids(repository) == ["running-sum/1"]
    assert "it links outside" in repository.rejected["running-sum/2"]


def test_one_may_go_on_asking_while_scans_run(running_sum_models: Path) -> None:
    repository = Repository(running_sum_models, CPU)
    repository.scan()
    done = threading.Event()

    def scan_again_and_again() -> None:
        for version in range(2, 8):
            known_models.running_sum(running_sum_models / ".staging", version=version)
            staged = running_sum_models / ".staging" / "running-sum" / str(version)
            staged.rename(running_sum_models / "running-sum" / str(version))
            repository.scan()
        done.set()

    scanning = threading.Thread(target=scan_again_and_again)
    scanning.start()
    newest = [1]
    while not done.is_set():
        newest.append(repository.get("running-sum").manifest.version)
    scanning.join()
    assert newest == sorted(newest)
    assert repository.get("running-sum").manifest.version == 7
    assert repository.rejected == {}


def indexed(repository: Repository) -> list[tuple[str, str, bool]]:
    """Name, version and whether it serves, of all there is."""
    return [(entry.name, entry.version, entry.reason is None) for entry in repository.index()]


def test_the_index_tells_of_what_serves_and_of_what_does_not(known_models_folder: Path) -> None:
    repository = Repository(known_models_folder, CPU)
    repository.scan()
    known_models.running_sum(known_models_folder, version=2)
    (known_models_folder / "running-sum" / "latest").mkdir()
    assert indexed(repository) == [
        ("next-token", "1", True),
        ("running-sum", "1", True),
        ("running-sum", "2", False),
        ("running-sum", "latest", False),
    ]
    assert repository.index()[2].reason == "it came after the repository was last looked at"
    repository.scan()
    assert indexed(repository)[2] == ("running-sum", "2", True)
    assert "expected a version folder" in str(repository.index()[3].reason)
    # What has left the folder serves on until the next look.
    shutil.rmtree(known_models_folder / "next-token")
    assert indexed(repository)[0] == ("next-token", "1", True)


def test_the_index_names_a_folder_that_cannot_be_read(running_sum_models: Path) -> None:
    repository = Repository(running_sum_models, CPU)
    repository.rejected = {"secret": "cannot be read: Permission denied"}
    assert [(entry.name, entry.version, entry.reason) for entry in repository.index()][-1] == (
        *("secret", ""),
        "cannot be read: Permission denied",
    )


def test_one_model_is_loaded_and_no_other(known_models_folder: Path) -> None:
    repository = Repository(known_models_folder, CPU)
    repository.scan()
    before = repository.get("running-sum", 1)
    for version in (2, 3):
        broken = known_models.running_sum(known_models_folder, version=version)
    (broken / "weights.bin").write_bytes(b"")
    known_models.next_token(known_models_folder, version=2)
    report = repository.load("running-sum")
    assert [model.manifest.id for model in report.loaded] == ["running-sum/2"] and report.removed == ()
    assert list(report.rejected) == list(repository.rejected) == ["running-sum/3"]
    assert ids(repository) == ["next-token/1", "running-sum/1", "running-sum/2"]
    assert repository.get("running-sum", 1) is before
    shutil.rmtree(broken)
    assert repository.load("running-sum").rejected == repository.rejected == {}


def test_an_unloaded_model_stays_so_until_it_is_loaded_by_name(known_models_folder: Path) -> None:
    repository = Repository(known_models_folder, CPU)
    repository.scan()
    report = repository.unload("running-sum")
    assert [model.manifest.id for model in report.removed] == ["running-sum/1"]
    assert repository.scan().loaded == () and ids(repository) == ["next-token/1"]
    assert repository.index()[1].reason == "it was unloaded"
    with pytest.raises(ModelNotFound, match="'running-sum' was unloaded: load it again"):
        repository.get("running-sum")
    with pytest.raises(ModelNotFound):
        repository.unload("running-sum")
    assert [model.manifest.id for model in repository.load("running-sum").loaded] == ["running-sum/1"]
    assert repository.scan().removed == () and ids(repository) == ["next-token/1", "running-sum/1"]


@pytest.mark.parametrize("name", ["nobody", "..", "../models/running-sum", ".", "", "/", "running-sum/1", "RUNNING"])
def test_what_is_no_model_is_not_loaded(running_sum_models: Path, name: str) -> None:
    repository = Repository(running_sum_models, CPU)
    with pytest.raises(ModelNotFound, match="expected the name of a folder in the model repository"):
        repository.load(name)
    assert ids(repository) == []
