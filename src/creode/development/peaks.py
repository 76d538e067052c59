"""Where along training an influence is largest, either way, and how surely.

The place of the largest |value| is an interval: from the first to the last checkpoint whose |value|
is not surely below the largest one seen (Gupta's subset selection, with Bonferroni's bound over
the other checkpoints and both signs). A *peak* is more than a largest value: at some checkpoint in
between, |value| is surely larger than at the first and at the last one. Its null hypothesis is that
it is larger at no such checkpoint,

    p = min over checkpoints between of (T − 2) · max over both ends of 2 P(t > z),
    z = (|value| − |value at the end|)/(their error),

where 2 allows for the sign that the smaller one may have.

Here: intervals of the place, and which series peak, with false discoveries held among peaks.
Not here: the influences and their errors (response/influence.py), flips of sign (flips.py).
Source: S. S. Gupta 1965, for intervals. Errors are taken as independent between checkpoints.
Dimensions: T checkpoints; N series, of whatever else there is, such as (query, train).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.development.flips import NEVER, Array, checked, ratios, upper_tail
from creode.response.discoveries import significant

Index = NDArray[np.int64]


def peaks(
    value: xr.DataArray,
    error: xr.DataArray,
    *,
    dof: float = np.inf,
    rate: float = 0.05,
    level: float = 0.95,
) -> xr.Dataset:
    """Where |value| is largest along checkpoints, and which series peak between the ends.

    Args:
        value, error, dof, rate: as of `sign_flips`.
        level: of the intervals.

    Returns:
        Of each series (...): peak_step, where |value| is largest, −1 where there is no reading;
        peak_low, peak_high, the interval of that place in training steps; peak_value and
        peak_value_se, the value there (too large by selection, where errors are); peak_p, and peak,
        whether it is a discovery.

    Raises:
        ValueError: no steps, or errors of another shape.
    """
    value, error = checked(value, error)
    steps, rest = value["checkpoint"].values, value.isel(checkpoint=0, drop=True)
    read = np.isfinite(ratios(value, error)).reshape(len(steps), -1)
    signed, errors = (one.values.reshape(read.shape).astype(np.float64) for one in (value, error))
    size, se = np.where(read, np.abs(signed), -np.inf), np.where(read, errors, 0.0)
    largest, there = size.argmax(0)[None], read.any(0)
    maybe = read & _maybe_largest(size, se, largest, read.sum(0), dof, level)
    first, last = _ends(maybe)

    def shaped(values: Array) -> xr.DataArray:
        return rest.copy(data=values.reshape(rest.shape))

    def at(places: NDArray[np.int64]) -> xr.DataArray:
        return shaped(np.where(there, steps[places], NEVER))

    p_value = shaped(_peak_p(size, se, read, dof))
    return xr.Dataset(
        {
            "peak_step": at(largest[0]),
            "peak_low": at(first),
            "peak_high": at(last),
            "peak_value": shaped(np.where(there, _taken(signed, largest)[0], np.nan)),
            "peak_value_se": shaped(np.where(there, _taken(se, largest)[0], np.nan)),
            "peak_p": p_value,
            "peak": significant(p_value, rate),
        },
        attrs={"rate": rate, "level": level},
    )


def _maybe_largest(
    size: Array, se: Array, largest: Index, count: Index, dof: float, level: float
) -> NDArray[np.bool_]:
    """Which checkpoints (T, N) may be where a series is largest; of what was read."""
    tail = upper_tail(_over(_taken(size, largest), size, se, _taken(se, largest)), dof)
    held: NDArray[np.bool_] = 2 * np.maximum(count - 1, 1) * tail > 1 - level
    return held


def _peak_p(size: Array, se: Array, read: NDArray[np.bool_], dof: float) -> Array:
    """The p values (N,) of no peak between the ends; NaN where nothing lies between."""
    ends = _ends(read)
    places = np.arange(len(size))[:, None]
    between = read & (places > ends[0]) & (places < ends[1])
    tails = []
    for end in ends:
        over = _over(size, _taken(size, end[None]), se, _taken(se, end[None]))
        tails.append(upper_tail(over, dof))
    best = np.where(between, np.maximum(*tails), 1.0).min(0)
    count = between.sum(0)
    return np.where(count > 0, np.minimum(1.0, count * 2 * best), np.nan)


def _over(one: Array, other: Array, one_se: Array, other_se: Array) -> Array:
    """How far one lies over the other, in units of the error; NaN where neither was read."""
    spread = np.hypot(one_se, other_se)
    with np.errstate(invalid="ignore"):
        ratio: Array = (one - other) / np.where(spread > 0, spread, 1.0)
    return ratio


def _ends(flags: NDArray[np.bool_]) -> tuple[Index, Index]:
    """The first and the last place (N,) where flags (T, N) hold."""
    return flags.argmax(0), len(flags) - 1 - flags[::-1].argmax(0)


def _taken(values: Array, places: Index) -> Array:
    """Values (1, N) at places (1, N)."""
    return np.take_along_axis(values, places, 0)
