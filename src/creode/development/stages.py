"""Developmental stages of a model from readings along its checkpoints, with their uncertainty.

Here: the one call: boundaries and stages with intervals and probabilities, and what moved in each.
Not here: kinds of curves (kinds.py), what a boundary is (regimes.py), how draws are brought
together (consensus.py), which of them move (moves.py), several readings at once (change_points.py).
Source: arXiv:2402.02364, which takes critical points of λ̂ smoothed by a Gaussian process against
log step. Deviations: the curve may have steps and kinks besides; edges of plateaus and kinks are
boundaries too; and all is told with the posterior of the curve, averaged over kinds of curves.
Dimensions: S draws, G places of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.development.changes import changes, types
from creode.development.consensus import consensus
from creode.development.curve import Curves, Effort
from creode.development.curve_prior import Prior
from creode.development.kinds import KINDS, averaged_curves
from creode.development.log_step import LogStep
from creode.development.moves import (
    at,
    edges_of,
    kinds_of_stages,
    midpoints,
    settled,
    windows,
)
from creode.development.regimes import Boundary, boundaries
from creode.development.series import Trajectory, trajectory
from creode.version import __version__

Array = NDArray[np.float64]

LEVEL = 0.95  # of intervals
STILL = 0.05  # of its range: a variable that moves by less in a stage does not move
GRID = 401  # places of the curve, evenly in log step
SEEN = (
    3.0  # a movement smaller than this many errors of a mean over all readings counts for nothing
)


def stages(
    readings: xr.Dataset,
    variable: str = "llc",
    *,
    loss: str = "loss",
    least: float = 0.4,
    offset: float | None = None,
    prior: Prior | None = None,
    effort: Effort | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Stages of one reading along checkpoints, and what moved in each.

    A stage is a stretch of log step over which the curve rises, falls or rests (a plateau). A
    transition between two plateaus is a stage of its own, from its onset to its end.

    Args:
        readings: `variable` (checkpoint) with its error `<variable>_se`; the coordinate checkpoint
            is in training steps. Optional: `<variable>_ok` or `ok` (checkpoint), `loss` with or
            without `loss_se`, and anything else along checkpoint, with its error.
        variable: the reading whose stages are sought.
        loss: the variable that types of stages are told by, if it is there.
        least: probability from which a boundary is told, if there is surely any.
        offset: of log(step + offset); None: 0, or the first step after 0 if step 0 was read.
        prior: of curves.
        effort: how long to sample.
        seed: of the draws.

    Returns:
        boundary_step, boundary_low, boundary_high (boundary): in steps; the median place and its
            95 % interval, given that the boundary is there.
        boundary_kind (boundary): onset, end, maximum, minimum or kink.
        boundary_probability (boundary): share of draws that have it.
        stage_start, stage_end (stage): in steps.
        stage_kind (stage): rise, fall or plateau.
        stage_midpoint, stage_midpoint_low, stage_midpoint_high (stage): in steps; where the stage
            is steepest, the flanks of faster moves beside it aside. NaN for plateaus.
        stage_type (stage): by loss and `variable`, see changes.TYPES; empty without a loss.
        `<variable>_delta`, `<variable>_delta_se` (stage): of the curve. The same of every other
            variable, from its readings, and what moved most of those with further dimensions: see
            changes(). A move beside a plateau counts half of its length of the plateau as its own,
            since at its edges its rate is still half of its peak.
        probability (num_stages): of the number of stages.
        kind_probability (curve_kind): that the curve is of a kind: a trend, a staircase, segments,
            or anything.
        curve, curve_se, rate, rate_se (step): the curve and its rate per unit of log step.
        error_scale, error_scale_se: what the stated errors must be multiplied by.
        used, left_out: readings.

    Raises:
        TypeError: `readings` is not a Dataset.
        ValueError: no such variable, too few readings, or a setting out of range.
    """
    if not 0 < least < 1:
        raise ValueError(f"least must be in (0, 1), got {least!r}; 0.4 is usual.")
    given = trajectory(readings, variable)
    log_step = LogStep.of(given.step, offset)
    x = log_step.x(given.step)
    span = float(x[-1] - x[0])
    centre = float(given.value.mean())
    unit = max(float(np.ptp(given.value)), float(np.median(given.error)))
    curves, kind_probability = averaged_curves(
        (x - x[0]) / span,
        (given.value - centre) / unit,
        given.error / unit,
        prior=prior or Prior(),
        effort=effort or Effort(),
        grid=GRID,
        seed=seed,
    )
    gap = float(np.median(np.diff(x))) / span
    small = SEEN * float(np.median(given.error)) / unit / len(x) ** 0.5
    lists = [
        boundaries(rate, kinks, gap=gap, least=small)
        for rate, kinks in zip(curves.rate, curves.kinks, strict=True)
    ]
    agreed = settled(consensus(lists, least=least), curves)

    def steps(places: Array) -> Array:
        inside = np.where(places <= 0, given.step[0], log_step.step(x[0] + span * places))
        return np.where(places >= 1, given.step[-1], inside)

    outside = (1 - LEVEL) / 2
    places = np.array([_quantiles(a.places, outside) for a in agreed]).reshape(-1, 3)
    edges = edges_of(agreed)
    kinds = kinds_of_stages(agreed, curves, edges)
    middles = midpoints(agreed, curves, edges, kinds, outside)
    starts, ends = windows(edges, kinds)
    table = changes(readings, steps(starts), steps(ends))
    moved = unit * (at(curves, ends) - at(curves, starts))
    table = _typed(table, readings, variable, loss, moved)
    result = xr.Dataset(
        {
            **_ends("boundary", ("low", "step", "high"), steps(places)),
            "boundary_kind": ("boundary", np.array([a.kind for a in agreed], str)),
            "boundary_probability": ("boundary", np.array([a.probability for a in agreed])),
            "stage_start": ("stage", steps(edges[:-1])),
            "stage_end": ("stage", steps(edges[1:])),
            "stage_kind": ("stage", np.array(kinds, str)),
            **_ends("stage", ("midpoint_low", "midpoint", "midpoint_high"), steps(middles)),
            **_number(lists),
            **_curve(curves, centre, unit, span),
            "kind_probability": ("curve_kind", kind_probability),
            "error_scale": float(curves.scale.mean()),
            "error_scale_se": float(curves.scale.std()),
            "used": len(x),
            "left_out": given.left_out,
        },
        {"step": steps(curves.grid), "curve_kind": list(KINDS), "stage": np.arange(1, len(edges))},
        _attrs(given, variable, least, log_step, seed, prior, effort),
    )
    return result.merge(table)


