"""What a report plots of a chain: the estimate as draws accumulate, and the chain's memory.

Here: the running mean of λ̂ per chain, the autocorrelation function per chain.
Not here: pictures (viewer/), which compute nothing and read these.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from creode.diagnostics.excess import excess_loss
from creode.diagnostics.trace import changes, check_trace


def traces(draws: xr.DataTree, on: str = "data") -> xr.Dataset:
    """What a report plots of one posterior's chains.

    Args:
        draws: one posterior's tree, as saved.
        on: "data" or the name of a probe, as in `creode.llc`.

    Returns:
        loss and init_loss (chain, draw), L(w) and L(w*) on the same samples, nats per unit;
        running_llc (chain, draw), dimensionless; autocorrelation (chain, lag) of loss − init_loss.
    """
    losses = excess_loss(draws, on).compute()
    return losses[["loss", "init_loss"]].assign(
        running_llc=running_llc(float(draws.attrs["nbeta"]) * losses["excess"]),
        autocorrelation=autocorrelation(losses["excess"]),
    )


def running_llc(excess: xr.DataArray) -> xr.DataArray:
    """λ̂ of each chain from its draws so far, (chain, draw), dimensionless.

    Args:
        excess: nβ (L(w) − L(w*)) at each draw, dims (chain, draw).

    Returns:
        The running mean. A chain's last value is its `llc_by_chain`; from its first non-finite draw
        on it is not finite.
    """
    check_trace(excess)
    so_far = xr.DataArray(np.arange(1, excess.sizes["draw"] + 1), dims="draw")
    total = excess.cumsum("draw", skipna=False).assign_coords(excess.coords)
    return (total / so_far).rename("running_llc")


def autocorrelation(trace: xr.DataArray, max_lag: int | None = None) -> xr.DataArray:
    """Autocorrelation function of each chain about its own mean.

    Args:
        trace: dims (chain, draw).
        max_lag: the longest lag, in draws; half of the chain if not given.

    Returns:
        (chain, lag), 1 at lag 0; the sums are divided by the number of draws, not of pairs, so long
        lags are shrunk towards 0. NaN for a chain that is not finite or never changes.

    Raises:
        ValueError: `trace` lacks a dimension, or `max_lag` is not in 0..draws − 1.
    """
    from arviz_stats.base import array_stats

    fit = changes(trace)
    num_draws = trace.sizes["draw"]
    longest = num_draws // 2 if max_lag is None else max_lag
    if not 0 <= longest < num_draws:
        raise ValueError(f"max_lag={max_lag} is not in 0..{num_draws - 1} for {num_draws} draws.")
    function: xr.DataArray = xr.apply_ufunc(
        lambda values: array_stats.autocorr(values, axis=values.ndim - 1)[..., : longest + 1],
        trace.drop_vars("draw", errors="ignore").where(fit),
        input_core_dims=[["draw"]],
        output_core_dims=[["lag"]],
    )
    return function.assign_coords(lag=np.arange(longest + 1)).rename("autocorrelation")
