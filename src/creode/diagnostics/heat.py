"""Heat: how much of λ̂ is owed to the step size and to gradient noise.

The virial tells heat too, but as a share of all d weights; heat lies in the few directions that the
loss resolves, and λ̂ is made of those: 2λ̂ = E[(w − w*)·nβ∇L] where the loss is quadratic. Without
momentum a step's own heat is known exactly, (ε/4) E‖nβ∇L_m‖², since E‖w − w*‖² is stationary. With
momentum it is the excess of the kinetic energy, d (T − 1), which only gradient noise brings about.

Here: that heat over E[(w − w*)·nβ∇L], with its error.
Not here: its record at a draw (sampling/), what a departure from 0 means (verdict.py).
Assumes: flat directions, which λ̂ does not see, carry no gradient noise; else it is too high.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from creode.diagnostics.mcse import mcse
from creode.diagnostics.trace import SAMPLE_DIMS


def heat(added: xr.DataArray, loss_virial: xr.DataArray) -> xr.Dataset:
    """What heat adds to λ̂, as a share of it, and its standard error; 0 for exact draws.

    Args:
        added: (ε/4)‖nβ∇L_m‖² at each draw, or ‖p‖² − d, dims (chain, draw); dimensionless.
        loss_virial: (w − w*)·nβ∇L_m at the same draws.

    Returns:
        heat (), heat_se (); NaN where the loss does not grow with the distance, or nβ is 0.
    """
    mean = loss_virial.mean(SAMPLE_DIMS, skipna=False)
    whole = mean.where(mean > 0)
    share = added.mean(SAMPLE_DIMS, skipna=False) / whole
    return xr.Dataset(
        {"heat": share, "heat_se": mcse(added - share.fillna(0.0) * loss_virial) / whole}
    )


def added_heat(root: xr.Dataset) -> xr.DataArray:
    """What heats the chains of a posterior at each draw, (chain, draw); NaN if it was not kept."""
    if "step_heat" in root and bool(np.isfinite(root["step_heat"]).any()):
        return root["step_heat"].astype("float64")
    return (root["temperature"].astype("float64") - 1) * float(root.attrs["num_parameters"])
