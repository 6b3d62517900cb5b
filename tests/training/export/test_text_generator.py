"""The graphs of a text generator: pending token, sampling with its controls, weights kept once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.training.export.tiny import CELLS, tiny_text_generator  # noqa: E402
from training.export.runner import ExportedTextGenerator  # noqa: E402
from training.export.text_generator import export_text_generator  # noqa: E402
from training.networks.recurrence import Cell  # noqa: E402
from training.networks.text_generator import TextGenerator  # noqa: E402

UNIFORMS = np.random.default_rng(0).uniform(0, 1, (400, 1)).astype(np.float32)


def export(network: TextGenerator, folder: Path, unknown_token: int | None = None) -> ExportedTextGenerator:
    export_text_generator(network, folder, start_token=3, unknown_token=unknown_token)
    return ExportedTextGenerator(folder)


def next_probabilities(network: TextGenerator, token: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    with torch.no_grad():
        logits, _ = network.eval()(torch.tensor([[token]]), network.recurrence.initial_state(1))
    return np.asarray(torch.softmax(logits[0, 0], 0).numpy())


def test_session_begins_with_the_start_token_pending(tmp_path: Path) -> None:
    row = export(tiny_text_generator(), tmp_path).initial()
    assert row[0, -1] == 3 and not row[0, :-1].any()


def test_observed_tokens_answer_their_log_probability_and_the_last_stays_pending(tmp_path: Path) -> None:
    network = tiny_text_generator()
    graphs = export(network, tmp_path)
    found, rows = graphs.observe(graphs.initial(), np.array([[7, 2]]))
    np.testing.assert_allclose(found[0, 0], np.log(next_probabilities(network, 3)[7]), rtol=1e-5)
    assert rows[0, -1] == 2


def test_predictions_are_what_may_follow_and_leave_the_row_of_observing(tmp_path: Path) -> None:
    network = tiny_text_generator()
    graphs = export(network, tmp_path)
    tokens = np.array([[7, 2, 5]])
    logits, rows = graphs.predict(graphs.initial(), tokens)
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    found, observed = graphs.observe(graphs.initial(), tokens)
    np.testing.assert_allclose(np.take_along_axis(logs, tokens[..., None], 2)[..., 0], found, rtol=1e-5)
    np.testing.assert_allclose(np.exp(logs[0, 0]), next_probabilities(network, 3), rtol=1e-4)
    assert rows.tobytes() == observed.tobytes()


def test_the_last_token_has_no_part_in_the_predictions_and_is_pending(tmp_path: Path) -> None:
    graphs = export(tiny_text_generator(), tmp_path)
    one, row = graphs.predict(graphs.initial(), np.array([[7, 2]]))
    other, other_row = graphs.predict(graphs.initial(), np.array([[7, 5]]))
    assert one.tobytes() == other.tobytes() and (row[0, -1], other_row[0, -1]) == (2, 5)
    other_row[0, -1] = 2
    assert row.tobytes() == other_row.tobytes()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_graphs_load_without_a_warning(
    cell: Cell, tied: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    export(tiny_text_generator(cell, 2, tied=tied), tmp_path, unknown_token=0)
    assert capfd.readouterr() == ("", "")


def test_tied_weights_lie_in_the_file_once(tmp_path: Path) -> None:
    network = tiny_text_generator(tied=True)
    export(network, tmp_path)
    matrices = 6  # embedding, projection, output bias, and three of the recurrence
    pages = (tmp_path / "weights.bin").stat().st_size / 4096
    assert matrices - 1 < pages < matrices


def test_draws_have_the_frequencies_of_the_model(tmp_path: Path) -> None:
    network = tiny_text_generator()
    graphs = export(network, tmp_path)
    uniforms = ((np.arange(4000) + 0.5) / 4000).astype(np.float32)[:, None]
    tokens, _, _ = graphs.generate(graphs.initial(4000), uniforms)
    found = np.bincount(tokens[:, 0], minlength=11) / 4000
    np.testing.assert_allclose(found, next_probabilities(network, 3), atol=6e-4)
    assert (np.diff(tokens[:, 0]) >= 0).all()


def test_temperature_sharpens_and_zero_is_the_likeliest_token(tmp_path: Path) -> None:
    network = tiny_text_generator()
    graphs = export(network, tmp_path)
    cold, _, _ = graphs.generate(graphs.initial(400), UNIFORMS, temperature=0.0)
    assert set(cold[:, 0]) == {next_probabilities(network, 3).argmax()}
    cool, hot = (graphs.generate(graphs.initial(400), UNIFORMS, temperature=t)[1].mean() for t in (0.5, 2.0))
    assert cool > hot


def test_top_p_keeps_the_smallest_set_that_reaches_it(tmp_path: Path) -> None:
    network = tiny_text_generator()
    graphs = export(network, tmp_path)
    probabilities = next_probabilities(network, 3)
    order = np.argsort(-probabilities)
    needed = int(np.searchsorted(np.cumsum(probabilities[order]), 0.6)) + 1
    tokens, log_probabilities, _ = graphs.generate(graphs.initial(400), UNIFORMS, top_p=0.6)
    assert set(tokens[:, 0]) == set(order[:needed])
    # The reported likelihood is the model's own, whatever was cut away.
    np.testing.assert_allclose(np.exp(log_probabilities[:, 0]), probabilities[tokens[:, 0]], rtol=1e-5)


def test_a_row_that_cuts_does_not_touch_its_neighbours(tmp_path: Path) -> None:
    graphs = export(tiny_text_generator(), tmp_path)
    uniforms = np.random.default_rng(1).uniform(0, 1, (4, 50)).astype(np.float32)
    apart = graphs.generate(graphs.initial(4), uniforms)
    together = graphs.generate(graphs.initial(4), uniforms, top_p=np.array([1, 0.3, 1, 1], np.float32))
    for index in range(3):
        assert apart[index][[0, 2, 3]].tobytes() == together[index][[0, 2, 3]].tobytes()
    assert apart[0][1].tobytes() != together[0][1].tobytes()


def test_unknown_token_is_observed_but_never_drawn(tmp_path: Path) -> None:
    network = tiny_text_generator()
    likeliest = int(next_probabilities(network, 3).argmax())
    graphs = export(network, tmp_path, unknown_token=likeliest)
    tokens, _, _ = graphs.generate(graphs.initial(400), UNIFORMS)
    assert likeliest not in tokens and graphs.unknown_token == likeliest
    found, _ = graphs.observe(graphs.initial(), np.array([[likeliest]]))
    np.testing.assert_allclose(np.exp(found[0, 0]), next_probabilities(network, 3)[likeliest], rtol=1e-5)


@pytest.mark.parametrize("uniform", [2.0**-126, 2.0**-24, 1 - 2.0**-24])
def test_extreme_uniforms_still_draw_tokens_that_can_be(uniform: float, tmp_path: Path) -> None:
    graphs = export(tiny_text_generator(), tmp_path, unknown_token=10)
    uniforms = np.full((1, 30), uniform, np.float32)
    for top_p in (1.0, 0.5):
        tokens, log_probabilities, _ = graphs.generate(graphs.initial(), uniforms, top_p=top_p)
        assert (tokens < 10).all() and np.isfinite(log_probabilities).all()
