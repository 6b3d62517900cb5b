"""Text is read, split at the end, and cut into windows that continue one another."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.data.text import TextStreams, load_text, split_held_out  # noqa: E402
from training.errors import TrainingError  # noqa: E402


def test_a_file_is_read_with_its_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("明月\n".encode())
    text = load_text(path)
    assert (text.name, text.files) == ("a.txt", ("明月\n",))
    assert text.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.md"):
        (tmp_path / name).write_text(name)
    assert load_text(tmp_path).files == ("a.txt", "b.txt")


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_what_is_no_text_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainingError, match="data a.txt: expected"):
        load_text(path)


def test_the_end_is_held_out_by_characters_or_by_documents() -> None:
    assert split_held_out(["abcdefghij"], 0.2) == ("abcdefgh", "ij")
    assert split_held_out(["a\n\nbbbbbbbb\n\nc\n\nd"], 0.5, "\n\n") == ("a\n\nbbbbbbbb\n\n", "c\n\nd")
    with pytest.raises(TrainingError, match="expected at least one whole document in the last 0.5 of a file"):
        split_held_out(["abc"], 0.5, "\n\n")
    with pytest.raises(TrainingError, match="between 0 and 1"):
        split_held_out(["abc"], 1.0)


def test_of_several_files_the_end_of_each_is_held_out() -> None:
    assert split_held_out(["abcdefghij", "klmno"], 0.2) == ("abcdefgh\nklmn", "ij\no")
    assert split_held_out(["a", "b\n\nc"], 0.5, "\n\n") == ("a\nb\n\n", "c")


def test_windows_continue_one_another_in_every_column_and_targets_are_the_next_tokens() -> None:
    streams = TextStreams(np.arange(100), batch_size=3, length=8)
    assert streams.windows_per_epoch == 4
    for epoch in range(3):
        windows = [streams.window(epoch, index) for index in range(4)]
        whole = torch.cat([window.inputs for window in windows], dim=1)
        assert torch.equal(whole.diff(dim=1), torch.ones(3, 31, dtype=torch.int64))
        assert all(torch.equal(window.targets, window.inputs + 1) for window in windows)
        assert [bool(window.resets.all()) for window in windows] == [True, False, False, False]
        # Together the columns are one unbroken part of the text.
        assert whole.flatten().tolist() == list(range(int(whole[0, 0]), int(whole[0, 0]) + 96))


def test_every_token_is_reached_in_some_epoch_and_a_window_never_depends_on_what_was_asked_before() -> None:
    streams = TextStreams(np.arange(50), batch_size=2, length=10, seed=3)
    reached = {int(t) for e in range(60) for i in range(2) for t in streams.window(e, i).targets.flatten()}
    assert reached == set(range(1, 50))
    assert torch.equal(streams.window(7, 1).inputs, TextStreams(np.arange(50), 2, 10, seed=3).window(7, 1).inputs)


def test_a_shorter_stride_gives_overlapping_windows_up_to_the_end_of_the_column() -> None:
    streams = TextStreams(np.arange(41), batch_size=2, length=8, stride=3)
    assert streams.windows_per_epoch == 5 and streams.spare == 0
    starts = [streams.window(0, index).inputs[:, 0].tolist() for index in range(5)]
    assert starts == [[0, 20], [3, 23], [6, 26], [9, 29], [12, 32]]


def test_length_zero_is_one_window_over_the_whole_column() -> None:
    streams = TextStreams(np.arange(41), batch_size=2, length=0)
    assert streams.windows_per_epoch == 1 and streams.window(0, 0).inputs.shape == (2, 20)


@pytest.mark.parametrize("length", [0, 11])
def test_a_text_too_short_for_one_window_is_refused(length: int) -> None:
    with pytest.raises(TrainingError, match="lower one of the two"):
        TextStreams(np.arange(3 if length == 0 else 22), batch_size=4 if length == 0 else 2, length=length)


def test_byte_order_mark_and_windows_line_ends_do_not_become_tokens(tmp_path: Path) -> None:
    path = tmp_path / "windows.txt"
    path.write_bytes("\ufeffone\r\ntwo\r\n".encode())
    text = load_text(path)
    assert text.files == ("one\ntwo\n",)
    assert text.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
