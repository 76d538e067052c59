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
from creode.development.bridge import log_ratio
from creode.development.curve_prior import Prior
from creode.development.slots import Slots

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


FORBIDDEN = 1e9  # against a number of atoms, in log probability


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to sample."""

    chains: int = 4  # each with a lattice of places and lengths of its own
    burnin: int = 48  # sweeps over half of the slots
    sweeps: int = 100
    particles: int = 300  # of staircases and of segments, for each number of pieces
    moves: int = 8  # of every particle at each temperature

    def __post_init__(self) -> None:
        if min(self.chains, self.sweeps, self.moves) < 1 or self.burnin < 0 or self.particles < 10:
            raise ValueError(
                "chains, sweeps and moves must be at least 1, burnin at least 0 and particles at "
                f"least 10, got {self}."
            )


class Curves(NamedTuple):
    """Draws from the posterior."""

    grid: Array  # (G,) from 0 to 1
    value: Array  # (S, G) f
    rate: Array  # (S, G - 1) mean df/du between neighbours of the grid
    kinks: list[Array]  # S times (K,), where the rate jumps
    scale: Array  # (S,) s
    num_atoms: Indices  # (S,)


class Sampled(NamedTuple):
    """Draws and evidence; of all curves, and of those without atoms."""

    curves: Curves
    trends: Curves  # without atoms, as many draws
    log_evidence: float  # log p(y) but for a constant of the readings
    log_trend: float  # the same of a curve without atoms, the constant `nothing` times likelier


def sample_curves(
    u: Array, y: Array, sigma: Array, *, prior: Prior, effort: Effort, grid: int, seed: int
) -> Sampled:
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
    drawn: list[tuple[Array, Array, float, int]] = []
    trended: list[tuple[Array, Array, float, int]] = []
    moves, log_trend = [], 0.0
    for chain in np.random.SeedSequence(seed).spawn(effort.chains):
        rng = np.random.default_rng(chain)
        words = Atoms.of(u, prior, rng)
        shapes = words.at(points)
        backgrounds = [
            background(u, y, sigma, words.values, prior, trend, coarse) for trend in trends(prior)
        ]
        state = Slots(backgrounds, words, prior, len(y), rng)

        def draw(
            state: Slots = state, words: Atoms = words, shapes: Array = shapes
        ) -> tuple[Array, Array, float, int]:
            smooth, heights, s = state.draw_curve()
            active = state.active
            kinks = words.place[active[words.shape[active] == KINK]]
            return finer @ smooth + shapes[:, active] @ heights, kinks, s, len(active)

        _climb(state, prior.most, effort.burnin)
        for _ in range(effort.sweeps):
            state.sweep()
            drawn.append(draw())
        moves.append(state.odds)
        for _ in range(effort.sweeps):
            log_trend = state.without_atoms()
            trended.append(draw())
    log_number = np.arange(prior.most + 1) * np.log(prior.another)
    log_evidence = _log_sum(moves) - float(np.logaddexp.reduce(log_number)) + log_trend
    return Sampled(_curves(points, drawn), _curves(points, trended), log_evidence, log_trend)


def _climb(state: Slots, most: int, sweeps: int) -> None:
    """Half of the sweeps among K − 1 and K atoms for K = 1, 2, ..., the other half among all.

    Both are favoured alike, so that either's evidence against the other's is told.
    """
    rung = sweeps // (2 * most)
    state.without_atoms()
    for number in range(1, most + 1):
        for _ in range(rung):
            up, down = state.odds[number - 1]
            favour = np.full(most + 1, -FORBIDDEN)
            favour[number] = 0.0
            favour[number - 1] = log_ratio(up, down) if up and down else -FORBIDDEN / 2
            state.sweep(favour)
    for _ in range(sweeps - rung * most):
        state.sweep()


def _log_sum(moves: list[list[tuple[list[float], list[float]]]]) -> float:
    """log of p(y) / p(y, K = 0), from the log odds of filled slots in all chains."""
    most = len(moves[0])
    log_p = np.zeros(most + 1)
    for k in range(most):
        up, down = ([odds for chain in moves for odds in chain[k][way]] for way in (0, 1))
        log_p[k + 1] = log_p[k] + log_ratio(up, down) + np.log((most - k) / (k + 1))
    return float(np.logaddexp.reduce(log_p[np.isfinite(log_p)]))


def _curves(points: Array, drawn: list[tuple[Array, Array, float, int]]) -> Curves:
    value, kinks, scale, num = zip(*drawn, strict=True)
    values = np.array(value)
    rate = np.diff(values) * (len(points) - 1)
    return Curves(points, values, rate, list(kinks), np.array(scale), np.array(num))


def _spline(x: Array, at: Array) -> Array:
    """(at, x): takes values at x to a cubic spline's elsewhere."""
    from scipy.interpolate import CubicSpline

    out: Array = CubicSpline(x, np.eye(len(x)))(at)
    return out
