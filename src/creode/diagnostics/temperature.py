"""Kinetic temperature: the mean squared momentum per weight, 1 in equilibrium.

Here: its mean over draws with its error; NaN for kernels without momentum.
Not here: thermostats (sampling/), what a departure from 1 means (verdict.py).
"""

from __future__ import annotations

import xarray as xr

from creode.diagnostics.mcse import mcse
from creode.diagnostics.trace import SAMPLE_DIMS


def temperature(trace: xr.DataArray) -> xr.Dataset:
    """Mean kinetic temperature E‖p‖²/d and its standard error.

    Args:
        trace: ‖p‖²/d at each draw, dims (chain, draw); NaN for a kernel without momentum.

    Returns:
        temperature (), temperature_se (); NaN if any draw is.
    """
    return xr.Dataset(
        {"temperature": trace.mean(SAMPLE_DIMS, skipna=False), "temperature_se": mcse(trace)},
    )
