"""How much of where a chain started is left when its first draw is kept.

Every chain starts at w*, where L(w) − L(w*) is 0, so what is left of the start pulls all of them
to the same side: other chains do not average it out, and R-hat does not see it.

Here: that share.
Not here: the threshold (verdict.py).
Assumes: the trace forgets like an AR(1) process with correlation ρ from draw to draw, whose
ESS per draw is (1 − ρ)/(1 + ρ).
"""

from __future__ import annotations

import xarray as xr


def memory(ess: xr.DataArray, *, num_draws: int, burnin: float) -> xr.DataArray:
    """ρ^b: the share of a start that is left after a burn-in as long as b draws.

    Args:
        ess: effective sample size of the trace over all chains, in draws.
        num_draws: draws of all chains together.
        burnin: b, steps of burn-in over steps of a draw.

    Returns:
        The share, from 0 to 1, with the dims of `ess`: 1 without burn-in; NaN where `ess` is.
    """
    worth = (ess / num_draws).clip(max=1.0)
    left: xr.DataArray = ((1 - worth) / (1 + worth)) ** burnin
    return left.rename("memory")
