"""One command goes from a text to a published model that writes, and `export` publishes it again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tokenizers import Tokenizer  # noqa: E402

from service.contract.manifest import load_manifest  # noqa: E402
from training.__main__ import main  # noqa: E402
from training.export import ExportedTextGenerator  # noqa: E402

FLAGS = "--epochs 2 --hidden-size 12 --embedding-size 6 --batch-size 4 --bptt-length 8 --threads 1 --license CC0-1.0"


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_a_text_becomes_a_published_model_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    data = tmp_path / "rhyme.txt"
    data.write_text("one two\nthree four\n\n" * 60, encoding="utf-8")
    run, models = tmp_path / "run", tmp_path / "models"
    places = ["--data", str(data), "--run-folder", str(run), "--models", str(models), "--name", "rhyme"]
    more = ["--tokenizer", kind, "--vocabulary-size", "270", "--separator", "\\n\\n", "--cell", "GRU", "--tied"]
    arguments = ["text", *places, *more, *FLAGS.split()]
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    assert main(arguments) == 0

    manifest = load_manifest(models / "rhyme" / "1")
    assert (manifest.id, manifest.cell, manifest.license) == ("rhyme/1", "GRU", "CC0-1.0")
    assert manifest.text is not None and manifest.text.tokenizer_kind == kind
    assert str(tmp_path) not in manifest.model_dump_json() and "--data rhyme.txt" in manifest.training.command
    assert 0 < manifest.training.metrics["streamed_bits_per_byte"] < 8

    tokenizer = Tokenizer.from_file(str(models / "rhyme" / "1" / "tokenizer.json"))
    assert tokenizer.decode([manifest.text.start_token]) == "\n"
    graphs = ExportedTextGenerator(models / "rhyme" / "1")
    tokens, _, _ = graphs.generate(graphs.initial(), np.full((1, 12), 0.4, np.float32))
    assert isinstance(tokenizer.decode(tokens[0].tolist()), str) and tokens.shape == (1, 12)

    card = (models / "rhyme" / "1" / "README.md").read_text(encoding="utf-8")
    assert all(words in card for words in ("# rhyme", "five gram", "state reset every 64 tokens", "Temperature 0.8"))

    assert main(["export", str(run), "--models", str(models)]) == 0
    assert load_manifest(models / "rhyme" / "2").weights == manifest.weights


def test_an_unfinished_run_is_not_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = {"task": "text", "command": "", "commit": "", "data_name": "", "data_sha256": "", "seed": 0}
    (tmp_path / "run.json").write_text(json.dumps(record | {"settings": {"card": {"name": "x"}}}))
    assert main(["export", str(tmp_path), "--models", str(tmp_path)]) == 1
    assert "expected a finished run with result.json" in " ".join(capsys.readouterr().err.split())
