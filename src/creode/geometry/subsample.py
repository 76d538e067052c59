"""The error of a probe that is a random subset of the posterior's data.

A mean over K samples drawn without replacement from N misses the mean over all N, however many
draws are taken; the Monte Carlo error does not know of it.

Here: that variance, for losses per sample and per token.
Not here: the Monte Carlo error (diagnostics/mcse.py).
Source: the linearised variance of a ratio estimator under simple random sampling without
replacement (Cochran, Sampling Techniques, 3rd ed. 1977, eq. 6.13 with 2.20).
Symbols: K samples of the probe, N of the population; T_s the sum of a sample's mean excess losses
over its counted units, c_s their number, R = ΣT/Σc.
"""

from __future__ import annotations

import math

import xarray as xr


def subsample_variance(probe: xr.Dataset) -> float:
    """Variance of a probe's mean excess loss over the choice of its samples, in nats².

    The sample is the unit that was drawn, not the token: tokens of one sample vary together, and
    samples have different numbers of them, so the mean per token is a ratio R of two totals with
    Var R ≈ (1 − K/N) Σ_s (T_s − R c_s)² / (K (K − 1) c̄²).

    Args:
        probe: unit_mean (chain, sample[, token]), unit_init_loss and mask (sample[, token]); the
            attribute `population` N if its samples are a random subset of N.

    Returns:
        The variance for the draws at hand; 0 without `population` or if the probe is all of it; NaN
        if one sample stands for more. It takes in the Monte Carlo error of each unit's mean, so
        added to the squared Monte Carlo error it errs a little to the large side.

    Raises:
        ValueError: more samples than the population has.
    """
    if "population" not in probe.attrs:
        return 0.0
    size, population = probe.sizes["sample"], int(probe.attrs["population"])
    if size > population:
        raise ValueError(
            f"the probe has {size} samples but says it is a subset of {population}; "
            "was it recorded with other data?"
        )
    if size == population:
        return 0.0
    if size == 1:
        return math.nan
    excess = probe["unit_mean"].mean("chain", skipna=False) - probe["unit_init_loss"]
    return ratio_variance(excess, probe["mask"]) * (1 - size / population)


def ratio_variance(values: xr.DataArray, mask: xr.DataArray) -> float:
    """Variance of the mean of counted units over the choice of their samples, of very many.

    Args:
        values: of each unit, (sample[, token]).
        mask: which units count.

    Returns:
        Σ_s (T_s − R c_s)² / (K (K − 1) c̄²), in the square of the values' unit; NaN of one sample.
    """
    size = mask.sizes["sample"]
    if size == 1:
        return math.nan
    within = [dim for dim in mask.dims if dim != "sample"]
    totals, counts = values.where(mask, 0.0).sum(within, skipna=False), mask.sum(within)
    ratio = totals.sum(skipna=False) / counts.sum()
    residual_sq = ((totals - ratio * counts) ** 2).sum(skipna=False)
    spread = residual_sq / (size - 1) / counts.mean() ** 2
    return float(spread / size)
