"""Readings along checkpoints, checked: which are used and which are left out.

Here: from a Dataset over checkpoint to steps, values and standard errors.
Not here: smoothing (smoothing.py), stages (stages.py).
A reading is left out if it or its error is not finite, or if its variable `<name>_ok` (or `ok`)
says that it cannot be trusted. An error of 0 is taken as half of the least positive one: a reading
that is exact would fix the curve whatever the others say.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Array = NDArray[np.float64]

FEWEST = 6  # readings from which a trajectory is told


class Trajectory(NamedTuple):
    """Readings that are used, by step."""

    step: Array  # (N,)
    value: Array  # (N,)
    error: Array  # (N,), positive
    left_out: int
    out_of: int


def trajectory(readings: xr.Dataset, name: str, *, fewest: int = FEWEST) -> Trajectory:
    """One variable of dimension checkpoint, with its error `<name>_se`.

    Raises:
        ValueError: no such variable, error or dimension, two readings of one step, or too few.
    """
    checked(readings, name)
    for one in (name, f"{name}_se"):
        if readings[one].dims != ("checkpoint",):
            raise ValueError(
                f"{one!r} has dimensions {readings[one].dims}; stages are of one reading along "
                "checkpoint: select the others, or use change_points() for several together."
            )
    ordered = readings.sortby("checkpoint")
    step = ordered["checkpoint"].values.astype(np.float64)
    value, error = (ordered[n].values.astype(np.float64) for n in (name, f"{name}_se"))
    good = np.isfinite(value) & np.isfinite(error) & (error >= 0) & trusted(ordered, name).values
    if good.sum() < fewest:
        raise ValueError(
            f"{name!r} has {int(good.sum())} usable readings of {len(step)} checkpoints; stages "
            f"need at least {fewest}: read more checkpoints, or see why readings are not ok."
        )
    step, value, error = step[good], value[good], error[good]
    if not (error > 0).any():
        raise ValueError(f"{name}_se is 0 everywhere; give the standard errors of the readings.")
    error = np.maximum(error, error[error > 0].min() / 2)
    return Trajectory(step, value, error, int((~good).sum()), len(good))


def checked(readings: xr.Dataset, name: str) -> None:
    """Refuses readings without checkpoints, the variable or its error."""
    if not isinstance(readings, xr.Dataset):
        raise TypeError(f"readings must be an xarray Dataset, got {type(readings).__name__}.")
    if "checkpoint" not in readings.dims or "checkpoint" not in readings.coords:
        raise ValueError(
            f"readings have dimensions {dict(readings.sizes)}; they need the dimension and "
            "coordinate checkpoint, in training steps."
        )
    for one in (name, f"{name}_se"):
        if one not in readings:
            raise ValueError(
                f"readings have no variable {one!r}; there are {sorted(map(str, readings))}."
            )
    steps = readings["checkpoint"].values
    if len(np.unique(steps)) < len(steps):
        raise ValueError("two readings are of the same checkpoint; keep one of each step.")


def trusted(readings: xr.Dataset, name: str) -> xr.DataArray:
    """Which checkpoints' readings of a variable are ok; all are, if nothing says otherwise."""
    verdict = next((v for v in (f"{name}_ok", "ok") if v in readings), None)
    if verdict is None or readings[verdict].dims != ("checkpoint",):
        return xr.ones_like(readings["checkpoint"], dtype=bool)
    return readings[verdict].astype(bool)
