"""Mixed precision: matrix products in a shorter format, weights and state in float32.

bfloat16 keeps float32's range and needs nothing more; float16 needs its loss scaled so that small gradients
survive (Micikevicius and others, 2018), and is offered on CUDA alone.
"""

from __future__ import annotations

from typing import Any

import torch

from training.errors import TrainingError
from training.fit_settings import Precision

FORMATS: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class MixedPrecision:
    """Runs the forward pass in a format, and scales the loss where the format needs it."""

    def __init__(self, precision: Precision, device: torch.device) -> None:
        if precision == "float16" and device.type != "cuda":
            raise TrainingError(f"precision float16: expected a CUDA device, got {device.type}; use bfloat16")
        self.device, self.format = device, FORMATS[precision]
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")

    def autocast(self) -> torch.autocast:
        """A context in which the network's products use the format."""
        return torch.autocast(self.device.type, self.format, enabled=self.format != torch.float32)

    def backward(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Leave the loss's true gradients in the optimiser's parameters."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Update the parameters; with float16, not where a gradient overflowed."""
        self.scaler.step(optimizer)
        self.scaler.update()

    @property
    def skips_overflow(self) -> bool:
        """Whether a gradient that is not finite is expected now and then, and left out."""
        return self.scaler.is_enabled()

    def state_dict(self) -> dict[str, Any]:
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self.scaler.load_state_dict(state)
