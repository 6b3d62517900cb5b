"""A text generator and data small enough to train within a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from training.data.text import TextStreams
from training.evaluation.text_metrics import next_token_loss, quick_validation
from training.fit import FitResult, FitSettings, fit
from training.networks.text_generator import TextGenerator, TextGeneratorSettings

CYCLE = np.tile(np.array([1, 2, 3, 4, 5, 6, 2, 4]), 60)  # 480 tokens; predicting them needs memory of the one before
VOCABULARY_SIZE = 8
NETWORK = TextGeneratorSettings(hidden_size=16, embedding_size=8, dropout=0.1)


def tiny_network(settings: TextGeneratorSettings = NETWORK, seed: int = 0) -> TextGenerator:
    """A fresh network, the same for the same seed."""
    torch.manual_seed(seed)
    return TextGenerator(VOCABULARY_SIZE, settings)


def tiny_streams(settings: FitSettings) -> TextStreams:
    """The cycle, cut as the settings say."""
    return TextStreams(CYCLE, settings.batch_size, settings.bptt_length, settings.bptt_stride, settings.seed)


def fit_tiny(network: TextGenerator, settings: FitSettings, folder: Path, *, resume: bool = False) -> FitResult:
    """Fit a network to the cycle, in one thread."""
    validate = quick_validation(network, CYCLE[:100], 0)
    return fit(network, next_token_loss, tiny_streams(settings), validate, settings, folder, resume)
