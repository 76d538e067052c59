"""How far below L(w*) the draws have been: w* is then no minimum of the sampled loss.

Here: that depth, as draws show it.
Not here: what it is worth in a reading (geometry/), the threshold (verdict.py).
"""

from __future__ import annotations

import xarray as xr

from creode.diagnostics.trace import SAMPLE_DIMS


def descent(excess: xr.DataArray) -> xr.DataArray:
    """L(w*) − min L(w) over all draws, or 0 where every draw lies above, in nats, ().

    λ̂ takes the loss at w* for that of the minimum, so nβ times this is missing from it, at least.

    Args:
        excess: L(w) − L(w*) at each draw, without noise, dims (chain, draw): of minibatches the
            lowest draw would be the one with the most lucky samples.
    """
    lowest: xr.DataArray = -excess.min(SAMPLE_DIMS, skipna=False)
    return lowest.clip(min=0.0).rename("descent")
