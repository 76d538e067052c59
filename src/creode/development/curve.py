"""A developmental curve: a smooth trend with steps and kinks, sampled given noisy readings.

A Gaussian process of one length scale long enough for a trend smooths steps over, and one short
enough for them sees steps in noise. So the curve is a sum,

    f(u) = a + b u + α g(u) + Σ_k h_k φ_k(u),    y_i ~ N(f(u_i), s² σ_i²),

of a line, a Gaussian process g of long length scale, and as many atoms φ as the readings call for:
steps (logistic or straight, with a place and a length) and kinks max(u − c, 0).

Here: draws of the curve and of its rate df/du from the posterior.
Not here: the prior (curve_prior.py), the sampler (slots.py), what in a curve is a boundary
(regimes.py), readings (series.py).
Symbols: u position in log step, 0 at the first reading and 1 at the last; σ_i the standard errors;
s² what their squares must be multiplied by.
Dimensions: N readings, K atoms in a curve, G places of the grid, C of a coarse one, S draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from creode.development.atoms import KINK, Atoms
from creode.development.background import background, trends
from creode.development.curve_prior import Prior
from creode.development.slots import Slots

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to sample."""

    chains: int = 4  # each with a lattice of places and lengths of its own
    burnin: int = 40  # sweeps over half of the slots
    sweeps: int = 100

    def __post_init__(self) -> None:
        if min(self.chains, self.sweeps) < 1 or self.burnin < 0:
            raise ValueError(
                f"chains and sweeps must be at least 1 and burnin at least 0, got {self.chains}, "
                f"{self.sweeps} and {self.burnin}."
            )


class Curves(NamedTuple):
    """Draws from the posterior."""

    grid: Array  # (G,) from 0 to 1
    value: Array  # (S, G) f
    rate: Array  # (S, G - 1) mean df/du between neighbours of the grid
    kinks: list[Array]  # S times (K,), where the rate jumps
    scale: Array  # (S,) s
    num_atoms: Indices  # (S,)


def sample_curves(
    u: Array, y: Array, sigma: Array, *, prior: Prior, effort: Effort, grid: int, seed: int
) -> Curves:
    """Draws of f given readings.

    Args:
        u: (N,), rising from 0 to 1.
        y: (N,), in units of their range, about zero.
        sigma: (N,), standard errors, in the same units.
        prior: of curves.
        effort: sweeps.
        grid: points at which curves are given.
        seed: of the draws.
    """
    coarse, points = np.linspace(0.0, 1.0, 41), np.linspace(0.0, 1.0, grid)
    finer = _spline(coarse, points)
    value, kinks, scale, num = [], [], [], []
    for chain in np.random.SeedSequence(seed).spawn(effort.chains):
        rng = np.random.default_rng(chain)
        words = Atoms.of(u, prior, rng)
        shapes = words.at(points)
        backgrounds = [
            background(u, y, sigma, words.values, prior, trend, coarse) for trend in trends(prior)
        ]
        state = Slots(backgrounds, words, prior, len(y), rng)
        for sweep in range(effort.burnin + effort.sweeps):
            state.sweep()
            if sweep >= effort.burnin:
                smooth, heights, s = state.draw_curve()
                value.append(finer @ smooth + shapes[:, state.active] @ heights)
                kinks.append(words.place[state.active[words.shape[state.active] == KINK]])
                scale.append(s)
                num.append(len(state.active))
    values = np.array(value)
    return Curves(
        points, values, np.diff(values) * (grid - 1), kinks, np.array(scale), np.array(num)
    )


def _spline(x: Array, at: Array) -> Array:
    """(at, x): takes values at x to a cubic spline's elsewhere."""
    from scipy.interpolate import CubicSpline

    out: Array = CubicSpline(x, np.eye(len(x)))(at)
    return out
