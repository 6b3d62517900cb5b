"""What V2 tells of the server and its models."""

from __future__ import annotations

import tomllib
from pathlib import Path

from service.protocols.inference_v2.metadata import EXTENSIONS, SERVER_VERSION
from tests import known_models
from tests.service.protocols.inference_v2.asking import MODEL, TEXT, ask, refused, tensor
from tests.service.protocols.serving import COVARIATE_SUM, Served, serve

ROOT = Path(__file__).parents[4]


def test_the_server_names_itself_and_what_it_implements(served: Served) -> None:
    answer = served.client.get("/v2").json()
    assert answer == {"name": "unroll", "version": SERVER_VERSION, "extensions": list(EXTENSIONS)}
    for absent in ("schedule_policy", "system_shared_memory", "trace", "logging"):
        assert absent not in EXTENSIONS


def test_the_version_is_the_packages() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"] == SERVER_VERSION


def test_a_model_is_described_without_what_the_service_keeps(served: Served) -> None:
    assert served.client.get(f"/v2/models/{MODEL}").json() == {
        "name": MODEL,
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "target", "datatype": "FP32", "shape": [-1, -1]}],
        "outputs": [
            {"name": "quantiles", "datatype": "FP32", "shape": [-1, -1, 3]},
            {"name": "pit", "datatype": "FP32", "shape": [-1, -1]},
        ],
    }
    text = served.client.get(f"/v2/models/{TEXT}/versions/1").json()
    assert text["inputs"] == [{"name": "tokens", "datatype": "INT64", "shape": [-1, -1]}]
    assert [one["name"] for one in text["outputs"]] == ["log_probabilities"]
    inputs = served.client.get(f"/v2/models/{COVARIATE_SUM}").json()["inputs"]
    assert [(one["name"], one["shape"]) for one in inputs] == [
        ("target", [-1, -1]),
        ("covariates", [-1, -1, 1]),
        ("future_covariates", [-1, -1, 1]),
    ]


def test_a_configuration_has_what_perf_analyzer_looks_for(served: Served) -> None:
    config = served.client.get(f"/v2/models/{COVARIATE_SUM}/versions/1/config").json()
    assert config["max_batch_size"] == 256 and "sequence_batching" in config
    assert config["model_transaction_policy"] == {"decoupled": False}
    assert [(one["name"], one["dims"], one["optional"]) for one in config["input"]] == [
        ("target", [-1], False),
        ("covariates", [-1, 1], False),
        ("future_covariates", [-1, 1], True),
    ]
    assert [(one["name"], one["data_type"]) for one in config["output"]] == [
        ("quantiles", "TYPE_FP32"),
        ("pit", "TYPE_FP32"),
    ]
    refused(served.client.get("/v2/models/nobody/config"), 404)


def test_all_versions_are_named(tmp_path: Path) -> None:
    for version in (1, 2, 10):
        known_models.running_sum(tmp_path, version=version)
    with serve(tmp_path) as served:
        assert served.client.get(f"/v2/models/{MODEL}").json()["versions"] == ["1", "2", "10"]
        assert ask(served, tensor("target", [[1]])).json()["model_version"] == "10"
        body = {"inputs": [tensor("target", [[1]])]}
        assert served.post(f"/v2/models/{MODEL}/versions/2/infer", body).json()["model_version"] == "2"
        stats = served.client.get(f"/v2/models/{MODEL}/stats").json()["model_stats"]
        assert [(one["version"], one["inference_count"]) for one in stats] == [("1", 0), ("2", 1), ("10", 1)]
        one = served.client.get(f"/v2/models/{MODEL}/versions/10/stats").json()["model_stats"]
        assert [entry["version"] for entry in one] == ["10"]


def test_statistics_count_what_was_done(running_sum_models: Path) -> None:
    known_models.next_token(running_sum_models)
    with serve(running_sum_models) as served:
        ask(served, tensor("target", [[1, 2], [3, 4]]))
        ask(served, tensor("target", [[1]]), sequence_id=1, sequence_start=True)
        ask(served, tensor("target", [[1e30]]))
        (stats,) = served.client.get(f"/v2/models/{MODEL}/stats").json()["model_stats"]
        assert (stats["name"], stats["version"], stats["inference_count"]) == (MODEL, "1", 3)
        assert stats["execution_count"] >= 2 and stats["last_inference"] > 1.7e12
        inference = stats["inference_stats"]
        assert (inference["success"]["count"], inference["fail"]["count"]) == (2, 1)
        for counted in ("queue", "compute_input", "compute_infer", "compute_output"):
            assert inference[counted]["count"] > 0 and inference[counted]["ns"] > 0
        for never in ("cache_hit", "cache_miss"):
            assert inference[never] == {"count": 0, "ns": 0}
        assert [one["batch_size"] for one in stats["batch_stats"]] == [1, 2]
        every = served.client.get("/v2/models/stats").json()["model_stats"]
        assert [one["name"] for one in every] == [TEXT, MODEL]
        for unknown in ("nobody/stats", f"{MODEL}/versions/9/stats"):
            refused(served.client.get(f"/v2/models/{unknown}"), 404)
