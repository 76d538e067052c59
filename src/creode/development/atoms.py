"""The shapes that a developmental curve may add to its trend: steps and kinks.

A step is logistic or straight, with a place and a length; a kink is max(u − c, 0).

Here: the lattice of them, with the prior probability of each, and their values.
Not here: which of them a curve has (slots.py).
Dimensions: N readings, A atoms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from creode.development.curve_prior import Prior
from creode.development.staircases import HALF

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

LOGISTIC, STRAIGHT, KINK = range(3)


class Atoms(NamedTuple):
    """The atoms a curve may have."""

    place: Array  # (A,)
    length: Array  # (A,), 0 for a kink
    shape: Indices  # (A,)
    spread: Array  # (A,) prior standard deviation
    log_prior: Array  # (A,)
    values: Array  # (N, A), times spread

    @classmethod
    def of(cls, u: Array, prior: Prior, rng: np.random.Generator) -> Atoms:
        """A lattice, shifted at random: over chains places and lengths are not discrete."""
        gap = float(np.median(np.diff(u)))
        shortest = min(prior.shortest * gap, prior.longest / 2)
        ratio = (prior.longest / shortest) ** (1 / prior.lengths)
        lengths = shortest * ratio ** (np.arange(prior.lengths) + rng.random())
        place, length, shape, spread, weight = [], [], [], [], []
        for kind, share in zip((LOGISTIC, STRAIGHT, KINK), prior.shares, strict=True):
            if not share:
                continue
            sizes = np.zeros(1) if kind == KINK else lengths
            for size in sizes:
                fine = prior.fineness * (u[-2] - u[1]) / max(size, 1e-9)
                count = int(min(prior.places, fine))
                c = u[1] + (np.arange(count) + rng.random()) * (u[-2] - u[1]) / count
                place.append(c)
                length.append(np.full(c.size, size))
                shape.append(np.full(c.size, kind))
                spread.append(np.full(c.size, prior.bend if kind == KINK else prior.height))
                weight.append(np.full(c.size, np.log(share / (c.size * sizes.size))))
        joined = [np.concatenate(a) for a in (place, length, spread, weight)]
        shapes = np.concatenate(shape).astype(np.int64)
        words = cls(joined[0], joined[1], shapes, joined[2], joined[3], np.empty((0, 0)))
        return words._replace(values=words.at(u))

    def at(self, points: Array) -> Array:
        """(points, A), times the prior standard deviation."""
        from scipy.special import expit

        away = points[:, None] - self.place
        out = np.maximum(away, 0.0)
        for kind in (LOGISTIC, STRAIGHT):
            these = self.shape == kind
            t = away[:, these] / self.length[these]
            out[:, these] = expit(HALF * t) if kind == LOGISTIC else np.clip(t + 0.5, 0.0, 1.0)
        values: Array = out * self.spread
        return values
