"""Which of many entries are significant when a share of false ones is allowed among them.

Here: adjusted p values (q values) of a table, over all of its entries or over some dimensions, and
the entries whose q is at most a rate.
Not here: p values (uncertainty.py).
Source: Benjamini & Hochberg 1995, as scipy has it. It holds the rate for independent tests and for
positively dependent ones; entries of one posterior share draws, so it is checked on controls
besides.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray


def significant(
    p: xr.DataArray, rate: float = 0.05, *, among: Hashable | None = None
) -> xr.DataArray:
    """The entries that are significant at a false-discovery rate.

    Args:
        p: p values with any dimensions; NaN is no entry.
        rate: the expected share of false ones among those found, in (0, 1).
        among: a dimension; the entries along it are one table, for each place of the others. None:
            all entries are.

    Returns:
        bool, shaped as `p`: with the k-th smallest of m p values at most rate · k/m, for the
        largest such k, every p value up to it is significant.

    Raises:
        ValueError: `rate` is not in (0, 1).
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must be in (0, 1), got {rate!r}; 0.05 is usual.")
    dims = list(p.dims) if among is None else [among]
    q: xr.DataArray = xr.apply_ufunc(
        adjusted,
        p,
        input_core_dims=[dims],
        output_core_dims=[dims],
        vectorize=True,
        output_dtypes=[np.float64],
    )
    return (q <= rate).transpose(*p.dims).rename("significant")


def adjusted(p: ArrayLike) -> NDArray[np.float64]:
    """The least false-discovery rate at which each entry is significant; NaN is no entry."""
    from scipy.stats import false_discovery_control

    values = np.asarray(p, np.float64)
    q = np.full(values.shape, np.nan)
    entries = np.isfinite(values)
    if entries.any():
        q[entries] = false_discovery_control(values[entries])
    return q
