"""Everything that decides how a network is fitted, in one frozen record; the commands' flags are made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from training.errors import TrainingError

Optimizer = Literal["sgd", "rmsprop", "adam", "adamw"]
Schedule = Literal["constant", "cosine", "step", "plateau"]
Precision = Literal["float32", "bfloat16", "float16"]


def _setting(default: Any, says: str) -> Any:
    return field(default=default, metadata={"help": says})


@dataclass(frozen=True)
class FitSettings:
    """Settings of one fit. Those that stop it may be combined: whichever comes first does."""

    epochs: int = _setting(10, "passes over the training data")
    max_seconds: float | None = _setting(None, "stop after this long; the schedule follows whichever ends first")
    bptt_length: int = _setting(64, "steps per window of back-propagation through time; 0: the whole sequence")
    bptt_stride: int = _setting(0, "steps between updates, at most bptt-length; 0: bptt-length")
    batch_size: int = _setting(32, "streams side by side")
    optimizer: Optimizer = _setting("adamw", "optimiser")
    learning_rate: float = _setting(2e-3, "highest learning rate")
    momentum: float = _setting(0.9, "of sgd and rmsprop")
    weight_decay: float = _setting(0.01, "on weights, not on biases")
    schedule: Schedule = _setting("cosine", "how the learning rate falls")
    final_rate: float = _setting(0.03, "share of the learning rate left at the end of cosine")
    decay_factor: float = _setting(0.5, "what step and plateau multiply the learning rate with")
    step_epochs: int = _setting(10, "epochs between two falls of step")
    plateau_patience: int = _setting(2, "epochs without improvement before plateau falls")
    warmup_steps: int = _setting(
        100, "updates over which the learning rate rises from zero; of a short fit, take fewer"
    )
    clip_norm: float = _setting(1.0, "longest gradient (Pascanu, Mikolov and Bengio, 2013); 0: as it comes")
    patience: int | None = _setting(None, "stop after this many epochs without improvement")
    precision: Precision = _setting("float32", "of matrix products; float16 on CUDA only")
    seed: int = _setting(0, "of weights, dropout and order")
    threads: int | None = _setting(None, "CPU threads; as many as torch finds otherwise")
    checkpoint_seconds: float = _setting(60.0, "time between checkpoints within an epoch")

    def __post_init__(self) -> None:
        self._require(self.epochs >= 1, "epochs", "at least 1", self.epochs)
        self._require(self.max_seconds is None or self.max_seconds > 0, "max-seconds", "above 0", self.max_seconds)
        self._require(self.bptt_length >= 0, "bptt-length", "0 or more", self.bptt_length)
        longest = self.bptt_length or self.bptt_stride
        self._require(0 <= self.bptt_stride <= longest, "bptt-stride", f"0 to {longest}", self.bptt_stride)
        self._require(self.batch_size >= 1, "batch-size", "at least 1", self.batch_size)
        self._require(self.learning_rate > 0, "learning-rate", "above 0", self.learning_rate)
        self._require(0 <= self.momentum < 1, "momentum", "0 to below 1", self.momentum)
        self._require(self.weight_decay >= 0, "weight-decay", "0 or more", self.weight_decay)
        self._require(0 <= self.final_rate <= 1, "final-rate", "0 to 1", self.final_rate)
        self._require(0 < self.decay_factor <= 1, "decay-factor", "above 0, at most 1", self.decay_factor)
        self._require(self.step_epochs >= 1, "step-epochs", "at least 1", self.step_epochs)
        self._require(self.clip_norm >= 0, "clip-norm", "0 or more", self.clip_norm)
        self._require(self.patience is None or self.patience >= 1, "patience", "at least 1", self.patience)

    @staticmethod
    def _require(holds: bool, name: str, expected: str, got: object) -> None:
        if not holds:
            raise TrainingError(f"{name}: expected {expected}, got {got}")
