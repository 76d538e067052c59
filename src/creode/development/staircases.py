"""Staircases: curves that rest but for steps, which are apart and go one way.

So models move that learn one thing after another: from saddle to saddle, with plateaus between.

    f(u) = a + Σ_k h_k expit(HALF (u − c_k) / l_k)

Here: what they are like before any reading.
Not here: draws (pieces.py), curves that may do anything (curve_prior.py).
Symbols: c places and l lengths of steps; θ = (c, log l).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HALF = 2 * np.arccosh(np.sqrt(2.0)) * 2  # a logistic's rate is above half its peak over this length


@dataclass(frozen=True, kw_only=True)
class StaircasePrior:
    """Heights are in units of the readings' range."""

    most: int = 6  # steps
    another: float = 0.5  # P(K + 1 steps) / P(K steps)
    shortest: float = 0.5  # length of a step, in median gaps between readings
    longest: float = 0.15  # the same, as a share of the trajectory
    apart: float = 1.0  # least distance of neighbouring places, in the sum of their lengths ...
    resolved: float = 2.0  # ... and in median gaps between readings
    height: float = 1.0  # standard deviation of a step's height, times the number of steps
    alike: float = 0.9  # correlation of heights
    level: float = 3.0  # standard deviation of a

    def __post_init__(self) -> None:
        sizes = (self.another, self.shortest, self.longest, self.apart, self.resolved)
        if min(*sizes, self.height, self.level) <= 0 or not 0 <= self.alike < 1 or self.most < 1:
            raise ValueError(
                "a staircase needs most at least 1, alike in [0, 1) and all else above 0, got "
                f"{self}."
            )


class Staircase:
    """Staircases of `num` steps, for readings at u."""

    def __init__(self, u: Array, num: int, prior: StaircasePrior) -> None:
        gap = float(np.median(np.diff(u)))
        self._apart, self._least = prior.apart, prior.resolved * gap
        shortest = min(prior.shortest * gap, prior.longest / 2)
        self.ranges = np.array([[u[1], u[-2]], np.log([shortest, prior.longest])])
        heights = (1 - prior.alike) * np.eye(num) + prior.alike
        self.precision = np.zeros((num + 1, num + 1))
        self.precision[0, 0] = prior.level**-2
        self.precision[1:, 1:] = np.linalg.inv(heights) * (num / prior.height) ** 2

    def room(self, theta: Array) -> Array:
        """(W, K − 1): how far neighbouring places must be apart."""
        length = np.exp(theta[..., 1])
        out: Array = np.maximum(self._apart * (length[:, 1:] + length[:, :-1]), self._least)
        return out

    def columns(self, theta: Array, points: Array) -> Array:
        """(W, points, K + 1)."""
        place, length = theta[:, None, :, 0], np.exp(theta[:, None, :, 1])
        out = np.ones((len(theta), len(points), theta.shape[1] + 1))
        out[..., 1:] = 0.5 + 0.5 * np.tanh(0.5 * HALF * (points[:, None] - place) / length)
        return out
