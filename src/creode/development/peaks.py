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
Dimensions: T checkpoints; whatever else the series have, such as (query, train).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from creode.development.flips import NEVER, Array, checked, ratios, upper_tail
from creode.response.discoveries import significant


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
    steps = value["checkpoint"].values
    read = np.isfinite(ratios(value, error))
    size = np.where(read, np.abs(value.values.astype(np.float64)), np.nan)
    errors = np.where(read, error.values.astype(np.float64), np.nan)
    flat, flat_se = size.reshape(len(steps), -1), errors.reshape(len(steps), -1)
    places = np.full((3, flat.shape[1]), NEVER, np.int64)
    p = np.full(flat.shape[1], np.nan)
    for column in np.flatnonzero(np.isfinite(flat).any(0)):
        rows = np.flatnonzero(np.isfinite(flat[:, column]))
        own, own_se = flat[rows, column], flat_se[rows, column]
        largest = int(own.argmax())
        inside = _maybe_largest(own, own_se, dof, level)
        places[:, column] = rows[[largest, inside[0], inside[-1]]]
        if len(rows) > 2:
            p[column] = _peak_p(own, own_se, dof)
    rest = value.isel(checkpoint=0, drop=True)
    there = places[0] >= 0
    step = np.where(there, steps[places], NEVER)
    at = np.where(there, places[0], 0), np.arange(flat.shape[1])
    signed = value.values.reshape(len(steps), -1)

    def shaped(values: Array) -> xr.DataArray:
        return rest.copy(data=values.reshape(rest.shape))

    p_value = shaped(p)
    return xr.Dataset(
        {
            "peak_step": shaped(step[0]),
            "peak_low": shaped(step[1]),
            "peak_high": shaped(step[2]),
            "peak_value": shaped(np.where(there, signed[at], np.nan)),
            "peak_value_se": shaped(np.where(there, flat_se[at], np.nan)),
            "peak_p": p_value,
            "peak": significant(p_value, rate),
        },
        attrs={"rate": rate, "level": level},
    )


def _maybe_largest(size: Array, error: Array, dof: float, level: float) -> np.ndarray:
    """Places of one series (T,) that may be where it is largest."""
    best = int(size.argmax())
    spread = np.sqrt(error**2 + error[best] ** 2)
    tail = upper_tail((size[best] - size) / spread, dof)
    others = max(len(size) - 1, 1)
    maybe: np.ndarray = np.flatnonzero(2 * others * tail > 1 - level)
    return maybe


def _peak_p(size: Array, error: Array, dof: float) -> float:
    """The p value of no peak between the ends of one series (T,)."""
    between, between_se = size[1:-1, None], error[1:-1, None]
    ends, ends_se = size[[0, -1]], error[[0, -1]]
    tail = upper_tail((between - ends) / np.sqrt(between_se**2 + ends_se**2), dof)
    return float(min(1.0, (len(size) - 2) * 2 * tail.max(1).min()))
