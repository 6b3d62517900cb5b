"""The whole path: a file of series, a text or names, the training command, a published model, a server, PyTorch.

The server runs before anything is trained and picks the models up on a reload, as in real use.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from tokenizers import Tokenizer

from benchmarks.server import ROOT, ServerProcess, running_server
from service.contract.calendar import calendar_features
from service.contract.frequency import Frequency, parse_timestamp
from training.forecaster_files import load_forecaster
from training.networks.causal_features import causal_features
from training.networks.forecaster import Forecaster
from training.networks.segment_ensemble import SegmentEnsemble
from training.networks.segment_forecaster import on_its_own_scale
from training.publish_classifier import load_classifier
from training.run_record import load_record

START = "2024-03-01T00:00:00Z"
VALUES = [410.0, 395.5, None, 388.0, 402.25, 431.0, 466.5, 501.0, None, None, 517.25, 509.0]
VERSE = "the wheel goes round and round\nand what it wound it has unwound\n\n"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("round-trip")


@pytest.fixture(scope="module")
def server(work: Path) -> Iterator[ServerProcess]:
    (work / "models").mkdir()
    with running_server(work / "models") as server:
        yield server


def train(work: Path, *command: str) -> None:
    """Run a training command to its end, and publish into the server's repository."""
    arguments = [sys.executable, "-m", "training", *command, "--models", str(work / "models"), "--threads", "1"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def reload(server: ServerProcess) -> list[str]:
    """Have the server look at its repository again; returns the names of the models that it then serves."""
    assert httpx.post(f"{server.url}/v1/models/reload").status_code == 200
    return [model["id"] for model in httpx.get(f"{server.url}/v1/models").json()["data"]]


def write_load(path: Path) -> None:
    """Five weeks of two hourly series in long format, one of them with a gap."""
    random = np.random.default_rng(0)
    timestamps = Frequency.parse("1h").timestamps(parse_timestamp("2024-01-01"), 0, 35 * 24)
    with path.open("w") as file:
        file.write("unique_id,ds,y\n")
        for name, level in (("north", 400), ("south", 90)):
            wave = level * (1 + 0.2 * np.sin(np.arange(len(timestamps)) * 2 * np.pi / 24))
            for index, (timestamp, value) in enumerate(zip(timestamps, wave, strict=True)):
                if not (name == "south" and 300 <= index < 310):
                    file.write(f"{name},{timestamp},{value + 0.02 * level * random.standard_normal():.3f}\n")


def test_a_forecaster_from_a_csv_to_answers_equal_to_pytorch(work: Path, server: ServerProcess) -> None:
    write_load(work / "load.csv")
    train(
        work,
        *("forecaster", "--data", str(work / "load.csv"), "--frequency", "1h", "--run-folder", str(work / "run")),
        *("--name", "tiny-load", "--hidden-size", "8", "--epochs", "2", "--horizon", "12", "--paths", "20"),
    )
    assert "tiny-load" in reload(server)
    session = httpx.post(f"{server.url}/v1/sessions", json={"model": "tiny-load", "first_timestamp": START}).json()[
        "id"
    ]
    answer = httpx.post(f"{server.url}/v1/sessions/{session}/observe", json={"values": VALUES}).json()
    served = np.array([row or [np.nan] * len(answer["quantiles"]["levels"]) for row in answer["quantiles"]["values"]])
    np.testing.assert_allclose(served, with_pytorch(work / "run"), rtol=1e-4)

    ahead = httpx.post(f"{server.url}/v1/sessions/{session}/forecast", json={"horizon": 30}).json()
    assert len(ahead["quantiles"]["values"]) == 30
    assert ahead["timestamps"][0] == "2024-03-01T12:00:00Z"


def with_pytorch(run: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Quantiles (T, Q) of VALUES from the trained network itself."""
    network = load_forecaster(run)
    assert isinstance(network, Forecaster)
    target = np.array([VALUES], np.float32)
    timestamps = Frequency.parse("1h").timestamps(parse_timestamp(START), 0, len(VALUES))
    calendar = calendar_features(timestamps, network.settings.calendar)
    features = causal_features(target, calendar, None, None, network.settings)
    with torch.no_grad():
        z, _ = network(torch.from_numpy(features.features), network.initial_state(1))
    quantiles = features.mean[0, :, np.newaxis] + features.sigma[0, :, np.newaxis] * z[0].numpy()
    quantiles[0] = np.nan  # nothing is predicted before the first value
    return np.asarray(quantiles, np.float64)


def test_a_direct_forecaster_from_a_csv_to_answers_equal_to_pytorch(work: Path, server: ServerProcess) -> None:
    write_load(work / "direct.csv")
    train(
        work,
        *("forecaster", "--data", str(work / "direct.csv"), "--frequency", "1h", "--name", "tiny-direct"),
        *("--run-folder", str(work / "direct-run"), "--decoder", "direct", "--members", "2", "--horizon", "24"),
        *("--context", "48", "--direct-hidden-size", "8", "--direct-steps", "40", "--direct-batch-size", "16"),
    )
    assert "tiny-direct" in reload(server)
    opened = httpx.post(f"{server.url}/v1/sessions", json={"model": "tiny-direct", "first_timestamp": START}).json()
    session = f"{server.url}/v1/sessions/{opened['id']}"
    httpx.post(f"{session}/observe", json={"values": VALUES}).raise_for_status()
    answer = httpx.post(f"{session}/forecast", json={"horizon": 24}).json()
    assert answer["method"] == "direct"

    network = load_forecaster(work / "direct-run")
    assert isinstance(network, SegmentEnsemble)
    settings = network.settings
    window = np.full((1, settings.context_length), np.nan, np.float32)
    window[0, -len(VALUES) :] = [np.nan if value is None else value for value in VALUES]
    timestamps = Frequency.parse("1h").timestamps(parse_timestamp(START), len(VALUES), settings.prediction_length)
    calendar = torch.from_numpy(calendar_features(timestamps, settings.calendar)[None])
    own = on_its_own_scale(torch.from_numpy(window), settings.centring)
    with torch.no_grad():
        expected = own.origin[..., None] + own.scale[..., None] * network(own, calendar)
    np.testing.assert_allclose(np.array(answer["quantiles"]["values"]), expected[0].numpy(), rtol=1e-4)


def test_a_text_generator_from_a_text_to_completions(work: Path, server: ServerProcess) -> None:
    (work / "verse.txt").write_text(VERSE * 120)
    train(
        work,
        *("text", "--data", str(work / "verse.txt"), "--run-folder", str(work / "text-run"), "--name", "tiny-verse"),
        *("--hidden-size", "32", "--epochs", "12", "--batch-size", "8", "--learning-rate", "0.01"),
    )
    assert "tiny-verse" in reload(server)
    request = {"model": "tiny-verse", "prompt": "\n\n", "max_tokens": 60, "temperature": 0, "stop": "\n\n"}
    answer = httpx.post(f"{server.url}/v1/completions", json=request).json()
    assert answer["choices"][0]["text"] == VERSE.strip()[:60]


def test_a_classifier_from_names_to_a_stream_equal_to_the_whole_and_to_pytorch(
    work: Path, server: ServerProcess
) -> None:
    (work / "names").mkdir()
    random = np.random.default_rng(0)
    for label, ending in (("Polish", "ski"), ("Czech", "ova"), ("Greek", "is")):
        names = ["".join(random.choice(list("abcdklmn"), 4)) + ending for _ in range(60)]
        (work / "names" / f"{label}.txt").write_text("\n".join(names))
    train(
        work,
        *("classifier", "--data", str(work / "names"), "--run-folder", str(work / "names-run"), "--cell", "RNN"),
        *("--name", "tiny-names", "--hidden-size", "16", "--epochs", "20", "--learning-rate", "0.02"),
        *("--batch-size", "16"),
    )
    assert "tiny-names" in reload(server)
    name = "kandalski"
    whole, streamed = (httpx.post(f"{server.url}/v1/sessions", json={"model": "tiny-names"}).json() for _ in range(2))
    answer = httpx.post(f"{server.url}/v1/sessions/{whole['id']}/observe", json={"text": name}).json()
    pieces = [
        httpx.post(f"{server.url}/v1/sessions/{streamed['id']}/observe", json={"text": character}).json()
        for character in name
    ]
    rows = [row for piece in pieces for row in piece["probabilities"]["values"]]
    assert rows == answer["probabilities"]["values"]  # shortest decimals that give the same float: the same bits
    assert (
        answer["labels"][-1] == "Polish"
        and [label for piece in pieces for label in piece["labels"]] == answer["labels"]
    )
    np.testing.assert_allclose(np.array(rows), labelled_with_pytorch(work / "names-run", name), atol=1e-5)


def labelled_with_pytorch(run: Path, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Probabilities (T, C) after each character of a name from the trained network itself."""
    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    network = load_classifier(run, load_record(run), tokenizer, 3)
    with torch.no_grad():
        logits, _ = network(torch.tensor([tokenizer.encode(name).ids]), network.recurrence.initial_state(1))
    return np.asarray(torch.softmax(logits[0], -1).numpy())


def test_a_tampered_version_is_kept_out_and_the_rest_serves(work: Path, server: ServerProcess) -> None:
    names = reload(server)
    weights = next((work / "models").glob("tiny-*/1/weights.bin"))
    original = weights.read_bytes()
    try:
        weights.write_bytes(b"\0" * len(original))
        (weights.parent / "manifest.json").touch()
        with running_server(work / "models") as other:
            kept = [model["id"] for model in httpx.get(f"{other.url}/v1/models").json()["data"]]
    finally:
        weights.write_bytes(original)
    assert set(names) - set(kept) == {weights.parent.parent.name}
