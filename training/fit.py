"""Fits a network: windows in, best weights out, with clipping, schedule, early stopping, checkpoints and resume.

The loop is `Fit.run`; one update is `Fit._update`. Everything that changes while it runs is in
`training.fit_state`, which is what a checkpoint holds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from training import distributed
from training.bptt import Loss, Window, scored_steps, unroll
from training.checkpoint import CHECKPOINT_FILE, load_checkpoint, random_state, restore_random_state, save_checkpoint
from training.diagnose.gradient_norms import layer_norms
from training.diagnose.monitor import GradientMonitor
from training.errors import TrainingError
from training.fit_settings import FitSettings
from training.fit_state import FitState
from training.interrupt import StopRequest, stop_on_signal
from training.networks.recurrence import Recurrence
from training.optimisers import build_optimizer, learning_rate, set_learning_rate
from training.precision import MixedPrecision
from training.progress import STEPS_BETWEEN_SCALARS, EpochRecord, FitProgress

__all__ = ["EpochRecord", "FitResult", "FitSettings", "WindowSource", "fit"]


class WindowSource(Protocol):
    """Training data as windows of contiguous streams; `window` depends on its arguments and nothing else."""

    @property
    def windows_per_epoch(self) -> int: ...

    def window(self, epoch: int, index: int) -> Window: ...


@dataclass(frozen=True)
class FitResult:
    """How a fit went. The network holds the best weights, unless the fit was interrupted."""

    history: list[EpochRecord]
    best_validation: float
    best_epoch: int
    interrupted: bool = False


def fit(
    network: nn.Module,
    loss: Loss,
    train: WindowSource,
    validate: Callable[[], float],
    settings: FitSettings,
    folder: Path,
    resume: bool = False,
) -> FitResult:
    """Train a network that has a `recurrence`, and leave it with the weights that validated best.

    Args:
        loss: (outputs, targets) of one window -> their mean loss.
        validate: loss on held-out data of the network as it stands; called in evaluation mode, after each epoch.
        folder: receives the checkpoint, the history and TensorBoard's events.
        resume: continue from the folder's checkpoint; the result is that of a run never stopped.

    Raises:
        TrainingError: the loss is no longer finite, or the checkpoint cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    # Every process draws its own dropout; the weights were drawn before, equally in all.
    torch.manual_seed(settings.seed + distributed.rank())
    running = Fit(network, loss, train, validate, settings, folder)
    if resume and (folder / CHECKPOINT_FILE).exists():  # a run killed before its first checkpoint begins again
        running.restore()
    with stop_on_signal() as stop:
        return running.run(stop)


