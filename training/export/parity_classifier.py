"""Parity of an exported classifier with its network: probabilities after every step."""

from __future__ import annotations

import copy

import numpy as np
import torch

from training.export.exported import Exported, Verified
from training.export.parity import BATCHES, LENGTHS, check_exactness, require_close
from training.export.runner import ExportedClassifier
from training.networks.classifier import Classifier


def classifier_parity(network: Classifier, exported: Exported) -> Verified:
    """The export, once it is shown to compute what the network computes.

    Compared at several batch sizes and lengths: probabilities with PyTorch; the whole with pieces and single steps, and
    a batch with its rows alone, bit for bit.

    Raises:
        ParityError: the first check that fails, and by how much.
    """
    graphs = ExportedClassifier(exported.folder)
    network = copy.deepcopy(network).cpu().eval()
    errors = [_check(network, graphs, batch, length) for batch in BATCHES for length in LENGTHS]
    return Verified(exported, max(errors))


def _check(network: Classifier, graphs: ExportedClassifier, batch: int, length: int) -> float:
    """Largest error of one comparison: the first half of the tokens, then the rest from the state after it."""
    rng = np.random.default_rng(batch * 1000 + length)
    tokens = rng.integers(0, network.vocabulary_size, (batch, 2 * length))
    state, found = graphs.initial(batch), []
    for part in (tokens[:, :length], tokens[:, length:]):
        outputs = check_exactness(graphs, "observe", {"state": state, "tokens": part}, ["tokens"])
        state = outputs["next_state"]
        found.append(outputs["probabilities"])
    with torch.no_grad():
        logits, _ = network(torch.from_numpy(tokens), network.recurrence.initial_state(batch))
    expected = torch.softmax(logits, -1).numpy()
    return require_close(f"batch {batch}, length {2 * length}: probabilities", np.concatenate(found, axis=1) - expected)
