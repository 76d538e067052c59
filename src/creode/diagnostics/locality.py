"""Locality: does the loss still answer to the distance from w*, as a basin around w* must?

For a loss homogeneous of degree p around w*, (w − w*)·∇L(w) = p (L(w) − L(w*)), so the ratio
nβ E[(w − w*)·∇L(w)] / (2λ̂) is p/2: 1 for a quadratic, 2 for a quartic. It falls towards 0 when the
loss has risen and no longer changes with displacement: the chain has left the basin (as when its
steps have switched ReLUs off).

Here: that ratio with its error.
Not here: λ̂ itself (geometry/), the threshold (verdict.py).
"""

from __future__ import annotations

import xarray as xr

from creode.diagnostics.mcse import mcse
from creode.diagnostics.trace import SAMPLE_DIMS


def locality(loss_virial: xr.DataArray, excess: xr.DataArray) -> xr.Dataset:
    """Ratio of E[nβ (w − w*)·∇L(w)] to 2λ̂, and its standard error.

    Args:
        loss_virial: nβ (w − w*)·∇L(w) at each draw, dims (chain, draw).
        excess: nβ (L(w) − L(w*)) at each draw, dims (chain, draw); its mean is λ̂.

    Returns:
        locality (), locality_se (), the error by the delta method for a ratio of means on the same
        draws; NaN where λ̂ is not positive. The ratio means little where λ̂ is within its own error
        of 0: the standard error is then large.
    """
    llc = excess.mean(SAMPLE_DIMS, skipna=False)
    llc = llc.where(llc > 0)
    ratio = loss_virial.mean(SAMPLE_DIMS, skipna=False) / (2 * llc)
    influence = (loss_virial - 2 * ratio * excess) / (2 * llc)
    exact = influence.max(SAMPLE_DIMS, skipna=False) == influence.min(SAMPLE_DIMS, skipna=False)
    error = mcse(influence).where(~exact, 0.0)  # every draw gives the same ratio
    return xr.Dataset({"locality": ratio, "locality_se": error})
