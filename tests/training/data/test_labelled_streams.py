"""Windows of labelled sequences: every sequence once in an epoch, whole or in pieces, scored where it is to be."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.data.labelled import Labelled  # noqa: E402
from training.data.labelled_streams import Example, LabelledStreams, examples_of  # noqa: E402
from training.data.tokenizers import build_tokenizer  # noqa: E402
from training.errors import TrainingError  # noqa: E402

LENGTHS = [3, 5, 2, 9, 4, 4, 7]


def examples() -> list[Example]:
    """Sequence n is of token 10·n + 1 and those that follow it, and of class n."""
    found = []
    for number, length in enumerate(LENGTHS):
        targets = np.full(length, np.nan, np.float32)
        targets[-1] = number
        found.append(Example(10 * number + 1 + np.arange(length), targets))
    return found


def read_back(streams: LabelledStreams, epoch: int) -> dict[int, list[int]]:
    """The tokens of each sequence by its class, put together from an epoch's windows."""
    found: dict[int, list[int]] = {}
    columns: list[list[int]] = []
    for index in range(streams.windows_per_epoch):
        tokens, targets, resets = streams.window(epoch, index)
        assert tokens.shape == targets.shape and resets.all() or not resets.any()
        if resets.all():
            columns = [[] for _ in range(streams.batch_size)]
        for column in range(streams.batch_size):
            columns[column] += tokens[column].tolist()
            scored = ~torch.isnan(targets[column])
            if scored.any():
                label = int(targets[column][scored].item())
                found[label] = columns[column][: LENGTHS[label]]
                assert columns[column].index(found[label][-1]) == LENGTHS[label] - 1
    return found


@pytest.mark.parametrize("length", [0, 1, 3, 9, 64])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 10])
def test_every_sequence_comes_once_in_an_epoch_from_its_begin_to_its_end(length: int, batch_size: int) -> None:
    streams = LabelledStreams(examples(), batch_size, length)
    for epoch in (0, 1):
        expected = {number: example.tokens.tolist() for number, example in enumerate(examples())}
        assert read_back(streams, epoch) == expected


def test_the_last_step_of_a_batchs_longest_sequence_has_a_whole_window_before_it() -> None:
    streams = LabelledStreams(examples(), 1, 4)
    for index in range(streams.windows_per_epoch):
        tokens, targets, _ = streams.window(0, index)
        if not torch.isnan(targets).all():
            label = int(targets[~torch.isnan(targets)].item())
            assert tokens.shape[1] == min(4, LENGTHS[label]) and not torch.isnan(targets[0, -1])


def test_a_window_depends_on_seed_epoch_and_index_alone() -> None:
    streams, others = LabelledStreams(examples(), 2, 3, seed=1), LabelledStreams(examples(), 2, 3, seed=1)
    last = streams.windows_per_epoch - 1
    others.window(5, 0)
    for ours, theirs in zip(streams.window(2, last), others.window(2, last), strict=True):
        torch.testing.assert_close(ours, theirs, equal_nan=True)


def test_the_order_is_another_in_every_epoch() -> None:
    streams = LabelledStreams(examples(), 1)
    orders = {tuple(int(streams.window(epoch, i).inputs[0, 0]) for i in range(len(LENGTHS))) for epoch in range(6)}
    assert len(orders) > 3


def test_some_tokens_are_replaced_by_the_unknown_one() -> None:
    streams = LabelledStreams(examples(), 7, unknown_token=0, unknown_share=0.5)
    tokens, targets, _ = streams.window(0, 0)
    share = (tokens == 0).float().mean().item()
    plain = (LabelledStreams(examples(), 7).window(0, 0).inputs == 0).float().mean().item()  # those filled up
    assert share > plain + 0.1 and (~torch.isnan(targets)).sum() == len(LENGTHS)


def test_the_last_step_is_always_scored_and_a_share_of_those_before() -> None:
    everywhere = [Example(tokens, np.full(len(tokens), 3, np.float32)) for tokens, _ in examples()]
    for length, share in ((0, 0.0), (0, 0.3), (4, 0.3)):
        streams, before, lasts = LabelledStreams(everywhere, 7, length, prefix_share=share), 0, 0
        for epoch in range(20):
            found = np.concatenate(
                [streams.window(epoch, i).targets.numpy() for i in range(streams.windows_per_epoch)], 1
            )
            ends = np.sort([row.nonzero()[0].max() + 1 for row in ~np.isnan(found)]).tolist()
            assert ends == sorted(LENGTHS)
            lasts += len(LENGTHS)
            before += int((~np.isnan(found)).sum()) - len(LENGTHS)
        assert abs(before / (20 * sum(LENGTHS) - lasts) - share) < 0.08


def test_labels_become_targets_at_the_last_step_at_every_step_or_as_they_are() -> None:
    tokenizer = build_tokenizer("char", "abc")
    whole, each = [Labelled("abc", ("y",))], [Labelled("abc", ("x", "y", "x"))]
    nan = np.nan
    for sequences, scored, expected in (
        (whole, "last", [nan, nan, 1]),
        (whole, "every", [1, 1, 1]),
        (each, "last", [0, 1, 0]),
    ):
        (example,) = examples_of(sequences, ("x", "y"), tokenizer, "char", scored)  # type: ignore[arg-type]
        np.testing.assert_array_equal(example.targets, np.array(expected, np.float32))
        np.testing.assert_array_equal(example.tokens, [1, 2, 3])


def test_labels_of_characters_need_tokens_of_characters() -> None:
    tokenizer = build_tokenizer("byte", "")
    with pytest.raises(TrainingError, match="expected a token for each of 2 labelled characters, got 3"):
        examples_of([Labelled("é!", ("x", "y"))], ("x", "y"), tokenizer, "byte")
