"""When chains may end before their last draw: the error asked for is reached.

Here: the rule, asked at the ends of blocks of draws, so that what was streamed by block is whole.
Not here: who asks (engine.py), what ended a run (unit.py).
Assumes: a first block of fewer chains than there are is like the others; these end where it ended.
"""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from creode.diagnostics.ess import ess
from creode.diagnostics.mcse import mcse
from creode.diagnostics.verdict import MIN_ESS
from creode.sampling.engine import Enough


def end_of(
    before: Sequence[xr.DataTree], relative_error: float | None, *, share: float
) -> Enough | None:
    """The rule for the next block of chains; None: to the last draw.

    Args:
        before: finished blocks of the same run.
        relative_error: the standard error of the mean excess loss, over that mean.
        share: chains of the block over all chains.
    """
    if relative_error is None:
        return None
    if before:
        return lambda excess: excess.sizes["draw"] >= before[0].sizes["draw"]

    def reached(excess: xr.DataArray) -> bool:
        error = float(mcse(excess)) * share**0.5
        known = float(ess(excess)) >= MIN_ESS * share
        return known and error <= relative_error * abs(float(excess.mean(skipna=False)))

    return reached
