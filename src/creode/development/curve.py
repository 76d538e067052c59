"""A developmental curve: a smooth trend with steps and kinks, sampled given noisy readings.

A Gaussian process of one length scale long enough for a trend smooths steps over, and one short
enough for them sees steps in noise. So the curve is a sum,

    f(u) = a + b u + α g(u) + Σ_k h_k φ_k(u),    y_i ~ N(f(u_i), s² σ_i²),

of a line, a Gaussian process g of long length scale, and as many atoms φ as the readings call for:
steps (logistic or straight, with a place and a length) and kinks max(u − c, 0).

Here: the prior, draws of the curve and of its rate df/du from the posterior.
Not here: what in a curve is a boundary (regimes.py), readings (trajectory.py).
Symbols: u position in log step, 0 at the first reading and 1 at the last; σ_i the standard errors;
s² what their squares must be multiplied by.
Sampling: Gibbs over slots for atoms. Given the others, an atom has its weight at every place,
length and shape at once, with a, b, g, h and s² integrated out in closed form; so moves are exact
draws, none is rejected, and many places cost what the prior says (Occam's factor).
Source: Bayesian variable selection (George and McCulloch 1997); the process and its kernel,
Rasmussen and Williams 2006, eq. 2.22-2.27.
Dimensions: N readings, A atoms of the dictionary, K atoms in a curve, G places of the grid, C of a
coarse one, S draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

LOGISTIC, STRAIGHT, KINK = range(3)
TINY = 1e-12  # least misfit that is left
HALF = 2 * np.arccosh(np.sqrt(2.0)) * 2  # a logistic's rate is above half its peak over this length


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What curves are like before any reading. Heights are in units of the readings' range."""

    places: int = 240  # of the grid of places of kinks and of the shortest steps
    fineness: float = 16.0  # places of a step within its length, if that makes fewer
    lengths: int = 8  # of steps, evenly in log length
    shortest: float = 0.5  # length of a step, in median gaps between readings
    longest: float = 0.6  # the same, as a share of the trajectory
    most: int = 8  # atoms of a curve
    another: float = 1.5  # P(K + 1 atoms) / P(K atoms)
    shares: tuple[float, float, float] = (0.4, 0.2, 0.4)  # of logistic, straight, kinks
    height: float = 0.5  # standard deviation of a step's height
    bend: float = 3.0  # standard deviation of a kink's change of rate
    line: float = 3.0  # standard deviation of a and b
    flat: float = 0.5  # P(b = 0 and α = 0)
    amplitudes: tuple[float, ...] = (0.1, 0.3, 1.0)  # α
    scales: tuple[float, ...] = (0.4, 1.0)  # length scales of g
    smooth: float = 0.25  # P(α > 0)
    trust: float = 12.0  # degrees of freedom of the prior of s² around 1

    def __post_init__(self) -> None:
        straight = 1 - self.flat - self.smooth
        if min(self.flat, self.smooth, straight) <= 0:
            raise ValueError(
                f"flat and smooth must be above 0 and their sum below 1, got {self.flat} and "
                f"{self.smooth}."
            )
        if min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"shares must not be negative and sum to 1, got {self.shares}.")
        if min(self.places, self.lengths, self.most) < 1:
            raise ValueError(
                f"places, lengths and most must be at least 1, got {self.places}, {self.lengths} "
                f"and {self.most}."
            )
        sizes = (self.shortest, self.longest, self.another, self.height, self.bend, self.line)
        if min(*sizes, self.trust, self.fineness, *self.scales) <= 0:
            raise ValueError(
                "shortest, longest, another, height, bend, line, trust, fineness and scales must "
                f"be positive, got {self}."
            )


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


class _Background(NamedTuple):
    """A line and a process of one amplitude and length scale: readings whitened by it."""

    log_prior: float
    log_det: float
    y: Array  # (N,)
    atoms: Array  # (N, A)
    norms: Array  # (A,) 1 + |z|²
    products: Array  # (A,) z·y
    to_grid: Array  # (C, N) conditional mean on the coarse grid, of whitened residuals
    root: Array  # (C, C) conditional covariance's root


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
        words = _Words.of(u, prior, rng)
        shapes = words.at(points)
        backgrounds = [
            _background(u, y, sigma, words.values, prior, kind, coarse)
            for kind in _kinds_of_background(prior)
        ]
        state = _Chain(backgrounds, words, prior, len(y), rng)
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


class _Words(NamedTuple):
    """The atoms a curve may have."""

    place: Array  # (A,)
    length: Array  # (A,), 0 for a kink
    shape: Indices  # (A,)
    spread: Array  # (A,) prior standard deviation
    log_prior: Array  # (A,)
    values: Array  # (N, A), times spread

    @classmethod
    def of(cls, u: Array, prior: Prior, rng: np.random.Generator) -> _Words:
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


def _kinds_of_background(prior: Prior) -> list[tuple[float, float, float, float]]:
    """Of each: its probability, the standard deviation of its slope, α, and its length scale."""
    number = len(prior.amplitudes) * len(prior.scales)
    straight = 1 - prior.flat - prior.smooth
    return [
        (prior.flat, 0.0, 0.0, 1.0),
        (straight, prior.line, 0.0, 1.0),
        *(
            (prior.smooth / number, prior.line, alpha, scale)
            for alpha in prior.amplitudes
            for scale in prior.scales
        ),
    ]


