"""How many intervals along training meet a stage boundary, and how many would by chance.

By chance: every interval keeps its length in log step and lies anywhere between the first and the
last checkpoint with equal probability. Intervals of one run are not independent, since many may
show one and the same change; the expectation holds nevertheless, a p value would not.

Here: which intervals meet a boundary, and the expected count.
Not here: the intervals (flips.py, peaks.py), the boundaries (stages.py).
Dimensions: N intervals, M boundaries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creode.development.log_step import LogStep

Array = NDArray[np.float64]

PLACES = 1000  # where an interval is put, evenly in log step


class Meetings(NamedTuple):
    """Intervals that meet a boundary."""

    each: NDArray[np.bool_]  # (N,)
    chance: Array  # (N,), the probability that one of its length would
    expected: float  # how many would


def meetings(low: ArrayLike, high: ArrayLike, boundaries: ArrayLike, steps: ArrayLike) -> Meetings:
    """Which intervals hold a boundary.

    Args:
        low, high: of N intervals, in training steps.
        boundaries: (M, 2), the interval of each boundary, in training steps.
        steps: the checkpoints; intervals and boundaries lie between the first and the last.
    """
    axis = LogStep.of(steps)
    first, last = axis.x([np.min(steps), np.max(steps)])
    a, b = axis.x(low), axis.x(high)
    edges = axis.x(np.reshape(np.asarray(boundaries, np.float64), (-1, 2)))
    length = b - a
    start = first + np.linspace(0, 1, PLACES) * (last - first - length)[:, None]  # (N, places)
    chance = _meet(start, start + length[:, None], edges).mean(1)
    return Meetings(_meet(a, b, edges), chance, float(chance.sum()))


def _meet(low: Array, high: Array, edges: Array) -> NDArray[np.bool_]:
    """Whether each interval shares a place with any of the others (M, 2)."""
    apart = (low[..., None] > edges[:, 1]) | (high[..., None] < edges[:, 0])
    return np.asarray((~apart).any(-1))
