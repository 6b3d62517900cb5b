"""Routes of models."""

from __future__ import annotations

from pathlib import Path

from tests import known_models
from tests.service.protocols.serving import Served, serve


def test_models_are_listed_in_the_shape_of_openai(served: Served) -> None:
    answer = served.client.get("/v1/models").json()
    assert answer["object"] == "list"
    described = {model["id"]: model for model in answer["data"]}
    model = described[known_models.RUNNING_SUM]
    assert model["object"] == "model" and model["owned_by"] == "unroll" and isinstance(model["created"], int)
    assert model["forecast"]["quantiles"] == [0.25, 0.5, 0.75]
    assert described[known_models.NEXT_TOKEN]["text"]["tokenizer_kind"] == "char"


def test_one_model_tells_how_it_was_trained(served: Served) -> None:
    model = served.client.get(f"/v1/models/{known_models.NEXT_TOKEN}").json()
    assert model["training"]["command"] == "none" and model["version"] == 1 and model["ready"] is True
    assert served.client.get(f"/v1/models/{known_models.NEXT_TOKEN}/1").json() == model


def test_unknown_models_and_versions_say_what_there_is(served: Served) -> None:
    for name, words in (
        ("nobody", "expected one of"),
        ("next-token/9", "expected one of 1"),
        ("next-token/x", "name"),
    ):
        answer = served.client.get(f"/v1/models/{name}")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found" and words in answer.json()["error"]["message"]


def test_a_reload_takes_new_versions_up_and_keeps_broken_ones_out(tmp_path: Path) -> None:
    models = tmp_path / "models"
    known_models.running_sum(models)
    with serve(models) as served:
        before = served.open()
        known_models.running_sum(models, version=2)
        broken = known_models.running_sum(models, version=3)
        (broken / "weights.bin").write_bytes(b"tampered with")
        answer = served.client.post("/v1/models/reload").json()
        assert answer["loaded"] == ["running-sum/2"] and answer["removed"] == []
        assert answer["rejected"][0]["version"] == "3" and "weights.bin" in answer["rejected"][0]["reason"]
        listed = served.client.get("/v1/models").json()
        assert listed["data"][0]["version"] == 2 and listed["data"][0]["versions"] == [1, 2]
        assert listed["rejected"] == answer["rejected"]
        assert served.client.get(f"/v1/sessions/{before}").json()["version"] == 1
        assert served.client.get(f"/v1/sessions/{served.open()}").json()["version"] == 2
        assert served.observe(before, values=[1.0])["position"] == 1
