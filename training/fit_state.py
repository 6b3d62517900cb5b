"""Where a fit stands: the part of it that changes, and that a checkpoint holds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from torch import Tensor, nn

from training.fit_settings import FitSettings
from training.networks.recurrence import State
from training.progress import EpochRecord


@dataclass
class FitState:
    """Position in the data, sums of the epoch so far, and what the epochs before came to."""

    epoch: int = 0
    index: int = 0  # windows of this epoch that are done
    step: int = 0  # updates of all epochs
    seconds: float = 0.0
    seconds_before: float = 0.0  # of earlier processes of a resumed run
    learning_rate: float = 0.0
    loss_sum: float = 0.0
    norm_sum: float = 0.0
    clipped: int = 0  # updates of this epoch whose gradient was shortened
    best_validation: float = math.inf
    best_epoch: int = -1
    unimproved: int = 0  # epochs since the best
    falls: int = 0  # of the learning rate, on plateaus
    done: bool = False
    out_of_time: bool = False
    interrupted: bool = False
    history: list[EpochRecord] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    carried: State | None = None  # saved beside this record, whole over all processes

    def count(self, loss: float, norm: float, clip_norm: float) -> None:
        """One more window of the epoch is done."""
        self.index += 1
        self.step += 1
        self.loss_sum += loss
        self.norm_sum += norm
        self.clipped += 0 < clip_norm < norm

    def close_epoch(self, validation: float, network: nn.Module, settings: FitSettings) -> tuple[EpochRecord, bool]:
        """Record the epoch, note whether it is the best yet, and turn to the next."""
        windows = max(self.index, 1)
        record = EpochRecord(
            epoch=self.epoch,
            step=self.step,
            seconds=self.seconds,
            train_loss=self.loss_sum / windows,
            validation_loss=validation,
            grad_norm=self.norm_sum / windows,
            learning_rate=self.learning_rate,
            clipped_share=self.clipped / windows if settings.clip_norm else None,
        )
        self.history.append(record)
        best = self._compare(validation, network, settings)
        self.epoch += 1
        self.index, self.loss_sum, self.norm_sum, self.clipped = 0, 0.0, 0.0, 0
        out_of_patience = settings.patience is not None and self.unimproved >= settings.patience
        self.done = self.epoch >= settings.epochs or out_of_patience or self.out_of_time
        return record, best

    def _compare(self, validation: float, network: nn.Module, settings: FitSettings) -> bool:
        if validation < self.best_validation or not self.best_weights:
            self.best_validation, self.best_epoch, self.unimproved = validation, self.epoch, 0
            self.best_weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
            return True
        self.unimproved += 1
        if self.unimproved % (settings.plateau_patience + 1) == 0:
            self.falls += 1
        return False

    def to_dict(self) -> dict[str, Any]:
        """Plain values and tensors, for a checkpoint."""
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("carried", "history")}
        return content | {"history": [asdict(record) for record in self.history]}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> FitState:
        """The state as `to_dict` gave it, ready to go on."""
        history = [EpochRecord(**record) for record in content["history"]]
        return cls(**content | {"history": history, "seconds_before": content["seconds"], "interrupted": False})
