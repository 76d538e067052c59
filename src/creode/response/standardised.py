"""Standardised susceptibilities, so that components can be compared with each other.

A component's χ has a scale of its own (its number of weights, its posterior's spread), and all
units share what is common to them. Columns: (χ − mean over units)/standard deviation over units,
per component. Rows: less the mean over components, per unit.

Here: the two steps, with their errors.
Not here: χ itself (susceptibility.py).
Source: arXiv:2601.12703, columns standardised and then rows centred. The scale is that of estimated
values, so it has their error in it: noisy columns are shrunk towards 0.
"""

from __future__ import annotations

from typing import Literal

import xarray as xr

from creode.response.uncertainty import REPLICATE_DIMS

Standard = Literal["none", "columns", "both"]


def standardise_columns(replicates: xr.DataArray) -> xr.DataArray:
    """Replicates of (χ − mean over units)/scale, the scale taken as known.

    Args:
        replicates: of one component's χ, (chain, block, sample[, token]); NaN does not count.
    """
    units = [dim for dim in replicates.dims if dim not in REPLICATE_DIMS]
    value = replicates.mean(REPLICATE_DIMS, skipna=False)
    return (replicates - replicates.mean(units)) / value.std(units)


def centre_rows(chi: xr.Dataset) -> xr.Dataset:
    """chi_standard less its mean over components, with the error of that mean put in.

    Degrees of freedom are those of the sum (Welch–Satterthwaite).

    Components are drawn independently. One whose draws failed is NaN and left out of the mean.

    Raises:
        ValueError: one component, whose rows would all be 0.
    """
    if chi.sizes["component"] < 2:
        raise ValueError(
            "rows can be centred over 2 components or more, and there is 1; use "
            "standardise='columns'."
        )
    value, error_sq = chi["chi_standard"], chi["chi_standard_se"] ** 2
    count = value.notnull().sum("component")
    of_mean = error_sq.sum("component") / count**2
    own_sq = error_sq * (1 - 2 / count)
    # of the sum of independent parts: the component's own, and those of all in the mean
    fourth = error_sq**2 / chi["chi_standard_dof"]
    own, others = (1 - 1 / count) ** 4 * fourth, (fourth.sum("component") - fourth) / count**4
    return chi.assign(
        chi_standard=value - value.mean("component"),
        chi_standard_se=(own_sq + of_mean) ** 0.5,
        chi_standard_dof=(own_sq + of_mean) ** 2 / (own + others),
    )