class Fit:
    """One fit under way."""

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        train: WindowSource,
        validate: Callable[[], float],
        settings: FitSettings,
        folder: Path,
    ) -> None:
        self.network, self.loss, self.train, self.validate = network, loss, train, validate
        self.settings, self.folder = settings, folder
        if not isinstance(network.recurrence, Recurrence):
            raise TypeError(f"network: expected its recurrence to be a Recurrence, got {type(network.recurrence)}")
        self.recurrence = network.recurrence
        self.device = next(network.parameters()).device
        self.optimizer = build_optimizer(network, settings)
        self.precision = MixedPrecision(settings.precision, self.device)
        self.monitor = GradientMonitor(network, loss, train)
        self.state = FitState()
        self.began = self.saved = time.monotonic()

    def run(self, stop: StopRequest) -> FitResult:
        """Go on until the epochs, the time or the patience are used up, or somebody asks to stop."""
        state = self.state
        with FitProgress(self.folder, state.history, state.step, speaks=distributed.rank() == 0) as progress:
            while not state.done:
                self._epoch(progress, stop)
                if state.interrupted:
                    break
                self._validated(progress)
                self.save()
        if not state.interrupted:
            self.network.load_state_dict(state.best_weights)
        self.network.eval()
        return FitResult(list(state.history), state.best_validation, state.best_epoch, state.interrupted)

    def _epoch(self, progress: FitProgress, stop: StopRequest) -> None:
        """Run what is left of the epoch, or less if time is up or somebody asks to stop."""
        state = self.state
        self.network.train()
        while state.index < self.train.windows_per_epoch and not state.out_of_time:
            window = distributed.own_columns(self.train.window(state.epoch, state.index)).to(self.device)
            loss, norm, by_layer, asked = self._update(window, stop)
            state.count(loss, norm, self.settings.clip_norm)
            rate = state.learning_rate
            progress.advanced(self._progress(), state.epoch, state.step, loss, norm, rate, by_layer)
            state.out_of_time = self.settings.max_seconds is not None and state.seconds >= self.settings.max_seconds
            if asked:
                state.interrupted = True
                self.save()
                return
            if state.seconds - self.saved > self.settings.checkpoint_seconds:
                self.save()

    def _update(self, window: Window, stop: StopRequest) -> tuple[float, float, dict[str, float], bool]:
        """One window forward, back, and one step: its loss, its gradient's norm, now and then layer by layer too,
        and whether to stop."""
        state = self.state
        state.learning_rate = learning_rate(self.settings, state.step, state.epoch, self._progress(), state.falls)
        set_learning_rate(self.optimizer, state.learning_rate)
        self.optimizer.zero_grad(set_to_none=True)
        initial = self.recurrence.initial_state(window.resets.shape[0])
        carried, stride = state.carried or initial, self.settings.bptt_stride
        with self.precision.autocast():
            loss, state.carried = unroll(self.network, self.loss, window, carried, stride, initial)
        self.precision.backward(loss, self.optimizer)
        elapsed = state.seconds_before + time.monotonic() - self.began
        mean_loss, (asked, state.seconds) = distributed.average(
            self.network, loss.item(), scored_steps(window, self.settings.bptt_stride), [float(stop.made), elapsed]
        )
        by_layer = {} if (state.step + 1) % STEPS_BETWEEN_SCALARS else layer_norms(self.network)
        limit = self.settings.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), limit).item()
        self._require_finite(mean_loss, norm)
        self.precision.step(self.optimizer)
        return mean_loss, norm, by_layer, asked > 0

    def _require_finite(self, loss: float, norm: float) -> None:
        if not math.isfinite(loss) or not (math.isfinite(norm) or self.precision.skips_overflow):
            raise TrainingError(
                f"step {self.state.step}: expected a finite loss and gradient, got {loss} and {norm}; "
                "lower --learning-rate or --clip-norm, or look for extreme values in the data"
            )

    def _validated(self, progress: FitProgress) -> None:
        """Close the epoch: validate, keep the best weights, decide whether to go on."""
        self.network.eval()
        with torch.no_grad():
            validation = distributed.from_first(self.validate() if distributed.rank() == 0 else math.nan)
        record, best = self.state.close_epoch(validation, self.network, self.settings)
        progress.finished_epoch(record, best=best)
        if progress.speaks and self.monitor.due(self.state.seconds):
            progress.measured(record.step, self.monitor.measure())

    def _progress(self) -> float:
        by_steps = self.state.step / (self.settings.epochs * self.train.windows_per_epoch)
        by_time = self.state.seconds / self.settings.max_seconds if self.settings.max_seconds else 0.0
        return max(by_steps, by_time)

    def save(self) -> None:
        """Write a checkpoint from which `restore` goes on exactly here."""
        self.saved = self.state.seconds
        carried = distributed.whole_state(self.state.carried) if self.state.carried else None
        random = distributed.gathered(random_state(self.device))
        if distributed.rank() == 0:
            content = {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "precision": self.precision.state_dict(),
                "state": self.state.to_dict(),
                "carried": carried,
                "random": random,
            }
            save_checkpoint(self.folder, content)

    def restore(self) -> None:
        """Go back to where the folder's checkpoint was written."""
        content = load_checkpoint(self.folder)
        self.network.load_state_dict(content["network"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.precision.load_state_dict(content["precision"])
        self.state = FitState.from_dict(content["state"])
        if content["carried"] is not None:
            self.state.carried = tuple(part.to(self.device) for part in distributed.own_state(content["carried"]))
        random = content["random"]
        if len(random) == distributed.world_size():
            restore_random_state(random[distributed.rank()], self.device)
        self.saved = self.state.seconds
