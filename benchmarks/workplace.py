"""Where benchmarks keep what they make: models and the peers' environments, in `.bench/`, which git ignores."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".bench"
MODELS = FOLDER / "models"
PEERS = FOLDER / "peers"
