"""Plateau: does λ̂ stop moving with the step size, with nβ, with γ?

An estimate of λ means something where the settings it was made with no longer show. Along one
direction, with the others as chosen, log λ̂ is fitted by a line in the log of the setting; its
slope is d log λ̂ / d log nβ (or γ, or ε), 0 on a plateau. For a quadratic at exact draws the slope
in nβ is Σ x/(1 + x)² / Σ 1/(1 + x) with x = γ/(nβ h), and that in γ its negative.

Here: the slopes, their errors, and what they say.
Not here: sampling around a choice (study/sensitivity.py), the picture (viewer/).
Bias: the log of λ̂ is curved, so the slope is that of the range, not of its middle.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import xarray as xr

DIRECTIONS = {"epsilon": "the step size", "nbeta": "nβ", "gamma": "γ"}

# What doubling a setting may do to λ̂ on a plateau. Settings of published readings differ by factors
# of ten: a twentieth a doubling is a sixth over such a factor, and a tenth would be a third.
TOLERANCE = 0.05
BEYOND = 2.0  # standard errors


class Slope(NamedTuple):
    """d log λ̂ / d log(setting), and what it says."""

    value: float
    error: float
    level: str  # "flat", "moves", or "unknown"
    sentence: str


def plateau(readings: xr.Dataset) -> xr.Dataset:
    """Whether λ̂ is on a plateau in each direction.

    Args:
        readings: llc, llc_se, ok (epsilon, nbeta, gamma), with errors from independent chains; and
            the attributes nbeta, localization: the choice. At it, epsilon is 1.

    Returns:
        slope, slope_se (direction): d log λ̂ / d log(setting) through the choice, fitted with the
        errors as weights, over the cells that have a positive λ̂; NaN with fewer than two. level
        (direction): "flat" if doubling moves λ̂ by less than a twentieth, two standard errors
        included; "moves" if by more, and told from 0; "unknown" otherwise. sentence (direction):
        the same in words, with what stands against it. slope_ok: whether every cell used is ok.
    """
    chosen = {
        "epsilon": 1.0,
        "nbeta": readings.attrs["nbeta"],
        "gamma": readings.attrs["localization"],
    }
    found = {}
    trusted = []
    for name in DIRECTIONS:
        along = readings[["llc", "llc_se", "ok"]].sel(
            {other: value for other, value in chosen.items() if other != name}
        )
        kept = (along["llc"] > 0) & (along["llc_se"] > 0)
        used = along.isel({name: np.flatnonzero(kept.values)})
        found[name] = _slope(name, used)
        trusted.append(bool(used["ok"].all()) and used.sizes[name] > 1)
    columns = list(zip(*found.values(), strict=True))
    names = ("slope", "slope_se", "level", "sentence")
    variables = {
        name: ("direction", list(column)) for name, column in zip(names, columns, strict=True)
    }
    return xr.Dataset(
        {**variables, "slope_ok": ("direction", trusted)}, {"direction": list(DIRECTIONS)}
    )


def _slope(name: str, used: xr.Dataset) -> Slope:
    what = DIRECTIONS[name]
    if used.sizes[name] < 2:
        return Slope(
            math.nan, math.nan, "unknown",
            f"{what}: fewer than two settings gave a reading, so nothing can be said",
        )  # fmt: skip
    x = np.log(used[name].values)
    y = np.log(used["llc"].values)
    weight = (used["llc"].values / used["llc_se"].values) ** 2  # of y: se(log λ̂) = se/λ̂
    centred = x - np.average(x, weights=weight)
    spread = float((weight * centred**2).sum())
    slope, error = float((weight * centred * y).sum()) / spread, spread**-0.5
    level = _level(slope, error)
    return Slope(slope, error, level, _sentence(what, slope, error, level, used, name))


def _level(slope: float, error: float) -> str:
    most = math.log2(1 + TOLERANCE)
    if abs(slope) + BEYOND * error < most:
        return "flat"
    return "moves" if abs(slope) > max(most, BEYOND * error) else "unknown"


def _sentence(
    what: str, slope: float, error: float, level: str, used: xr.Dataset, name: str
) -> str:
    doubled = f"{2**slope - 1:+.1%} ± {math.log(2) * 2**slope * error:.1%}".replace("-", "−")
    head = {
        "flat": f"λ̂ is on a plateau in {what}",
        "moves": f"λ̂ moves with {what}",
        "unknown": f"whether λ̂ is on a plateau in {what} is not decided",
    }[level]
    low, high = used[name].values[[0, -1]]
    doubtful = int((~used["ok"].values).sum())
    doubt = f"; {doubtful} of {used.sizes[name]} readings used are in doubt" if doubtful else ""
    return f"{head}: {doubled} when it is doubled (over a range of × {high / low:.3g}){doubt}"
