"""Export and parity of a forecaster of either kind: one that is fed its own samples, or one that tells a horizon."""

from __future__ import annotations

from pathlib import Path

from training.export.exported import Exported, Verified
from training.export.forecaster import export_forecaster
from training.export.parity_forecaster import forecaster_parity
from training.export.parity_segments import segment_parity
from training.export.segment_forecaster import export_segment_forecaster
from training.networks.decoders import AnyDecoder
from training.networks.segment_ensemble import AnySegmentForecaster


def export_any(network: AnyDecoder, folder: Path, unit: str | None = None) -> Exported:
    """Write the graphs and weights of a trained network into `folder`, whichever kind it is."""
    if isinstance(network, AnySegmentForecaster):
        return export_segment_forecaster(network, folder, unit)
    return export_forecaster(network, folder, unit)


def any_parity(network: AnyDecoder, exported: Exported) -> Verified:
    """The export, once it is shown to compute what the network computes.

    Raises:
        ParityError: the first check that fails, and by how much.
    """
    if isinstance(network, AnySegmentForecaster):
        return segment_parity(network, exported)
    return forecaster_parity(network, exported)
