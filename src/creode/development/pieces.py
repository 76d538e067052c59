"""Curves of a known number of pieces, by sequential Monte Carlo from the prior to the posterior.

    f(u) = Σ_j h_j φ_j(u; θ),    y_i ~ N(f(u_i), s² σ_i²),    h ~ N(0, s² P⁻¹),

where θ holds what each of K pieces is by itself: its place, and for steps its length. Heights h
and s² are integrated out in closed form, so that draws are of θ alone. Given lengths, places are
uniform where every piece has room beside the next.

Here: the sampler of θ for one K, the evidence p(y | K), draws of curves.
Not here: which pieces there are (staircases.py, segments.py), how kinds of curves are weighed
(kinds.py).
Source: Del Moral, Doucet and Jasra 2006, J. R. Stat. Soc. B 68; moves along differences of
particles, ter Braak 2006, Stat. Comput. 16.
Symbols: u, y, σ, s as in curve.py.
Dimensions: W particles, K pieces, D numbers of a piece (the first is its place), N readings, J
columns φ.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

TRIED = 20  # draws of lengths for every particle, of which those are kept that leave room
EFFECTIVE = 0.5  # share of particles that a change of temperature leaves effective
JITTER = 1e-2  # of the range of each number: keeps moves apart where particles agree
TINY = 1e-12  # least misfit that is left


class Pieces(Protocol):
    """A kind of curve with K pieces."""

    @property
    def ranges(self) -> Array:
        """(D, 2): from where to where the numbers of a piece go."""

    @property
    def precision(self) -> Array:
        """(J, J): P."""

    def room(self, theta: Array) -> Array:
        """(W, K − 1): how far neighbouring places must be apart."""

    def columns(self, theta: Array, points: Array) -> Array:
        """(W, points, J): φ."""


class Readings(NamedTuple):
    """What is fitted: places from 0 to 1, readings in units of their range about 0, errors."""

    u: Array
    y: Array
    sigma: Array
    trust: float  # degrees of freedom of the prior of s² around 1


class Sampled(NamedTuple):
    """Particles of the posterior."""

    theta: Array  # (W, K, D)
    log_evidence: float


class Sampler:
    """Of the pieces of one kind and number."""

    def __init__(
        self, readings: Readings, pieces: Pieces, num: int, rng: np.random.Generator
    ) -> None:
        self._given, self._pieces, self._num, self._rng = readings, pieces, num, rng
        self._white = readings.y / readings.sigma
        self._power = (readings.trust + len(readings.u)) / 2
        half_log_det: float = 0.5 * np.linalg.slogdet(pieces.precision)[1]
        self._constant = half_log_det - float(np.log(readings.sigma).sum())

    def run(self, particles: int, moves: int) -> Sampled:
        """Particles, and log p(y | K) but for a constant of the readings.

        The latter is −∞ where K pieces have no room.
        """
        theta, log_room = self._prior(particles)
        if not len(theta):
            return Sampled(theta, -np.inf)
        level, before = self.log_likelihood(theta), self._log_density(theta)
        power, log_evidence = 0.0, log_room
        while power < 1:
            step = _step(level, 1 - power)
            power = 1.0 if step == 1 - power else power + step
            top = float(level.max())
            weight = np.exp(step * (level - top))
            log_evidence += step * top + float(np.log(weight.mean()))
            even = (self._rng.random() + np.arange(particles)) / particles
            chosen = np.searchsorted(np.cumsum(weight / weight.sum()), even)
            chosen = chosen.clip(max=particles - 1)
            theta, level, before = theta[chosen], level[chosen], before[chosen]
            for move in range(moves):
                new = self._elsewhere(theta) if move % 4 == 3 else self._along(theta)
                after = self._log_density(new)
                may = np.flatnonzero(np.isfinite(after))
                if not len(may):
                    continue
                proposed = self.log_likelihood(new[may])
                gain = power * (proposed - level[may]) + after[may] - before[may]
                better = np.log(self._rng.random(len(may))) < gain
                moved = may[better]
                theta[moved], before[moved] = new[moved], after[moved]
                level[moved] = proposed[better]
        return Sampled(theta, log_evidence)

    def log_likelihood(self, theta: Array) -> Array:
        """(W,): of θ, heights and s integrated out."""
        root, half = self._solved(theta)
        log_det = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)
        out: Array = self._constant - log_det - self._power * np.log(self._left(half))
        return out

    def curves(self, theta: Array, points: Array) -> tuple[Array, Array]:
        """(W, points) curves and (W,) s."""
        root, half = self._solved(theta)
        s = np.sqrt(self._left(half) / self._rng.chisquare(2 * self._power, len(half)))
        noisy = half + s[:, None] * self._rng.standard_normal(half.shape)
        heights = np.linalg.solve(root.transpose(0, 2, 1), noisy[..., None])
        value: Array = (self._pieces.columns(theta, points) @ heights)[..., 0]
        return value, s

    def _solved(self, theta: Array) -> tuple[Array, Array]:
        """R with R Rᵀ = the precision of heights with unit s, and R⁻¹ φᵀy."""
        columns = self._pieces.columns(theta, self._given.u) / self._given.sigma[:, None]
        turned = columns.transpose(0, 2, 1)
        root = np.linalg.cholesky(turned @ columns + self._pieces.precision).astype(np.float64)
        half = np.linalg.solve(root, (turned @ self._white)[..., None])[..., 0].astype(np.float64)
        return root, half

    def _left(self, half: Array) -> Array:
        misfit = self._white @ self._white - np.square(half).sum(1)
        left: Array = self._given.trust + np.maximum(misfit, TINY)
        return left

    def _free(self, theta: Array) -> Array:
        """(W,): what is left for places beside the room that pieces need."""
        low, high = self._pieces.ranges[0]
        left: Array = high - low - self._pieces.room(theta).sum(1)
        return left

    def _prior(self, particles: int) -> tuple[Array, float]:
        """Draws of it, and the log of the share of lengths that leave room."""
        low, high = self._pieces.ranges.T
        theta = self._rng.uniform(low, high, (TRIED * particles, self._num, len(low)))
        fits = np.flatnonzero(self._free(theta) > 0)
        if len(fits) < particles:
            return theta[:0], -np.inf
        kept = theta[fits[:particles]]
        share = np.sort(self._rng.random((particles, self._num)), 1)
        kept[..., 0] = low[0] + share * self._free(kept)[:, None]
        kept[:, 1:, 0] += np.cumsum(self._pieces.room(kept), 1)
        return kept, float(np.log(len(fits) / len(theta)))

    def _log_density(self, theta: Array) -> Array:
        """(W,): of the prior, but for a constant; −∞ where it does not go."""
        low, high = self._pieces.ranges.T
        allowed = ((theta > low) & (theta < high)).all((1, 2))
        allowed &= (np.diff(theta[..., 0], axis=1) > self._pieces.room(theta)).all(1)
        free = np.maximum(self._free(theta), TINY)
        out: Array = np.where(allowed, -self._num * np.log(free), -np.inf)
        return out

    def _along(self, theta: Array) -> Array:
        """Moves along the difference of two other particles, of all numbers or of some."""
        rng, shape = self._rng, theta.shape
        one, other = rng.integers(len(theta), size=(2, len(theta)))
        scale = 2.38 / np.sqrt(2 * shape[1] * shape[2]) * rng.choice([0.3, 1.0, 2.5], len(theta))
        some = rng.random(shape) < rng.choice([0.3, 1.0], len(theta))[:, None, None]
        jitter = JITTER * np.diff(self._pieces.ranges, axis=1)[:, 0] * rng.standard_normal(shape)
        away = scale[:, None, None] * (theta[one] - theta[other] + jitter)
        out: Array = theta + some * away
        return out

    def _elsewhere(self, theta: Array) -> Array:
        """One piece of each anywhere."""
        low, high = self._pieces.ranges.T
        which = self._rng.integers(self._num, size=len(theta))
        new = theta.copy()
        new[np.arange(len(theta)), which] = self._rng.uniform(low, high, (len(theta), len(low)))
        order = np.argsort(new[..., 0], 1)
        return np.take_along_axis(new, order[..., None], 1)


def _step(level: Array, most: float) -> float:
    """The increase of the power that leaves enough particles effective."""

    def effective(step: float) -> bool:
        weight = np.exp(step * (level - level.max()))
        share = weight.sum() ** 2 / (weight**2).sum() / len(level)
        return bool(share >= EFFECTIVE)

    if effective(most):
        return most
    low, high = 0.0, most
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) else (low, middle)
    return low
