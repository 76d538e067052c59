"""Which of many entries are significant when a share of false ones is allowed among them.

Here: the step-up rule over all entries of a table of p values.
Not here: p values (uncertainty.py).
Source: Benjamini & Hochberg 1995. It holds the rate for independent tests and for positively
dependent ones; entries of one posterior share draws, so it is checked on controls besides.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray


def significant(p: xr.DataArray, rate: float = 0.05) -> xr.DataArray:
    """The entries that are significant at a false-discovery rate.

    Args:
        p: p values with any dimensions; NaN is no entry.
        rate: the expected share of false ones among those found, in (0, 1).

    Returns:
        bool, shaped as `p`: the largest k for which the k-th smallest of m p values is at most
        rate · k/m decides, and every p value up to it is significant.

    Raises:
        ValueError: `rate` is not in (0, 1).
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must be in (0, 1), got {rate!r}; 0.05 is usual.")
    values: NDArray[np.float64] = p.values[np.isfinite(p.values)]
    ordered = np.sort(values)
    below = np.flatnonzero(ordered <= rate * np.arange(1, len(ordered) + 1) / max(len(ordered), 1))
    threshold = ordered[below[-1]] if len(below) else -1.0
    return (p <= threshold).rename("significant")
