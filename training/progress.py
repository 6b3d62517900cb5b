"""What a fit tells while it runs: a bar with the time left, one line per epoch, a history file, TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from training.diagnose.monitor import Measured

HISTORY_FILE = "history.jsonl"
EVENTS_FOLDER = "tensorboard"
STEPS_BETWEEN_SCALARS = 10
TOTAL_NORM = "train/gradient_norm"
LAYER_NORM = "gradient_norm"  # of a layer by its name: gradient_norm/recurrence_1


@dataclass(frozen=True)
class EpochRecord:
    """One epoch as it went; gradient norm and training loss are means over its windows."""

    epoch: int
    step: int
    seconds: float
    train_loss: float
    validation_loss: float
    grad_norm: float
    learning_rate: float
    clipped_share: float | None = None
    """Of updates whose gradient was longer than the limit; None where there is no limit."""


class FitProgress:
    """Shows and records a fit. Used as a context; silent in all processes but the first."""

    def __init__(self, folder: Path, history: Iterable[EpochRecord], step: int, *, speaks: bool) -> None:
        self.folder, self.speaks, self.step = folder, speaks, step
        self.console = Console(stderr=True, quiet=not speaks)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=self.console, disable=not (speaks and self.console.is_terminal))
        self.task = self.bar.add_task("fit", total=1.0)
        # The file follows the checkpoint: epochs that a killed run wrote after it are run again.
        if speaks:
            lines = "".join(json.dumps(asdict(record)) + "\n" for record in history)
            (folder / HISTORY_FILE).write_text(lines, encoding="utf-8")

    def __enter__(self) -> Self:
        if self.speaks:
            self.writer = SummaryWriter(str(self.folder / EVENTS_FOLDER), purge_step=self.step)
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        if self.speaks:
            self.writer.close()

    def advanced(
        self,
        progress: float,
        epoch: int,
        step: int,
        loss: float,
        norm: float,
        rate: float,
        by_layer: Mapping[str, float] | None = None,
    ) -> None:
        """One update is done; `by_layer` are the norms of each layer's gradient."""
        self.bar.update(self.task, completed=progress, description=f"epoch {epoch + 1} · loss {loss:.4f}")
        if self.speaks and step % STEPS_BETWEEN_SCALARS == 0:
            self._scalars(step, {"train/loss": loss, TOTAL_NORM: norm, "train/learning_rate": rate})
            layers = (by_layer or {}).items()
            self._scalars(step, {f"{LAYER_NORM}/{layer.replace(' ', '_')}": value for layer, value in layers})

    def finished_epoch(self, record: EpochRecord, *, best: bool) -> None:
        """One epoch is done and validated."""
        if not self.speaks:
            return
        self.console.print(
            f"epoch {record.epoch + 1:>3} · {record.seconds:6.0f} s · train {record.train_loss:.4f}"
            f" · validation {record.validation_loss:.4f}{' *' if best else '  '}"
            f" · gradient {record.grad_norm:.2f} · rate {record.learning_rate:.2e}",
            highlight=False,
            soft_wrap=True,
        )
        with (self.folder / HISTORY_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record)) + "\n")
        self._scalars(
            record.step, {"epoch/train_loss": record.train_loss, "epoch/validation_loss": record.validation_loss}
        )
        if record.clipped_share is not None:
            self._scalars(record.step, {"epoch/clipped_share": record.clipped_share})

    def measured(self, step: int, measured: Measured) -> None:
        """Gradient flow was measured after an update."""
        self._scalars(step, measured.scalars)
        for name, values in measured.histograms.items():
            self.writer.add_histogram(name, values, step)

    def _scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, step)


def load_history(folder: Path) -> list[EpochRecord]:
    """The epochs of a run, oldest first."""
    lines = (folder / HISTORY_FILE).read_text(encoding="utf-8").splitlines()
    return [EpochRecord(**json.loads(line)) for line in lines]
