"""What several trainings of one recipe come to, from different seeds: mean and spread, for a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def mean_and_spread(found: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Each metric that all have, as mean ± standard deviation over the seeds; of one seed, the value alone."""
    names = [name for name in found[0] if all(name in metrics for metrics in found)]
    return {name: _spread([metrics[name] for metrics in found]) for name in names}


def _spread(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.4g}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.2g}"
