"""Virial: a thermometer for the sampled weights that needs no truth.

For p ∝ e^{−U} over d weights, E[(w − w*)·∇U(w)] = d exactly (integrate by parts), whatever U is.

Here: the mean of the recorded virial over d, with its error.
Not here: its computation at a draw (sampling/), what a departure from 1 means (verdict.py).
Symbols: U = nβ L + γ/2 ‖w − w*‖²; the recorded `virial` is (w − w*)·∇U(w)/d.
"""

from __future__ import annotations

import xarray as xr

from creode.diagnostics.mcse import mcse
from creode.diagnostics.trace import SAMPLE_DIMS


def virial(trace: xr.DataArray) -> xr.Dataset:
    """Mean virial per sampled weight and its standard error; 1 for draws from the posterior.

    Args:
        trace: (w − w*)·∇U(w)/d at each draw, dims (chain, draw); dimensionless.

    Returns:
        virial (), virial_se (). Below 1: flat directions have not mixed. Above 1: gradient noise or
        the step size heats the chain.
    """
    return xr.Dataset(
        {"virial": trace.mean(SAMPLE_DIMS, skipna=False), "virial_se": mcse(trace)},
    )
