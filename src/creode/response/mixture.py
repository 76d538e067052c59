"""Susceptibility to a mixture of data, or to any direction in which data can move.

χ is linear in the data: to Σ a_z (unit z) it is Σ a_z χ_z = −Cov(φ, Σ a_z ℓ_z − (Σ a_z) L). With
a_z ≥ 0 that sum to 1 it is χ to that mixture; with a sum of 0 it is the response to moving weight
from some data to others, and L drops out.

Here: that sum over domains (probes) or units, with the error of the sum.
Not here: χ of each unit (susceptibility.py).
Source: arXiv:2504.18274.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from creode.geometry import over_study
from creode.response.replicates import LOSS, Observable, replicates
from creode.response.susceptibility import Draws, one_tree, provenance, verdict_of, with_components
from creode.response.uncertainty import estimate, p_value

Weights = float | ArrayLike


def mixture_susceptibility(
    draws: Draws,
    weights: Mapping[str, Weights],
    *,
    observable: Observable = LOSS,
) -> xr.Dataset:
    """χ of every component to a weighted sum of data.

    Args:
        draws: as for `susceptibility`.
        weights: by probe, a number (of the mean over its units) or an array of one number a unit,
            shaped as the probe's losses. They are taken as given, and are not normalised.
        observable: φ.

    Returns:
        chi, chi_se, chi_dof, z, p, ok, reasons, ess, rhat (component,), as of `susceptibility`; the
        error is that of the sum, whose parts vary together.

    Raises:
        ValueError: no such probe or observable, or weights of another shape or not finite.
    """
    if not weights:
        raise ValueError("weights names no probe; give for example {'code': 0.5, 'prose': 0.5}.")
    reading = partial(_of_posterior, weights=weights, observable=observable)
    joined = with_components(over_study(one_tree(draws), reading))
    joined["z"] = joined["chi"] / joined["chi_se"]
    joined["p"] = p_value(joined["chi"], joined["chi_se"], joined["chi_dof"])
    return joined


def _of_posterior(
    draws: xr.DataTree, *, weights: Mapping[str, Weights], observable: Observable
) -> xr.Dataset:
    total: xr.DataArray | float = 0.0
    for name, weight in weights.items():
        found = replicates(draws, name, observable)
        units = [dim for dim in found.units.dims if dim not in found.data.dims]
        given = np.asarray(weight, dtype=np.float64)
        if not np.isfinite(given).all():
            raise ValueError(f"the weights of probe {name!r} are not all finite.")
        if given.ndim == 0:
            total = total - float(given) * (found.units.mean(units) - found.data)
            continue
        shape = tuple(found.units.sizes[dim] for dim in units)
        if given.shape != shape:
            raise ValueError(
                f"probe {name!r} has losses of shape {shape} and its weights have shape "
                f"{given.shape}; give one number a unit, or one for the probe."
            )
        each = xr.DataArray(given, dims=units)
        counted = each.where(found.units.isel(chain=0, block=0, drop=True).notnull(), 0.0)
        total = total - (found.units.fillna(0.0) * each).sum(units) + counted.sum() * found.data
    assert isinstance(total, xr.DataArray)
    result = estimate(total).assign(verdict_of(draws, observable))
    result.attrs = provenance(draws)
    return result
