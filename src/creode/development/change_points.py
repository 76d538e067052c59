"""Change points of several readings together, by exact optimal segmentation.

Between changes every reading keeps a level, or a line in log step, of its own; the cost of a
segment is the sum of its squared residuals in units of their errors. The cheapest segmentation into
every number of segments is found exactly by dynamic programming. A change is worth its place if it
lowers the cost by more than the best of all places would in noise, but for a given rate.

Here: segmentation, the number of changes, their places with intervals.
Not here: stages of one reading, which may move gradually (stages.py).
Symbols: s² what the squares of the stated errors must be multiplied by, from neighbouring
checkpoints, held near 1 by a prior; p parameters of a segment of one reading.
Source: Jackson et al. 2005, arXiv:math/0309285 (the recursion); Fearnhead 2006 (the same recursion
summed, for the places). The penalty is Bonferroni's bound for a chi-squared gain of D p degrees of
freedom at N − 1 places.
Dimensions: N checkpoints, D readings, M most changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.development.log_step import LogStep
from creode.development.series import FEWEST, checked, trusted
from creode.version import __version__

Array = NDArray[np.float64]
Shape = Literal["constant", "linear"]

TRUST = 8.0  # degrees of freedom of the prior of s² around 1
MEDIAN = 0.4549364  # of chi-squared with one degree of freedom
EFFICIENCY = 0.4  # degrees of freedom that the median of squared differences has, for each of them


def change_points(
    readings: xr.Dataset,
    variables: Sequence[str] = ("llc",),
    *,
    shape: Shape = "constant",
    most: int = 10,
    false_positives: float = 0.05,
    level: float = 0.95,
    offset: float | None = None,
) -> xr.Dataset:
    """Checkpoints between which several readings change together.

    Args:
        readings: each of `variables` with the dimension checkpoint and any others, and its error
            `<name>_se`. A checkpoint with any reading that is not finite or not ok is left out.
        variables: the readings.
        shape: of a segment: a level, or a line in log step.
        most: changes looked for.
        false_positives: bound on the probability of a change in readings that have none.
        level: of the intervals.
        offset: of log(step + offset); None: 0, or the first step after 0 if step 0 was read.

    Returns:
        step (change): halfway, in log step, between the checkpoints before and after the change.
        low, high (change): the steps between which it lies with probability `level`, given the
            number of changes; between two checkpoints every place in log step is as likely.
        gain, p (change): what the change lowers the cost by, in units of s², and its p value,
            corrected for the places it could have had.
        cost (num_changes): of the best segmentation, in units of s².
        scale: s. used, left_out: checkpoints.

    Raises:
        ValueError: no such variable, too few checkpoints, or a setting out of range.
    """
    from scipy.stats import chi2

    if shape not in get_args(Shape):
        raise ValueError(f"shape must be one of {get_args(Shape)}, got {shape!r}.")
    if most < 1 or not 0 < false_positives < 1 or not 0 < level < 1:
        raise ValueError(
            f"most must be at least 1, false_positives and level in (0, 1); got {most}, "
            f"{false_positives}, {level}."
        )
    steps, y, error, total = _table(readings, variables)
    log_step = LogStep.of(steps, offset)
    x = log_step.x(steps)
    parameters = 1 if shape == "constant" else 2
    cost = _costs(x, y, error, shape)
    scale_sq = _scale_sq(x, y, error, shape)
    cost = cost / scale_sq
    most = min(most, len(x) // (parameters + 1) - 1)
    best, cut = _segmentations(cost, most)
    df = y.shape[1] * parameters
    penalty = float(chi2.isf(false_positives / (len(x) - 1), df))
    num = int(np.argmin(best + penalty * np.arange(most + 1)))
    edges = [0, *cut[num], len(x)]
    gain = np.array(
        [
            cost[a, c] - cost[a, b] - cost[b, c]
            for a, b, c in zip(edges, edges[1:], edges[2:], strict=False)
        ]
    )
    outside = (1 - level) / 2
    ends = [_quantiles(x, p, (outside, 1 - outside)) for p in _places(cost, num)]
    low, high = np.reshape(ends, (-1, 2)).T
    change = np.array(cut[num], np.int64)
    middle = log_step.step((x[change - 1] + x[change]) / 2)
    return xr.Dataset(
        {
            "step": ("change", middle),
            "low": ("change", log_step.step(low)),
            "high": ("change", log_step.step(high)),
            "gain": ("change", gain),
            "p": ("change", np.minimum(chi2.sf(gain, df) * (len(x) - 1), 1.0)),
            "cost": ("num_changes", best),
            "scale": float(scale_sq**0.5),
            "used": len(x),
            "left_out": total - len(x),
        },
        {"num_changes": np.arange(most + 1)},
        {
            "variables": list(variables),
            "shape": shape,
            "false_positives": false_positives,
            "level": level,
            "offset": log_step.offset,
            "creode_version": __version__,
        },
    )


def _table(readings: xr.Dataset, variables: Sequence[str]) -> tuple[Array, Array, Array, int]:
    """Steps (N,), values and errors (N, D), and how many checkpoints there were."""
    if isinstance(variables, str) or not variables:
        raise ValueError(f"variables must be a list of at least one name, got {variables!r}.")
    values: list[Array] = []
    errors: list[Array] = []
    good = xr.ones_like(readings["checkpoint"], dtype=bool)
    for name in variables:
        checked(readings, name)
        good &= trusted(readings, name)
        for one, into in ((name, values), (f"{name}_se", errors)):
            table = readings[one].broadcast_like(readings[name]).transpose("checkpoint", ...)
            into.append(table.values.reshape(table.sizes["checkpoint"], -1).astype(np.float64))
    y, error = np.hstack(values), np.hstack(errors)
    keep = good.values & np.isfinite(y).all(1) & np.isfinite(error).all(1) & (error > 0).all(1)
    if keep.sum() < FEWEST:
        raise ValueError(
            f"{int(keep.sum())} of {len(keep)} checkpoints have all readings and positive errors; "
            f"change points need at least {FEWEST}."
        )
    steps = readings["checkpoint"].values.astype(np.float64)[keep]
    order = np.argsort(steps)
    return steps[order], y[keep][order], error[keep][order], len(keep)


def _scale_sq(x: Array, y: Array, error: Array, shape: Shape) -> float:
    """s² from neighbours, which a change seldom parts; the median does not see those few."""
    if shape == "constant":
        squares = np.diff(y, axis=0) ** 2 / (error[1:] ** 2 + error[:-1] ** 2)
    else:
        share = ((x[1:-1] - x[:-2]) / (x[2:] - x[:-2]))[:, None]
        off = y[1:-1] - (1 - share) * y[:-2] - share * y[2:]
        variance = error[1:-1] ** 2 + ((1 - share) * error[:-2]) ** 2 + (share * error[2:]) ** 2
        squares = off**2 / variance
    known = EFFICIENCY * squares.size
    return float((TRUST + known * np.median(squares) / MEDIAN) / (TRUST + known))


def _costs(x: Array, y: Array, error: Array, shape: Shape) -> Array:
    """(N + 1, N + 1): of the segment of checkpoints i to j − 1; infinite where it is too short."""
    n = len(x)
    t = (x - x.mean()) / np.ptp(x)
    total = np.zeros((n + 1, n + 1))
    for column, sigma in zip(y.T, error.T, strict=True):
        w, z = 1 / sigma**2, column - np.average(column, weights=1 / sigma**2)

        def sums(values: Array) -> Array:
            up_to = np.append(0.0, np.cumsum(values))
            between: Array = up_to[None, :] - up_to[:, None]
            return between

        with np.errstate(divide="ignore", invalid="ignore"):
            s0, s1, s2 = sums(w), sums(w * z), sums(w * z * z)
            cost = s2 - s1**2 / s0
            if shape == "linear":
                tt = sums(w * t * t) - sums(w * t) ** 2 / s0
                tz = sums(w * t * z) - sums(w * t) * s1 / s0
                cost = cost - tz**2 / tt
        total += np.maximum(cost, 0.0)
    length = np.arange(n + 1)[None, :] - np.arange(n + 1)[:, None]
    return np.where(length >= (2 if shape == "constant" else 3), total, np.inf)


def _segmentations(cost: Array, most: int) -> tuple[Array, list[list[int]]]:
    """The least cost with 0 to `most` changes, and where they then are."""
    reached = [cost[0]]
    came_from = []
    for _ in range(most):
        through = reached[-1][:, None] + cost
        came_from.append(through.argmin(0))
        reached.append(through.min(0))
    cuts = []
    for num in range(most + 1):
        end, cut = cost.shape[1] - 1, []
        for k in range(num - 1, -1, -1):
            end = int(came_from[k][end])
            cut.append(end)
        cuts.append(cut[::-1])
    return np.array([r[-1] for r in reached]), cuts


def _places(cost: Array, num: int) -> list[Array]:
    """For each change the probability of every place, over all segmentations of that number."""
    from scipy.special import logsumexp

    log_p = -0.5 * cost
    forward, backward = [log_p[0]], [log_p[:, -1]]
    for _ in range(num - 1):
        forward.append(logsumexp(forward[-1][:, None] + log_p, axis=0))
        backward.append(logsumexp(log_p + backward[-1][None, :], axis=1))
    places = []
    for k in range(num):
        log_place = forward[k] + backward[num - 1 - k]
        places.append(np.exp(log_place - logsumexp(log_place)))
    return places


def _quantiles(x: Array, places: Array, at: tuple[float, float]) -> Array:
    """Of a change that is before checkpoint i with probability places[i]."""
    up_to = np.cumsum(places[1 : len(x)])
    out: Array = np.interp(at, np.append(0.0, up_to), x)
    return out
