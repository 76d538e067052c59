"""When chains may end before their last draw: the error asked for is reached, or all is spent.

Here: the rule, asked at the ends of blocks of draws, so that what was streamed by block is whole.
Not here: who asks (engine.py), what a run may spend (automatic.py).
Assumes: a first block of fewer chains than there are is like the others; these end where it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import xarray as xr

from creode.diagnostics.ess import ess
from creode.diagnostics.mcse import mcse
from creode.diagnostics.verdict import MIN_ESS
from creode.sampling.engine import Enough, Spent

BY_ERROR, BY_BUDGET = "standard error", "budget"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What chains need not go beyond; None: nothing ends them before their last draw."""

    relative_error: float | None = None  # standard error of λ̂ over λ̂
    gradients: int | None = None  # of a chain, burn-in included

    def rule(self, before: Sequence[xr.DataTree], *, share: float) -> Enough | None:
        """The rule for the next block of chains.

        Args:
            before: finished blocks of the same run.
            share: chains of the block over all chains.
        """
        if self == Limits():
            return None
        if before:
            drawn, why = before[0].sizes["draw"], before[0].attrs.get("ended_by", BY_BUDGET)
            return lambda excess, spent: why if excess.sizes["draw"] >= drawn else None

        def reached(excess: xr.DataArray, spent: Spent) -> str | None:
            if self.gradients is not None and spent.after_next > self.gradients:
                return BY_BUDGET
            if self.relative_error is None or float(ess(excess)) < MIN_ESS * share:
                return None
            error = float(mcse(excess)) * share**0.5
            small = error <= self.relative_error * abs(float(excess.mean(skipna=False)))
            return BY_ERROR if small else None

        return reached
