"""What is known of one posterior's chains apart from any reading: did they run, mix and keep cool?

Here: every chain-level number the verdict needs, gathered for one trace of losses.
Not here: the statistics (one file each), the thresholds (verdict.py), the reading (geometry/).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from creode.diagnostics.drift import drift
from creode.diagnostics.ess import ess
from creode.diagnostics.excess import posterior_dataset
from creode.diagnostics.heat import added_heat, heat
from creode.diagnostics.memory import memory
from creode.diagnostics.rhat import rhat
from creode.diagnostics.temperature import temperature
from creode.diagnostics.trace import changes
from creode.diagnostics.virial import virial


def convergence(draws: xr.DataTree, trace: xr.DataArray) -> xr.Dataset:
    """Whether the chains of one posterior can be trusted, as numbers.

    Args:
        draws: one posterior's tree, as saved.
        trace: the quantity a reading averages, dims (chain, draw); usually the excess loss.

    Returns:
        Over all chains, (): ess and rhat of the trace, rhat_distance of ‖w − w*‖² (it notices flat
        directions that the loss does not), drift (what that can be worth in the trace's mean, in
        its unit), virial, virial_se, temperature, temperature_se, heat, heat_se (of the directions
        that the loss resolves), memory (the share of the start that burn-in left; NaN where the
        draws do not say how long it was), num_draws (per chain).
        By chain, (chain,): failed (became non-finite, or has NaN anywhere but in the temperature),
        failed_at (the step, −1 if unknown or none), failed_draw (the first draw that is not finite,
        −1 if none), still (its distance to w* is the same at every draw), flat (its trace is).

        If any chain failed, the numbers over all chains are NaN: the others are not averaged as if
        it had not been drawn.
    """
    root = posterior_dataset(draws)
    data = root[["distance_sq", "virial", "loss_virial", "temperature", "failed_at"]].compute()
    finite = xr.apply_ufunc(np.isfinite, trace)
    for name in ("distance_sq", "virial", "loss_virial"):
        finite = finite & xr.apply_ufunc(np.isfinite, data[name])
    failed = (data["failed_at"] >= 0) | ~finite.all("draw")
    whole = ~failed.any("chain")
    size = ess(trace).rename("ess")
    over_chains = xr.merge(
        [
            size,
            _memory(root, size, trace),
            rhat(trace).rename("rhat"),
            rhat(data["distance_sq"]).rename("rhat_distance"),
            drift(trace, data["virial"].astype("float64")),
            virial(data["virial"]),
            temperature(data["temperature"]),
            heat(added_heat(root).compute(), data["loss_virial"].astype("float64")),
        ],
        compat="override",
    ).where(whole)
    return over_chains.assign(
        num_draws=trace.sizes["draw"],
        failed=failed,
        failed_at=data["failed_at"],
        failed_draw=(~finite).argmax("draw").where(~finite.all("draw"), -1),
        still=~failed & ~changes(data["distance_sq"]),
        flat=~failed & ~changes(trace),
    )


def _memory(root: xr.Dataset, size: xr.DataArray, trace: xr.DataArray) -> xr.DataArray:
    """What burn-in left of the start."""
    steps = float(root.attrs.get("burnin", np.nan))
    burnin = steps / float(root.attrs.get("steps_per_draw", np.nan))
    return memory(size, num_draws=trace.size, burnin=burnin)
