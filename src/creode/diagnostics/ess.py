"""Effective sample size (ESS) of a trace: how many independent draws its chains are worth.

Here: bulk ESS over all chains, labelled.
Not here: the standard error of a mean (mcse.py), thresholds (verdict.py).
Source: Vehtari et al. 2021, arXiv:1903.08008 (rank-normalised split chains), by arviz-stats.
Deviation: a chain that never changes gives NaN, where arviz-stats counts every draw as independent.
"""

from __future__ import annotations

import xarray as xr

from creode.diagnostics.trace import SAMPLE_DIMS, standardise


def ess(trace: xr.DataArray) -> xr.DataArray:
    """Bulk effective sample size over all chains, in draws.

    Args:
        trace: dims (chain, draw) and any others, burn-in already dropped.

    Returns:
        The ESS over (chain, draw); NaN with fewer than 4 draws, or if a chain is not finite or
        never changes.
    """
    import arviz_stats

    standard, _ = standardise(trace)
    result: xr.DataArray = arviz_stats.ess(standard, sample_dims=SAMPLE_DIMS, method="bulk")
    return result.rename("ess")
