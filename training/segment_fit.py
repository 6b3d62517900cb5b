"""Fits a segment forecaster on random windows, and keeps the running mean of its weights.

    windows  →  quantiles on each window's scale  →  quantile loss in units of each series' usual error
    weights  →  their exponential mean, which is what is validated and kept (Polyak and Juditsky, 1992)

No state is carried from window to window, so this is a plain loop over updates. Checkpoints, progress and the way a
run ends are those of `training.fit`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from service.contract.quantile_function import mean_of
from training.checkpoint import CHECKPOINT_FILE, load_checkpoint, random_state, restore_random_state, save_checkpoint
from training.errors import TrainingError
from training.fit import FitResult
from training.interrupt import StopRequest, stop_on_signal
from training.networks.quantile_head import quantile_loss
from training.networks.segment_forecaster import SegmentForecaster
from training.optimisers import set_learning_rate
from training.progress import EpochRecord, FitProgress
from training.segment_fit_settings import SegmentFitSettings
from training.segment_windows import Batch, SegmentWindows

LOSS_NOT_FINITE = (
    "expected a finite loss and gradient, got {} and {}; lower the learning rate, or look for extreme values"
)


def fit_segments(
    network: SegmentForecaster,
    windows: SegmentWindows,
    settings: SegmentFitSettings,
    folder: Path,
    validate: Callable[[SegmentForecaster], float] | None = None,
    resume: bool = False,
) -> FitResult:
    """Train a network, and leave it with the mean weights that validated best, or the last without validation.

    Args:
        folder: receives the checkpoint, the history and TensorBoard's events.
        validate: loss on held-out data of a network; called every `validate_every` updates.
        resume: continue from the folder's checkpoint; the result is that of a run never stopped.

    Raises:
        TrainingError: the loss is no longer finite, or the checkpoint cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    running = _SegmentFit(network, windows, settings, folder, validate)
    if resume and (folder / CHECKPOINT_FILE).exists():
        running.restore()
    with stop_on_signal() as stop:
        return running.run(stop)


def batch_loss(network: SegmentForecaster, batch: Batch, squared_share: float = 0.0) -> Tensor:
    """Quantile loss of windows in units of the usual error of their series, and a share of their squared error."""
    weight, levels = batch.weight[:, None], network.settings.quantiles
    quantiles = network(batch.window, batch.calendar)
    # The loss of a multiple is the multiple of the loss.
    loss = quantile_loss(weight[..., None] * quantiles, weight * batch.target, levels)
    if not squared_share:
        return loss
    scored = ~torch.isnan(batch.target)
    error = weight * (_mean_of(quantiles, levels) - torch.where(scored, batch.target, 0))
    return loss + squared_share * torch.where(scored, error**2, 0).sum() / scored.sum().clamp(min=1)


def _mean_of(quantiles: Tensor, levels: Sequence[float]) -> Tensor:
    """The mean (…) of the distributions of quantiles (…, Q), which is linear in them."""
    each = mean_of(np.eye(len(levels)), levels)
    return quantiles @ quantiles.new_tensor(each)


@dataclass
class _State:
    """The part of a fit that changes."""

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    norm_sum: float = 0.0
    clipped: int = 0
    best: float = math.inf
    best_round: int = -1
    unimproved: int = 0
    done: bool = False
    history: list[EpochRecord] = field(default_factory=list)


