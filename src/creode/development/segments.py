"""Segments: curves of a few straight lines in log step that join.

    f(u) = a + Σ_k r_k |[0, u] ∩ [c_k, c_k+1]|,    c_0 = 0, c_K+1 = 1

Here: what they are like before any reading.
Not here: draws (pieces.py), curves that may do anything (curve_prior.py).
Symbols: c places of K kinks, r rates of the K + 1 segments; θ = (c,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SegmentPrior:
    """Rates are in units of the readings' range over the whole trajectory."""

    most: int = 4  # kinks
    another: float = 0.5  # P(K + 1 kinks) / P(K kinks)
    apart: float = 0.05  # least distance of neighbouring kinks ...
    resolved: float = 3.0  # ... and the same in median gaps between readings
    rate: float = 2.0  # standard deviation of a segment's
    level: float = 3.0  # standard deviation of a

    def __post_init__(self) -> None:
        sizes = (self.another, self.apart, self.resolved, self.rate, self.level)
        if min(sizes) <= 0 or self.most < 1:
            raise ValueError(f"segments need most at least 1 and all else above 0, got {self}.")


class Segments:
    """Segments with `num` kinks between, for readings at u."""

    def __init__(self, u: Array, num: int, prior: SegmentPrior) -> None:
        self._room = max(prior.apart, prior.resolved * float(np.median(np.diff(u))))
        self.ranges = np.array([[u[1], u[-2]]])
        self.precision = np.diag([prior.level**-2] + [prior.rate**-2] * (num + 1))

    def room(self, theta: Array) -> Array:
        """(W, K − 1): how far neighbouring places must be apart."""
        return np.full((len(theta), theta.shape[1] - 1), self._room)

    def columns(self, theta: Array, points: Array) -> Array:
        """(W, points, K + 2)."""
        ends = np.ones((len(theta), 1))
        place = np.concatenate([0 * ends, theta[..., 0], ends], 1)[:, None]
        out = np.ones((len(theta), len(points), place.shape[2]))
        out[..., 1:] = np.clip(
            points[:, None] - place[..., :-1], 0.0, place[..., 1:] - place[..., :-1]
        )
        return out