def _quantiles(places: Array, outside: float) -> Array:
    """Low, median and high of places that are not NaN."""
    out: Array = np.quantile(places[np.isfinite(places)], [outside, 0.5, 1 - outside])
    return out


def _typed(
    table: xr.Dataset, readings: xr.Dataset, variable: str, loss: str, moved: Array
) -> xr.Dataset:
    """With the curve's own differences (S, stage), and types."""
    out = table.assign(
        {
            f"{variable}_delta": ("stage", moved.mean(0)),
            f"{variable}_delta_se": ("stage", moved.std(0, ddof=1)),
        }
    )
    named = xr.DataArray(np.full(moved.shape[1], ""), dims="stage")
    if f"{loss}_delta" in out and out[f"{loss}_delta"].dims == ("stage",):
        known = []
        for name in (loss, variable):
            extent = readings[name].max("checkpoint") - readings[name].min("checkpoint")
            delta, error = out[f"{name}_delta"], out[f"{name}_delta_se"]
            known += [delta.where(abs(delta) > STILL * extent, 0.0), error]
        named = types(*known)
    return out.assign(stage_type=named)


def _number(lists: Sequence[Sequence[Boundary]]) -> dict[str, xr.DataArray]:
    counts = np.bincount([len(one) + 1 for one in lists])[1:]
    numbers = np.arange(1, len(counts) + 1)
    return {
        "probability": xr.DataArray(counts / counts.sum(), {"num_stages": numbers}, ["num_stages"])
    }


def _curve(curves: Curves, centre: float, unit: float, span: float) -> dict[str, tuple[str, Array]]:
    rate = np.stack([np.gradient(value, curves.grid) for value in curves.value]) * unit / span
    return {
        "curve": ("step", centre + unit * curves.value.mean(0)),
        "curve_se": ("step", unit * curves.value.std(0, ddof=1)),
        "rate": ("step", rate.mean(0)),
        "rate_se": ("step", rate.std(0, ddof=1)),
    }


def _ends(dim: str, names: Sequence[str], columns: Array) -> dict[str, tuple[str, Array]]:
    return {f"{dim}_{name}": (dim, columns[:, k]) for k, name in enumerate(names)}


def _attrs(
    given: Trajectory,
    variable: str,
    least: float,
    log_step: LogStep,
    seed: int,
    prior: Prior | None,
    effort: Effort | None,
) -> dict[str, object]:
    return {
        "variable": variable,
        "least": least,
        "level": LEVEL,
        "offset": log_step.offset,
        "checkpoints": given.out_of,
        "seed": seed,
        "prior": repr(prior or Prior()),
        "effort": repr(effort or Effort()),
        "creode_version": __version__,
    }