class _SegmentFit:
    """One fit under way."""

    def __init__(
        self,
        network: SegmentForecaster,
        windows: SegmentWindows,
        settings: SegmentFitSettings,
        folder: Path,
        validate: Callable[[SegmentForecaster], float] | None,
    ) -> None:
        self.network, self.windows, self.settings = network, windows, settings
        self.folder, self.validate = folder, validate
        self.device = next(network.parameters()).device
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": settings.weight_decay},
                {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
        )
        self.state = _State()
        self.mean = _copied(network)
        self.best = _copied(network)
        self.began, self.saved, self.before = time.monotonic(), 0.0, 0.0

    def run(self, stop: StopRequest) -> FitResult:
        """Go on until the updates, the time or the patience are used up, or somebody asks to stop."""
        state, settings = self.state, self.settings
        interrupted = False
        with FitProgress(self.folder, state.history, state.step, speaks=True) as progress:
            self.network.train()
            while not state.done and not interrupted:
                loss, norm = self._update()
                progress.advanced(self._progress(), len(state.history), state.step, loss, norm, self._rate())
                if state.step % settings.validate_every == 0 or self._at_the_end():
                    self._validated(progress)
                interrupted = stop.made and not state.done
                if interrupted or state.done or state.seconds - self.saved > settings.checkpoint_seconds:
                    self.save()
        if not interrupted:
            self.network.load_state_dict(self.best)
        self.network.eval()
        return FitResult(list(state.history), state.best, state.best_round, interrupted)

    def _update(self) -> tuple[float, float]:
        """One step: the loss and its gradient's norm."""
        state, settings = self.state, self.settings
        set_learning_rate(self.optimizer, self._rate())
        batch = self.windows.draw(settings.batch_size, settings.augmentation, settings.seed, state.step)
        loss = batch_loss(self.network, batch.to(self.device), self.settings.squared_share)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip_norm or math.inf).item()
        if not math.isfinite(loss.item()) or not math.isfinite(norm):
            raise TrainingError(f"step {state.step}: " + LOSS_NOT_FINITE.format(loss.item(), norm))
        self.optimizer.step()
        state.step += 1
        state.seconds = self.before + time.monotonic() - self.began
        state.loss_sum += loss.item()
        state.norm_sum += norm
        state.clipped += 0 < settings.clip_norm < norm
        self._average()
        return loss.item(), norm

    @torch.no_grad()
    def _average(self) -> None:
        # At first the mean forgets sooner, so that it does not remember where the weights began.
        forgets = 1 - min(self.settings.averaging, (self.state.step + 1) / (self.state.step + 10))
        for name, value in self.network.state_dict().items():
            self.mean[name].lerp_(value, forgets)

    def _validated(self, progress: FitProgress) -> None:
        """Close the round: validate the mean weights, keep the best, decide whether to go on."""
        state, settings = self.state, self.settings
        steps = (state.step - 1) % settings.validate_every + 1
        loss = self._validation() if self.validate else state.loss_sum / steps
        better = self.validate is None or loss < state.best or state.best_round < 0
        if better:
            state.best, state.best_round, state.unimproved = loss, len(state.history), 0
            self.best = {name: value.clone() for name, value in self.mean.items()}
        else:
            state.unimproved += 1
        record = EpochRecord(
            epoch=len(state.history),
            step=state.step,
            seconds=state.seconds,
            train_loss=state.loss_sum / steps,
            validation_loss=loss,
            grad_norm=state.norm_sum / steps,
            learning_rate=self._rate(),
            clipped_share=state.clipped / steps if settings.clip_norm else None,
        )
        state.history.append(record)
        state.loss_sum, state.norm_sum, state.clipped = 0.0, 0.0, 0
        state.done = self._at_the_end() or (settings.patience is not None and state.unimproved >= settings.patience)
        progress.finished_epoch(record, best=better)

    def _validation(self) -> float:
        assert self.validate is not None
        own = _copied(self.network)
        self.network.load_state_dict(self.mean)
        self.network.eval()
        with torch.no_grad():
            loss = self.validate(self.network)
        self.network.load_state_dict(own)
        self.network.train()
        return loss

    def _at_the_end(self) -> bool:
        limit = self.settings.max_seconds
        return self.state.step >= self.settings.steps or (limit is not None and self.state.seconds >= limit)

    def _progress(self) -> float:
        limit = self.settings.max_seconds
        return max(self.state.step / self.settings.steps, self.state.seconds / limit if limit else 0.0)

    def _rate(self) -> float:
        """The learning rate of the next update: rises at first, then falls to nothing along a cosine."""
        rising = min(1.0, (self.state.step + 1) / (self.settings.warmup_steps + 1))
        return self.settings.learning_rate * rising * (1 + math.cos(math.pi * min(self._progress(), 1.0))) / 2

    def save(self) -> None:
        """Write a checkpoint from which `restore` goes on exactly here."""
        self.saved = self.state.seconds
        content = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "mean": self.mean,
            "best": self.best,
            "state": asdict(self.state),
            "random": random_state(self.device),
        }
        save_checkpoint(self.folder, content)

    def restore(self) -> None:
        """Go back to where the folder's checkpoint was written."""
        content = load_checkpoint(self.folder)
        self.network.load_state_dict(content["network"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.mean = {name: value.to(self.device) for name, value in content["mean"].items()}
        self.best = {name: value.to(self.device) for name, value in content["best"].items()}
        state: dict[str, Any] = content["state"]
        self.state = _State(**state | {"history": [EpochRecord(**record) for record in state["history"]]})
        restore_random_state(content["random"], self.device)
        self.saved = self.before = self.state.seconds


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
