"""A value and its standard error from replicates over chains and blocks of draws.

Blocks know of autocorrelation as long as they are several autocorrelation times long, as they are
made (independence.py); chains know of whatever keeps chains apart, but they are few. The error is
that of all blocks together, unless chains differ by more than their blocks let expect (an F test):
then it is that between chains.

Here: mean, standard error and degrees of freedom; two-sided p values.
Not here: replicates (replicates.py), many tests at once (discoveries.py).
Source: batch means; the analysis of variance of chains by blocks.
Dimensions: C chains, b blocks.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

REPLICATE_DIMS = ("chain", "block")

# Chains that agree are taken for disagreeing once in 20 times, at the cost of a wider error.
F_LEVEL = 0.05


def estimate(replicates: xr.DataArray, name: str = "chi") -> xr.Dataset:
    """Mean over replicates with its error.

    Args:
        replicates: dims (chain, block) and any others.
        name: of the value.

    Returns:
        `name`; `name`_se, its standard error; `name`_dof, the degrees of freedom of the error:
        Cb − 1, or C − 1 where chains disagree. With one chain the error is from its blocks alone.
        Everything is NaN where a replicate is, and the error is with fewer than 2 replicates.
    """
    chains, blocks = (replicates.sizes[dim] for dim in REPLICATE_DIMS)
    count = chains * blocks
    value = replicates.mean(REPLICATE_DIMS, skipna=False)
    by_chain = replicates.mean("block", skipna=False)
    total = ((replicates - value) ** 2).sum(REPLICATE_DIMS, skipna=False)
    pooled = total / (count - 1) if count > 1 else value * float("nan")
    error_sq, dof = pooled / count, xr.full_like(pooled, count - 1).where(pooled.notnull())
    if chains > 1 and blocks > 1:
        between = blocks * ((by_chain - value) ** 2).sum("chain", skipna=False) / (chains - 1)
        within = (total - (chains - 1) * between) / (chains * (blocks - 1))
        apart = between > _f_quantile(chains - 1, chains * (blocks - 1)) * within
        error_sq = error_sq.where(~apart, between / count)
        dof = dof.where(~apart, chains - 1)
    return xr.Dataset({name: value, f"{name}_se": error_sq**0.5, f"{name}_dof": dof})


def p_value(value: xr.DataArray, error: xr.DataArray, dof: xr.DataArray) -> xr.DataArray:
    """Two-sided p value of value/error under Student's t; NaN where there is no error."""
    p: xr.DataArray = xr.apply_ufunc(two_sided, value / error.where(error > 0), dof)
    return p


def two_sided(z: ArrayLike, dof: ArrayLike) -> NDArray[np.float64]:
    """Two-sided p value of z = value/error under Student's t."""
    from scipy import stats

    return np.asarray(2 * stats.t.sf(np.abs(z), dof))


def _f_quantile(numerator: int, denominator: int) -> float:
    from scipy import stats

    return float(stats.f.ppf(1 - F_LEVEL, numerator, denominator))
