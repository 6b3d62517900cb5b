"""Triton's model repository extension: listed, loaded and unloaded by name, with nobody dropped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.contract.manifest import MANIFEST_FILE
from tests import known_models
from tests.service.protocols.inference_v2.asking import MODEL, TEXT, ask, centres, refused, step, tensor
from tests.service.protocols.serving import Served, serve


@pytest.fixture
def changing(known_models_folder: Path) -> Iterator[tuple[Served, Path]]:
    """A server whose repository a test may change, and the repository."""
    with serve(known_models_folder) as served:
        yield served, known_models_folder


def index(served: Served, **body: Any) -> list[tuple[str, str, str]]:
    answer = served.post("/v2/repository/index", body)
    assert answer.status_code == 200
    return [(one["name"], one["version"], one["state"]) for one in answer.json()]


def change(served: Served, name: str, what: str, **parameters: Any) -> Any:
    return served.post(f"/v2/repository/models/{name}/{what}", {"parameters": parameters} if parameters else {})


def test_what_there_is_is_listed_whether_it_serves_or_not(changing: tuple[Served, Path]) -> None:
    served, folder = changing
    serving = [(TEXT, "1", "READY"), (MODEL, "1", "READY")]
    assert index(served) == serving
    known_models.running_sum(folder, version=2)
    broken = known_models.running_sum(folder, version=10)
    (broken / MANIFEST_FILE).write_text("{}")
    assert index(served) == [*serving, (MODEL, "2", "UNAVAILABLE"), (MODEL, "10", "UNAVAILABLE")]
    message = refused(change(served, MODEL, "load"))
    assert message.startswith("model: running-sum/10 is kept out: manifest.json: ")
    listed = served.client.post("/v2/repository/index").json()
    assert [one["state"] for one in listed] == ["READY", "READY", "READY", "UNAVAILABLE"]
    assert "manifest.json" in listed[-1]["reason"] and listed[0]["reason"] == ""
    assert index(served, ready=True) == [*serving, (MODEL, "2", "READY")]


def test_a_new_version_is_loaded_and_sequences_stay_on_theirs(changing: tuple[Served, Path]) -> None:
    served, folder = changing
    step(served, 1, 5, sequence_start=True)
    known_models.running_sum(folder, version=2)
    known_models.next_token(folder, version=2)
    answer = change(served, MODEL, "load")
    assert (answer.status_code, answer.content) == (200, b"")
    assert served.client.get(f"/v2/models/{MODEL}").json()["versions"] == ["1", "2"]
    # Only the one that was named.
    assert served.client.get(f"/v2/models/{TEXT}").json()["versions"] == ["1"]
    assert step(served, 1, 1)["model_version"] == "1"
    assert step(served, 2, 1, sequence_start=True)["model_version"] == "2"
    assert step(served, 1, 1, sequence_start=True)["model_version"] == "2"


def test_an_unloaded_model_serves_its_open_sequences_until_they_end(changing: tuple[Served, Path]) -> None:
    served, _ = changing
    step(served, 1, 5, sequence_start=True)
    # As tritonclient sends it.
    assert change(served, MODEL, "unload", unload_dependents=False).status_code == 200
    assert index(served) == [(TEXT, "1", "READY"), (MODEL, "1", "UNAVAILABLE")]
    refused(served.client.get(f"/v2/models/{MODEL}/ready"), 404)
    assert "was unloaded: load it again" in refused(ask(served, tensor("target", [[1]])), 404)
    refused(ask(served, tensor("target", [[1]]), sequence_id=2, sequence_start=True), 404)
    assert centres(step(served, 1, 7)) == [5]
    # Looking at the whole repository again does not bring it back; loading it does.
    assert served.client.post("/v1/models/reload").json()["loaded"] == []
    assert change(served, MODEL, "load").status_code == 200
    assert centres(step(served, 1, 1, sequence_end=True)) == [12]
    assert ask(served, tensor("target", [[1]])).status_code == 200


def test_what_cannot_be_loaded_or_unloaded_is_told(changing: tuple[Served, Path]) -> None:
    served, _ = changing
    for name in ("nobody", "..", "%2e%2e", ".hidden", "UPPER"):
        assert change(served, name, "load").status_code == 404
    refused(change(served, "nobody", "load"), 404)
    refused(change(served, "nobody", "unload"), 404)
    assert "models are loaded as they were published" in refused(change(served, MODEL, "load", config="{}"))
    assert "expected nothing but unload_dependents" in refused(change(served, MODEL, "unload", force=True))
    assert "expected nothing but unload_dependents" in refused(change(served, MODEL, "unload", unload_dependents=1))
    assert "unknown parameter" in refused(served.post(f"/v2/repository/models/{MODEL}/load", {"config": "{}"}))
    assert "body.ready" in refused(served.post("/v2/repository/index", {"ready": 1}))
    assert index(served, ready=True) == [(TEXT, "1", "READY"), (MODEL, "1", "READY")]
