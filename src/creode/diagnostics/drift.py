"""Drift: how far the reading could be off because flat directions have not mixed.

Flat directions relax more slowly than the loss, and R-hat of ‖w − w*‖² says so; whether a reading
minds is another question. The virial knows how far the spread along them is from where it belongs
(E = 1), and the draws show how the trace goes along with the virial: b = Cov(trace, v)/Var(v). So
|b| (|1 − v̄| + 2 se(v̄)) is what the missing or uncertain spread can be worth.

Here: that bound.
Not here: the virial (virial.py), what follows from the bound (verdict.py).
Assumes: the dependence on the virial is linear over the spread not yet explored; noise in b from
slow flat directions is not accounted for.
"""

from __future__ import annotations

import xarray as xr

from creode.diagnostics.mcse import mcse
from creode.diagnostics.trace import SAMPLE_DIMS, check_trace


def drift(trace: xr.DataArray, virial: xr.DataArray) -> xr.DataArray:
    """What unmixed flat directions can be worth in the mean of a trace, in the trace's unit, ().

    Args:
        trace: the quantity a reading averages, dims (chain, draw).
        virial: (w − w*)·∇U(w)/d at the same draws; its expectation is 1.

    Returns:
        |b| (|1 − v̄| + 2 se(v̄)), b the slope of the trace on the virial over all draws; NaN if
        the virial never changes or anything is not finite.
    """
    check_trace(trace)
    mean = virial.mean(SAMPLE_DIMS, skipna=False)
    apart = virial - mean
    spread = (apart**2).mean(SAMPLE_DIMS, skipna=False)
    together = ((trace - trace.mean(SAMPLE_DIMS, skipna=False)) * apart).mean(
        SAMPLE_DIMS, skipna=False
    )
    slope = together / spread
    bound: xr.DataArray = abs(slope) * (abs(1 - mean) + 2 * mcse(virial))
    return bound.rename("drift")
