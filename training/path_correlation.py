"""How the errors of a direct forecast go together from one step to the next, measured on held-out windows.

A direct forecast says how each step is distributed, not how steps hang together. Sample paths take normal scores whose
neighbours are correlated by one number (a Gaussian copula of first order); this finds the number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from service.contract.normal import normal_score

MOST = 0.99


def path_correlation(fell: ArrayLike) -> float:
    """Correlation of the normal scores of neighbouring steps, within [0, .99]; 0 where there is nothing to measure.

    Args:
        fell: (W, P) where what came fell in its distribution, of W forecasts, P steps each; NaN where missing.
    """
    scores = normal_score(fell)
    before, after = scores[:, :-1], scores[:, 1:]
    both = ~np.isnan(before) & ~np.isnan(after)
    if both.sum() < 3 or not before[both].std() or not after[both].std():
        return 0.0
    return float(np.clip(np.corrcoef(before[both], after[both])[0, 1], 0.0, MOST))
