"""Sampling repeats with its seed, follows a prompt, and never draws the unknown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.training.tiny import NETWORK  # noqa: E402
from training.data.text import TextStreams  # noqa: E402
from training.data.tokenizers import build_tokenizer, encode  # noqa: E402
from training.evaluation.text_metrics import next_token_loss  # noqa: E402
from training.evaluation.text_samples import sample_text  # noqa: E402
from training.fit import FitSettings, fit  # noqa: E402
from training.networks.text_generator import TextGenerator  # noqa: E402


def test_a_seed_repeats_and_cold_sampling_writes_what_was_learned(tmp_path: Path) -> None:
    tokenizer = build_tokenizer("char", "abcd\n")
    tokens = np.tile(encode(tokenizer, "char", "abcd\n"), 80)
    torch.manual_seed(0)
    network = TextGenerator(tokenizer.get_vocab_size(), NETWORK)
    settings = FitSettings(epochs=8, bptt_length=10, batch_size=4, learning_rate=0.03, warmup_steps=2, threads=1)
    fit(network, next_token_loss, TextStreams(tokens, 4, 10), lambda: 0.0, settings, tmp_path)
    prompt = encode(tokenizer, "char", "ab").tolist()
    assert sample_text(network, tokenizer, prompt, 8, 0.0, seed=1) == "cd\nabcd\n"
    hot = [sample_text(network, tokenizer, prompt, 50, 5.0, seed, unknown_token=0) for seed in (1, 1, 2)]
    assert hot[0] == hot[1] != hot[2]
    assert all("<unk>" not in text for text in hot)