def _background(
    u: Array,
    y: Array,
    sigma: Array,
    atoms: Array,
    prior: Prior,
    kind: tuple[float, float, float, float],
    coarse: Array,
) -> _Background:
    from scipy.linalg import cholesky, solve_triangular

    probability, slope, alpha, scale = kind

    def kernel(a: Array, b: Array) -> Array:
        line = prior.line**2 + slope**2 * np.outer(a - 0.5, b - 0.5)
        out: Array = line + alpha**2 * np.exp(-0.5 * ((a[:, None] - b) / scale) ** 2)
        return out

    root = cholesky(np.diag(sigma**2) + kernel(u, u), lower=True)
    z, white = (solve_triangular(root, a, lower=True) for a in (atoms, y))
    half = solve_triangular(root, kernel(u, coarse), lower=True)  # (N, C)
    left = kernel(coarse, coarse) - half.T @ half
    w, v = np.linalg.eigh(left)
    return _Background(
        log_prior=float(np.log(probability)),
        log_det=float(np.log(np.diag(root)).sum()),
        y=white,
        atoms=z,
        norms=1 + np.square(z).sum(0),
        products=z.T @ white,
        to_grid=half.T,
        root=v * np.sqrt(np.maximum(w, 0.0)),
    )


class _Chain:
    """Slots for atoms, filled or empty, and a background."""

    def __init__(
        self,
        backgrounds: list[_Background],
        words: _Words,
        prior: Prior,
        num_readings: int,
        rng: np.random.Generator,
    ) -> None:
        self._all, self._words, self._prior, self._rng = backgrounds, words, prior, rng
        self._power = (prior.trust + num_readings) / 2
        self._slots = np.full(prior.most, -1)
        self._now = backgrounds[0]
        self._rows: dict[int, Array] = {}  # (A,) products of an active atom with all
        self._atoms = np.stack([b.atoms for b in backgrounds])
        self._products = np.stack([b.products for b in backgrounds])
        self._squares = np.array([b.y @ b.y for b in backgrounds])
        self._log_prior = np.array([b.log_prior - b.log_det for b in backgrounds])

    @property
    def active(self) -> Indices:
        found: Indices = self._slots[self._slots >= 0]
        return found

    def sweep(self) -> None:
        """Half of the slots, then the background, each from its full conditional."""
        for slot in self._rng.permutation(len(self._slots))[: (len(self._slots) + 1) // 2]:
            self._slots[slot] = -1
            self._slots[slot] = self._atom()
        chosen = self._all[self._categorical(self._log_prior + self._log_evidence())]
        if chosen is not self._now:
            self._now, self._rows = chosen, {}

    def draw_curve(self) -> tuple[Array, Array, float]:
        """The smooth part on the coarse grid, heights of the active atoms, and s."""
        now, rng = self._now, self._rng
        z = now.atoms[:, self.active]
        whiten, half = _solved(z.T @ z, now.products[self.active])
        left = self._prior.trust + _misfit(now.y @ now.y, half)
        s = np.sqrt(left / rng.chisquare(2 * self._power))
        heights = whiten.T @ (half + s * rng.standard_normal(len(half)))
        noise = rng.standard_normal(len(now.root))
        return now.to_grid @ (now.y - z @ heights) + s * now.root @ noise, heights, float(s)

    def _atom(self) -> int:
        """An atom for an empty slot given the other slots; −1 for none."""
        now, prior, others = self._now, self._prior, self.active
        rows = np.stack([self._row(k) for k in others]) if len(others) else now.atoms[:0]
        whiten, mean = _solved(rows[:, others], now.products[others])
        half = whiten @ rows
        norms = now.norms - np.einsum("ka,ka->a", half, half)
        products = now.products - mean @ half
        misfit = _misfit(now.y @ now.y, mean)
        left = np.maximum(misfit - products**2 / norms, TINY)
        gain = -0.5 * np.log(norms) - self._power * np.log(
            (prior.trust + left) / (prior.trust + misfit)
        )
        count = len(others)
        odds = prior.another * (count + 1) / (prior.most - count)
        log_p = np.append(gain + self._words.log_prior + np.log(odds), 0.0)
        chosen = self._categorical(log_p)
        return -1 if chosen == len(gain) else chosen

    def _row(self, atom: int) -> Array:
        if atom not in self._rows:
            self._rows[atom] = self._now.atoms[:, atom] @ self._now.atoms
        return self._rows[atom]

    def _log_evidence(self) -> Array:
        """Of every background, given the atoms, but for its own determinant."""
        z = self._atoms[:, :, self.active]
        whiten, half = _solved(z.transpose(0, 2, 1) @ z, self._products[:, self.active])
        log_det = -np.log(np.diagonal(whiten, axis1=1, axis2=2)).sum(1)
        left = self._prior.trust + _misfit(self._squares, half)
        out: Array = -log_det - self._power * np.log(left)
        return out

    def _categorical(self, log_p: Array) -> int:
        total = np.cumsum(np.exp(log_p - log_p.max()))
        return int(np.searchsorted(total, self._rng.random() * total[-1], side="right"))


def _solved(products: Array, with_y: Array) -> tuple[Array, Array]:
    """R⁻¹ of R Rᵀ = 1 + zᵀz, the precision of heights with unit s, and R⁻¹ zᵀy; also of stacks."""
    root = np.linalg.cholesky(products + np.eye(products.shape[-1]))
    whiten: Array = np.linalg.inv(root)
    return whiten, (whiten @ with_y[..., None])[..., 0]


def _misfit(square: Array, half: Array) -> Array:
    """What active atoms leave of y²."""
    left: Array = np.maximum(square - np.square(half).sum(-1), TINY)
    return left


def _spline(x: Array, at: Array) -> Array:
    """(at, x): takes values at x to a cubic spline's elsewhere."""
    from scipy.interpolate import CubicSpline

    out: Array = CubicSpline(x, np.eye(len(x)))(at)
    return out
