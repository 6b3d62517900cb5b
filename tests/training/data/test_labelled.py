"""Labelled sequences from folders, tables and JSON lines; a split that keeps shares and no text on both sides."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from training.data.labelled import Labelled, load_labelled, split_stratified
from training.errors import TrainingError


@pytest.fixture
def names(tmp_path: Path) -> Path:
    folder = tmp_path / "names"
    folder.mkdir()
    (folder / "Czech.txt").write_text("Novák\nDvořák\n\n Novák \n", encoding="utf-8")
    (folder / "Dutch.txt").write_text("Novák\nVries\n", encoding="utf-8")
    return folder


def test_a_folder_has_a_class_for_each_file_and_a_sequence_for_each_line(names: Path) -> None:
    found = load_labelled(names)
    assert (found.name, found.classes, found.per_step, found.repeats) == ("names", ("Czech", "Dutch"), False, 1)
    pairs = [(sequence.text, *sequence.labels) for sequence in found.sequences]
    assert pairs == [("Novák", "Czech"), ("Dvořák", "Czech"), ("Novák", "Dutch"), ("Vries", "Dutch")]
    content = b"".join((names / file).read_bytes() for file in ("Czech.txt", "Dutch.txt"))
    assert found.sha256 == hashlib.sha256(content).hexdigest()


def test_classes_whose_files_hold_nothing_are_named_in_a_note(names: Path) -> None:
    assert load_labelled(names).note is None
    (names / "Blank.txt").write_text("\n  \n", encoding="utf-8")
    assert load_labelled(names).note == "note: Blank holds nothing"
    (names / "Empty.txt").touch()
    found = load_labelled(names)
    assert found.note == "note: Blank, Empty hold nothing" and found.classes == ("Czech", "Dutch")


@pytest.mark.parametrize(("file", "separator"), [("mail.csv", ","), ("mail.tsv", "\t")])
def test_a_table_has_a_sequence_for_each_row(tmp_path: Path, file: str, separator: str) -> None:
    rows = [("id", "label", "text"), ("1", "spam", "win"), ("2", "ham", "lunch?"), ("3", "ham", "")]
    (tmp_path / file).write_text("\n".join(separator.join(row) for row in rows), encoding="utf-8")
    found = load_labelled(tmp_path / file)
    assert found.sequences == (Labelled("win", ("spam",)), Labelled("lunch?", ("ham",)))


def test_json_lines_hold_a_label_of_the_whole_or_of_every_character(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "ab", "label": "x"}\n\n{"text": "cd", "label": "y"}\n')
    assert not load_labelled(path).per_step
    path.write_text('{"text": "a(b)", "labels": ["out", "in", "in", "in"]}\n')
    found = load_labelled(path)
    assert found.per_step and found.classes == ("in", "out")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("data.txt", "a", "expected a folder of .txt files, or a .csv, .tsv or .jsonl file"),
        ("data.csv", "text,class\na,b\n", r"expected the columns text and label, got \['text', 'class'\]"),
        ("data.csv", "text,label\na,b\n", "expected at least two classes, got b"),
        ("data.csv", "text,label\n", "expected at least two classes, got none"),
        ("data.jsonl", "[]", "line 1: expected an object with text and label or labels"),
        ("data.jsonl", '{"text": 1, "label": "a"}', "line 1: expected a text, and texts for labels"),
        ("data.jsonl", '{"text": "ab", "labels": ["a"]}', "line 1: expected a label for each of 2 characters, got 1"),
        (
            "data.jsonl",
            '{"text": "ab", "labels": ["a", "b"]}\n{"text": "cd", "label": "a"}',
            "expected a label for every sequence or for every character, got both",
        ),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, file: str, content: str, says: str) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(TrainingError, match=says):
        load_labelled(tmp_path / file)


def test_a_missing_file_and_a_foreign_encoding_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="data none.csv: expected a file or a folder: No such file"):
        load_labelled(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("text,label\né,a\n".encode("latin-1"))
    with pytest.raises(TrainingError, match="expected UTF-8, got byte 0xe9"):
        load_labelled(tmp_path / "latin.csv")


def many() -> list[Labelled]:
    """200 of class a, 100 of b, 20 of c; every tenth text of b is also one of c."""
    common = [Labelled(f"a{index}", ("a",)) for index in range(200)] + [Labelled(f"b{i}", ("b",)) for i in range(100)]
    return common + [Labelled(f"b{10 * index}" if index < 10 else f"c{index}", ("c",)) for index in range(20)]


def test_a_share_of_every_class_is_held_out() -> None:
    rest, held = split_stratified(many(), 0.1, seed=0)
    assert sorted(map(repr, (*rest, *held))) == sorted(map(repr, many()))
    counts = Counter(sequence.labels[0] for sequence in held)
    assert counts["a"] == 20 and counts["c"] == 2 and 9 <= counts["b"] <= 11


def test_no_text_is_on_both_sides() -> None:
    for seed in range(5):
        rest, held = split_stratified(many(), 0.3, seed)
        assert not {one.text for one in rest} & {one.text for one in held}


def test_the_split_follows_from_the_seed() -> None:
    assert split_stratified(many(), 0.1, 3) == split_stratified(many(), 0.1, 3)
    assert split_stratified(many(), 0.1, 3) != split_stratified(many(), 0.1, 4)


def test_sequences_whose_characters_are_labelled_are_split_among_all() -> None:
    sequences = [Labelled(json.dumps(index) * 2, ("x", "y")) for index in range(10, 30)]
    rest, held = split_stratified(sequences, 0.25, 0)
    assert (len(rest), len(held)) == (15, 5)


@pytest.mark.parametrize("share", [0.0, 1.0, 0.001])
def test_a_share_that_leaves_a_side_empty_is_refused(share: float) -> None:
    with pytest.raises(TrainingError, match="held-out: expected"):
        split_stratified(many(), share, 0)
