"""Influences that change their sign along training, beyond doubt.

An influence flips if it is positive at one checkpoint and negative at another. That is a claim of
two signs, so its null hypothesis is that one of them never occurs, and its p value

    p = max(p₊, p₋),   p± = T · min over checkpoints of P(t > ±value/error),

is that of the sign for which there is less evidence (an intersection-union test; Bonferroni over T
checkpoints). False discoveries are held among flips. They would not be by signs that are
significant one by one: false signs gather among the flips, since true ones of one sign make none.

Here: which series flip, where, and how often.
Not here: the influences and their errors (response/influence.py), the control of false discoveries
(response/discoveries.py), where influence peaks (peaks.py).
Prediction that influences flip: arXiv:2510.12071. The test is ours.
Dimensions: T checkpoints; whatever else the series have, such as (query, train).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.response.discoveries import significant

Array = NDArray[np.float64]

NEVER = -1  # the place of a step where there is none


def sign_flips(
    value: xr.DataArray, error: xr.DataArray, *, dof: float = np.inf, rate: float = 0.05
) -> xr.Dataset:
    """Which series change their sign along checkpoints, and between which of them.

    Args:
        value: influences, or whatever has a sign, with the dimension checkpoint (training steps)
            and any others; NaN is no reading.
        error: its standard errors, shaped as `value`; independent between checkpoints or not.
        dof: degrees of freedom of the errors.
        rate: of false discoveries among the flips that are found.

    Returns:
        flip_p (...), the p value; flip (...), whether it is a discovery; and of those that are,
        sign (checkpoint, ...), −1 or 1 where the sign is sure and 0 elsewhere; num_flips (...), how
        often sure signs alternate; flip_after, flip_before (...), the last step that surely has the
        first sign and the first that surely has the other, −1 where there is no flip.

    Raises:
        ValueError: no steps, or errors of another shape.
    """
    value, error = checked(value, error)
    x, z = value["checkpoint"].values, ratios(value, error)
    count = np.isfinite(z).sum(0)
    tails = {sign: np.where(np.isfinite(z), upper_tail(sign * z, dof), 1.0) for sign in (1, -1)}
    least = {sign: np.minimum(count * tail.min(0), 1.0) for sign, tail in tails.items()}
    rest = value.isel(checkpoint=0, drop=True)
    p = rest.copy(data=np.where(count > 1, np.maximum(least[1], least[-1]), np.nan))
    found = significant(p, rate)
    level = rate * float(found.sum()) / max(int(p.notnull().sum()), 1)
    sure = (count * tails[1] <= level).astype(int) - (count * tails[-1] <= level)
    sign = np.where(found.values, sure, 0)
    after, before, times = _alternations(sign.reshape(len(x), -1), x)
    places = {"flip_after": after, "flip_before": before, "num_flips": times}
    return xr.Dataset(
        {"flip_p": p, "flip": found, "sign": value.copy(data=sign.astype(np.int8))}
        | {name: rest.copy(data=each.reshape(rest.shape)) for name, each in places.items()},
        attrs={"rate": rate},
    )


def checked(value: xr.DataArray, error: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Both by step, checkpoint first.

    Raises:
        ValueError: no steps, or errors of another shape.
    """
    if "checkpoint" not in value.coords or "checkpoint" not in value.dims:
        raise ValueError(
            f"values along training need a dimension checkpoint with its steps, got {value.dims}."
        )
    if set(value.dims) != set(error.dims) or dict(value.sizes) != dict(error.sizes):
        raise ValueError(
            f"each value needs its standard error: values are {dict(value.sizes)}, errors "
            f"{dict(error.sizes)}."
        )
    ordered = value.sortby("checkpoint").transpose("checkpoint", ...)
    return ordered, error.sortby("checkpoint").transpose(*ordered.dims)


def ratios(value: xr.DataArray, error: xr.DataArray) -> Array:
    """value/error (T, ...), NaN where there is no reading."""
    errors = error.values.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        z: Array = value.values / np.where(errors > 0, errors, np.nan)
    return z


def upper_tail(z: ArrayLike, dof: float) -> Array:
    """P(t > z) under Student's t."""
    from scipy import stats

    return np.asarray(stats.t.sf(z, dof) if np.isfinite(dof) else stats.norm.sf(z))


def _alternations(
    sign: NDArray[np.integer], steps: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of each column of signs (T, N): the steps around its first change, and how many there are."""
    after, before = np.full((2, sign.shape[1]), NEVER, np.int64)
    times = np.zeros(sign.shape[1], np.int64)
    for column in np.flatnonzero((sign != 0).any(0)):
        places = np.flatnonzero(sign[:, column])
        changes = np.flatnonzero(np.diff(sign[places, column]))
        times[column] = len(changes)
        if len(changes):
            after[column] = steps[places[changes[0]]]
            before[column] = steps[places[changes[0] + 1]]
    return after, before, times
