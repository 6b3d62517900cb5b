"""Draws `cells.png` and `truncation.png` of docs/bptt.md: RNN, GRU and LSTM of one size, trained on the same text.

How far the gradient of one step's loss reaches back, before training and after; and what windows of some length miss
of the gradient. The numbers that the document quotes are printed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from benchmarks.table import print_table
from training.bptt import Window, unroll
from training.data.text import TextStreams, load_text, split_held_out
from training.data.tokenizers import build_tokenizer, encode
from training.diagnose.figure import draw_truncation, mark_window
from training.diagnose.gradient_reach import FADED, Curve, gradient_reach
from training.diagnose.truncation_bias import TruncationBias, truncation_bias
from training.drawing import BLUE, GREEN, GREY, ORANGE, save_figure, style
from training.evaluation.text_metrics import next_token_loss
from training.networks.recurrence import Cell, State
from training.networks.text_generator import TextGenerator, TextGeneratorSettings

FOLDER = Path("docs") / "figures"
CELLS: tuple[Cell, ...] = ("RNN", "GRU", "LSTM")
COLOURS = {"RNN, hidden state": ORANGE, "GRU, hidden state": GREEN, "LSTM, cell state": BLUE}
NAMES: dict[Cell, str] = dict(zip(CELLS, COLOURS, strict=True))
HIDDEN, WINDOW, BATCH, RATE, CLIP = 128, 64, 32, 3e-3, 1.0
STEPS, SEQUENCES = 256, 32


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks trained_cells", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a text, such as tinyshakespeare.txt")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the figures go")
    parser.add_argument("--updates", type=int, default=800, help="of each network")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    os.nice(10)
    text, _ = split_held_out(load_text(chosen.data).files, 0.1)
    tokenizer = build_tokenizer("char", text)
    tokens, vocabulary = encode(tokenizer, "char", text), tokenizer.get_vocab_size()
    before: dict[str, Curve] = {}
    after: dict[str, Curve] = {}
    biases: dict[str, TruncationBias] = {}
    for cell in CELLS:
        network = untrained(cell, vocabulary)
        before[NAMES[cell]] = reach(network, tokens)
        losses = train(network, tokens, chosen.updates)
        print(f"{cell}: {np.mean(losses[-50:]):.3f} nats per character over its last 50 windows", flush=True)
        after[NAMES[cell]] = reach(network, tokens)
        biases[cell] = truncation_bias(
            network, next_token_loss, *stretch(network, tokens), [1 << power for power in range(8)]
        )
    _draw_cells(chosen.folder / "cells.png", before, after)
    _draw_truncation(chosen.folder / "truncation.png", biases)
    _print(before, after, biases)


def untrained(cell: Cell, vocabulary: int) -> TextGenerator:
    """A network of the one size, the same at every call."""
    torch.manual_seed(0)
    settings = TextGeneratorSettings(cell=cell, hidden_size=HIDDEN, embedding_size=32, dropout=0.0)
    return TextGenerator(vocabulary, settings)


def train(network: TextGenerator, tokens: np.ndarray, updates: int) -> list[float]:
    """Losses of updates by truncated back-propagation over contiguous streams, with Adam."""
    streams = TextStreams(tokens, BATCH, WINDOW)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    state, losses = network.recurrence.initial_state(BATCH), list[float]()
    for update in range(updates):
        optimizer.zero_grad(set_to_none=True)
        loss, state = unroll(
            network, next_token_loss, streams.window(*divmod(update, streams.windows_per_epoch)), state
        )
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        losses.append(loss.item())
    return losses


def stretch(network: TextGenerator, tokens: np.ndarray) -> tuple[Window, State]:
    """The second window of long ones, with the state that the first left behind."""
    streams = TextStreams(tokens, SEQUENCES, STEPS + 1)
    with torch.no_grad():
        _, state = network(streams.window(0, 0).inputs, network.recurrence.initial_state(SEQUENCES))
    return streams.window(0, 1), state


def reach(network: TextGenerator, tokens: np.ndarray) -> Curve:
    """The gradient along the state that the cell remembers in."""
    way = "cell" if network.settings.cell == "LSTM" else "hidden"
    curves = gradient_reach(network, next_token_loss, *stretch(network, tokens)).curves
    return next(curve for curve in curves if curve.name == way)


def _draw_cells(path: Path, before: Mapping[str, Curve], after: Mapping[str, Curve]) -> None:
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _curves(left, before, "before training")
    _curves(right, after, "after training")
    mark_window(right, WINDOW, STEPS)
    left.set_ylabel("‖∂L(t)/∂h(t−k)‖, as a share of that at k = 0")
    left.set_ylim(1e-8, 3)
    right.legend(frameon=False, fontsize=8)
    save_figure(figure, path, colours=256)


def _curves(axes: Axes, curves: Mapping[str, Curve], title: str) -> None:
    style(axes)
    for name, curve in curves.items():
        axes.plot(np.arange(STEPS + 1), curve.mean, color=COLOURS[name], label=name)
    axes.axhline(FADED, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_xlabel("lag k, steps back (dotted: 1 %)")
    axes.set_title(title, loc="left", fontsize=9)


def _draw_truncation(path: Path, biases: Mapping[str, TruncationBias]) -> None:
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    draw_truncation(figure.subplots(), dict(biases), colours=list(COLOURS.values()))
    save_figure(figure, path, colours=256)


def _print(before: Mapping[str, Curve], after: Mapping[str, Curve], biases: Mapping[str, TruncationBias]) -> None:
    lags = (1, 8, 32, 64, 128)
    print_table(
        "Gradient of one step's loss, k steps back, as a share of that at k = 0",
        ["cell", *(f"k = {lag}" for lag in lags), "10 % at", "1 % at", "per step"],
        [
            (
                *(f"{name}, {when}", *(f"{curve.mean[lag]:.2g}" for lag in lags)),
                *(str(curve.reach(share) or f"> {STEPS}") for share in (0.1, 0.01)),
                f"{curve.factor:.3f}",
            )
            for when, curves in (("untrained", before), ("trained", after))
            for name, curve in curves.items()
        ],
    )
    print_table(
        f"Truncated gradient of the recurrence beside that over {STEPS + 1} steps: cosine (norm ratio)",
        ["cell", *(f"window {found.window}" for found in biases["RNN"].by_window)],
        [
            (cell, *(f"{found.cosine:.3f} ({found.norm_ratio:.2f})" for found in bias.by_window))
            for cell, bias in biases.items()
        ],
    )
