"""Curves averaged over what kind of curve they are.

A prior of anything that a curve may do spends itself on what few curves do, and reads little where
errors are large. Most curves are simpler: a trend without atoms, a staircase, or a few straight
segments. Each kind is drawn by itself and counts by its prior probability and its evidence,

    p(f | y) = Σ_m p(f | y, m) p(m | y),    p(m | y) ∝ p(m) p(y | m).

Here: the four kinds, their weights, draws of the average.
Not here: draws of one kind (curve.py, pieces.py).
Source: Bayesian model averaging, Hoeting et al. 1999, Stat. Sci. 14.
Symbols: u, y, σ as in curve.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from creode.development.curve import Curves, Effort, sample_curves
from creode.development.curve_prior import Prior
from creode.development.pieces import Readings, Sampler
from creode.development.segments import Segments
from creode.development.staircases import Staircase

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

KINDS = ("trend", "staircase", "segments", "anything")


class _Part(NamedTuple):
    """A share of the average."""

    kind: str
    log_weight: float
    draw: Callable[[int], Curves]


def averaged_curves(
    u: Array, y: Array, sigma: Array, *, prior: Prior, effort: Effort, grid: int, seed: int
) -> tuple[Curves, Array]:
    """Draws of f given readings, as many as sample_curves makes, and the probability of each kind.

    Arguments are those of sample_curves, the probabilities in the order of KINDS.
    """
    general = sample_curves(u, y, sigma, prior=prior, effort=effort, grid=grid, seed=seed)
    rng = np.random.default_rng([seed, 1])
    readings = Readings(u, y, sigma, prior.trust)
    with np.errstate(divide="ignore"):
        trend, staircase, segments, anything = np.log(prior.kinds)
    steps, lines = prior.staircase, prior.segments
    parts = [
        _Part("trend", trend + general.log_trend, _some_of(general.trends, rng)),
        _Part("anything", anything + general.log_evidence, _some_of(general.curves, rng)),
    ]
    for num, log_p in enumerate(staircase + _log_number(steps.most, steps.another), start=1):
        sampler = Sampler(readings, Staircase(u, num, steps), num, rng)
        parts.append(_part("staircase", log_p, sampler, general.curves.grid, effort, rng))
    for num, log_p in enumerate(segments + _log_number(lines.most, lines.another), start=1):
        sampler = Sampler(readings, Segments(u, num, lines), num, rng)
        parts.append(_part("segments", log_p, sampler, general.curves.grid, effort, rng))
    log_weight = np.array([part.log_weight for part in parts])
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    total = len(general.curves.scale)
    counts = np.diff(np.round(total * np.append(0.0, np.cumsum(weight))).astype(int))
    drawn = [part.draw(count) for part, count in zip(parts, counts, strict=True) if count]
    names = np.array([part.kind for part in parts])
    return _joined(drawn), np.array([weight[names == kind].sum() for kind in KINDS])


def _log_number(most: int, another: float) -> Array:
    """(most,): log P(K) for K = 1..most."""
    log_p = np.arange(most) * np.log(another)
    out: Array = log_p - np.logaddexp.reduce(log_p)
    return out


def _part(
    kind: str,
    log_prior: float,
    sampler: Sampler,
    points: Array,
    effort: Effort,
    rng: np.random.Generator,
) -> _Part:
    """Curves of a known number of pieces; not sampled where they are impossible beforehand."""
    if np.isneginf(log_prior):
        return _Part(kind, -np.inf, _none)
    theta, log_evidence = sampler.run(effort.particles, effort.moves)
    draw = _of_pieces(sampler, theta, points, rng, kinked=kind == "segments")
    return _Part(kind, log_prior + log_evidence, draw)


def _none(count: int) -> Curves:
    raise AssertionError(f"{count} draws of what is impossible")


def _some_of(curves: Curves, rng: np.random.Generator) -> Callable[[int], Curves]:
    def draw(count: int) -> Curves:
        return _taken(curves, rng.permutation(len(curves.scale))[:count])

    return draw


def _of_pieces(
    sampler: Sampler, theta: Array, points: Array, rng: np.random.Generator, *, kinked: bool
) -> Callable[[int], Curves]:
    def draw(count: int) -> Curves:
        order = np.concatenate(
            [rng.permutation(len(theta)) for _ in range(-(-count // len(theta)))]
        )[:count]
        value, scale = sampler.curves(theta[order], points)
        rate = np.diff(value) * (len(points) - 1)
        kinks = [place if kinked else np.empty(0) for place in theta[order, :, 0]]
        return Curves(points, value, rate, kinks, scale, np.full(count, theta.shape[1]))

    return draw


def _taken(curves: Curves, some: Indices) -> Curves:
    return Curves(
        curves.grid,
        curves.value[some],
        curves.rate[some],
        [curves.kinks[i] for i in some],
        curves.scale[some],
        curves.num_atoms[some],
    )


def _joined(some: list[Curves]) -> Curves:
    return Curves(
        some[0].grid,
        np.concatenate([one.value for one in some]),
        np.concatenate([one.rate for one in some]),
        [kinks for one in some for kinks in one.kinks],
        np.concatenate([one.scale for one in some]),
        np.concatenate([one.num_atoms for one in some]),
    )
