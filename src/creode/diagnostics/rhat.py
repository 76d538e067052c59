"""R-hat of a trace: do the chains agree with each other, and each with itself?

Here: rank-normalised split R-hat (the larger of its bulk and folded forms), labelled.
Not here: thresholds (verdict.py).
Source: Vehtari et al. 2021, arXiv:1903.08008, by arviz-stats.
"""

from __future__ import annotations

import xarray as xr

from creode.diagnostics.trace import SAMPLE_DIMS, standardise


def rhat(trace: xr.DataArray) -> xr.DataArray:
    """Rank-normalised split R-hat over all chains; 1 when they cannot be told apart.

    Args:
        trace: dims (chain, draw) and any others, burn-in already dropped.

    Returns:
        R-hat over (chain, draw); NaN with one chain, with fewer than 4 draws, or if a chain is not
        finite or never changes.
    """
    import arviz_stats

    standard, _ = standardise(trace)
    result: xr.DataArray = arviz_stats.rhat(standard, sample_dims=SAMPLE_DIMS, method="rank")
    return result.rename("rhat")
