"""What moved in each stage, and what moved most.

Here: differences of readings over stages with errors, false discoveries held among parts, and the
kind of a stage by loss and complexity.
Not here: where stages begin (stages.py), corrections for many tests (response/discoveries.py).
A difference is that of the readings at the checkpoints nearest, in log step, to the ends of a
stage; where that is one checkpoint, of those around the stage. Nothing is smoothed.
Source: types A and B of arXiv:2402.02364; stages in which the loss is still are named here as well.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.development.log_step import LogStep
from creode.development.series import trusted
from creode.response.discoveries import significant
from creode.response.uncertainty import two_sided

Array = NDArray[np.float64]
Type = Literal["A", "B", "loss alone", "silent", "loss rises", "still"]

TYPES: dict[Type, str] = {
    "A": "loss falls, complexity rises",
    "B": "loss falls, complexity falls",
    "loss alone": "loss falls, complexity does not move",
    "silent": "complexity moves, loss does not",
    "loss rises": "loss rises",
    "still": "neither moves",
}
BEYOND = 1.96  # standard errors from which a difference is one


def changes(
    readings: xr.Dataset, starts: ArrayLike, ends: ArrayLike, *, rate: float = 0.05
) -> xr.Dataset:
    """Differences over stages of everything that has readings along checkpoints.

    Args:
        readings: variables with the dimension checkpoint and any others; those with an error
            `<name>_se`, and scalars per checkpoint without one, which are taken as exact; verdicts
            `<name>_ok`, for each part or for all, or `ok`.
        starts, ends: (stage,), in training steps.
        rate: of false discoveries among the parts of one variable in one stage.

    Returns:
        For each variable `<name>_delta` and `<name>_delta_se` (stage, ...), NaN where no two
        readings are trusted; and if it has further dimensions `<name>_p`, `<name>_significant` and
        `<name>_rank`, 1 for what moved most by |delta| / error, 0 where there is no difference.
    """
    ordered = readings.sortby("checkpoint")
    out: dict[str, xr.DataArray] = {}
    for name in map(str, readings):
        values = ordered[name]
        error = f"{name}_se" in readings
        if (
            "checkpoint" not in values.dims
            or values.dtype.kind not in "fiu"
            or (name.endswith("_se") and name[:-3] in readings)
            or (not error and values.ndim > 1)
        ):
            continue
        ok, verdict = trusted(ordered, name), f"{name}_ok"
        if verdict in ordered and ordered[verdict].ndim > 1:
            values = values.where(ordered[verdict].astype(bool))
        squares = ordered[f"{name}_se"] ** 2 if error else xr.zeros_like(values, dtype=float)
        parts = [
            _difference(values, squares, ok, float(a), float(b))
            for a, b in zip(np.atleast_1d(starts), np.atleast_1d(ends), strict=True)
        ]
        delta, delta_se = (xr.concat(each, "stage") for each in zip(*parts, strict=True))
        out |= {f"{name}_delta": delta, f"{name}_delta_se": delta_se}
        if delta.ndim > 1:
            out |= _ranked(name, delta, delta_se, rate)
    return xr.Dataset(out)


def types(
    loss: xr.DataArray, loss_se: xr.DataArray, llc: xr.DataArray, llc_se: xr.DataArray
) -> xr.DataArray:
    """The type of each stage, by differences (stage,) and their errors; see TYPES."""

    def direction(delta: xr.DataArray, error: xr.DataArray) -> Array:
        moved: Array = np.sign(delta.values) * (np.abs(delta.values) > BEYOND * error.values)
        return moved

    named: dict[tuple[int, int], Type] = {
        (-1, 1): "A",
        (-1, -1): "B",
        (-1, 0): "loss alone",
        (0, 0): "still",
        (0, 1): "silent",
        (0, -1): "silent",
    }
    both = zip(direction(loss, loss_se), direction(llc, llc_se), strict=True)
    kinds = [named.get((int(a), int(b)), "loss rises") for a, b in both]
    return xr.DataArray(np.array(kinds, str), dims="stage")


def _difference(
    values: xr.DataArray, squares: xr.DataArray, ok: xr.DataArray, start: float, end: float
) -> tuple[xr.DataArray, xr.DataArray]:
    shown = values.notnull() & squares.notnull()
    used = ok.values & shown.any([d for d in values.dims if d != "checkpoint"]).values
    steps = values["checkpoint"].values.astype(np.float64)
    places = np.flatnonzero(used)
    nothing = xr.full_like(values.isel(checkpoint=0, drop=True), np.nan, dtype=float)
    if len(places) < 2:
        return nothing, nothing
    log_step = LogStep.of(steps)
    x = log_step.x(steps[places])
    a, b = (float(log_step.x(step)) for step in (start, end))
    nearest = [int(np.abs(x - at).argmin()) for at in (a, b)]
    if nearest[0] == nearest[1]:
        before, after = np.searchsorted(x, a, "right") - 1, np.searchsorted(x, b)
        nearest = [max(int(before), 0), min(int(after), len(x) - 1)]
    first, last = places[nearest]
    if first == last:
        return nothing, nothing
    one, other = (values.isel(checkpoint=int(k), drop=True) for k in (first, last))
    variance = sum(squares.isel(checkpoint=int(k), drop=True) for k in (first, last))
    return other - one, xr.DataArray(variance) ** 0.5


def _ranked(
    name: str, delta: xr.DataArray, error: xr.DataArray, rate: float
) -> dict[str, xr.DataArray]:
    z: xr.DataArray = abs(delta / error.where(error > 0))
    p: xr.DataArray = xr.apply_ufunc(lambda v: two_sided(v, np.inf), z).where(z.notnull())
    found = xr.concat(
        [significant(p.isel(stage=s), rate) for s in range(p.sizes["stage"])], "stage"
    )
    flat = z.values.reshape(len(z), -1)
    rank = np.empty(flat.shape, np.int64)
    for row, into in zip(flat, rank, strict=True):
        into[np.argsort(-np.where(np.isnan(row), -np.inf, row), kind="stable")] = np.arange(
            1, len(row) + 1
        )
        into[np.isnan(row)] = 0
    return {
        f"{name}_p": p,
        f"{name}_significant": found,
        f"{name}_rank": z.copy(data=rank.reshape(z.shape)),
    }
