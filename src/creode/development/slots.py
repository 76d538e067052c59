"""Which atoms a developmental curve has: Gibbs sampling over slots, filled or empty.

Given the others, an atom has its weight at every place, length and shape at once, with the trend,
the heights h and s² integrated out in closed form; so moves are exact draws, none is rejected, and
many places cost what the prior says (Occam's factor). Heights are in units of their prior standard
deviation. Those of steps are independent, or correlated in trajectories that go one way.

How readily slots fill and empty tells the evidence of K + 1 atoms against that of K (bridge.py),
and so of all curves against those without atoms, whose evidence is known.

Here: the sampler of one chain.
Not here: what atoms and trends there are (atoms.py, background.py).
Source: Bayesian variable selection (George and McCulloch 1997).
Dimensions: N readings, A atoms, K of them in a curve.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from creode.development.atoms import KINK, Atoms
from creode.development.background import Background
from creode.development.curve_prior import Prior

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
TINY = 1e-12  # least misfit that is left


class Slots:
    """Slots for atoms, filled or empty, and a background."""

    def __init__(
        self,
        backgrounds: list[Background],
        words: Atoms,
        prior: Prior,
        num_readings: int,
        rng: np.random.Generator,
    ) -> None:
        self._all, self._words, self._prior, self._rng = backgrounds, words, prior, rng
        self._power = (prior.trust + num_readings) / 2
        self._slots = np.full(prior.most, -1)
        self._now, self._alike = backgrounds[0], 0.0
        none = list[float]()
        self.odds = [(none.copy(), none.copy()) for _ in range(prior.most)]  # log, of K + 1 to K
        self._rows: dict[int, Array] = {}  # (A,) products of an active atom with all
        self._is_step = words.shape != KINK
        self._steps, self._kinks = np.flatnonzero(self._is_step), np.flatnonzero(~self._is_step)
        self._atoms = np.stack([b.atoms for b in backgrounds])
        self._products = np.stack([b.products for b in backgrounds])
        self._squares = np.array([b.y @ b.y for b in backgrounds])
        self._ways = np.array([0.0, prior.alike])
        ways = np.log([1 - prior.one_way, prior.one_way])
        log_prior = np.array([b.log_prior - b.log_det for b in backgrounds])
        self._log_prior = log_prior[:, None] + ways

    @property
    def active(self) -> Indices:
        """(K,) the atoms that the curve has."""
        found: Indices = self._slots[self._slots >= 0]
        return found

    def sweep(self, favour: Array | None = None) -> None:
        """Half of the slots, then background and correlation, from their full conditionals.

        Args:
            favour: (most + 1,), added to the log probability of K atoms; None: nothing.
        """
        for slot in self._rng.permutation(len(self._slots))[: (len(self._slots) + 1) // 2]:
            filled = bool(self._slots[slot] >= 0)
            self._slots[slot] = -1
            number = len(self.active)
            log_p = self._log_p()
            top = float(log_p[:-1].max())
            some = float(np.log(np.exp(log_p[:-1] - top).sum())) + top
            self.odds[number][filled].append(some - float(log_p[-1]))
            if favour is not None:
                log_p[:-1] += favour[number + 1] - favour[number]
            chosen = self._categorical(log_p)
            self._slots[slot] = -1 if chosen == len(log_p) - 1 else chosen
        self._background()

    def without_atoms(self) -> float:
        """Leaves no atoms and draws the background; log p(y | no atoms), but for a constant."""
        self._slots[:] = -1
        log_p = self._background()
        return float(np.logaddexp.reduce(log_p, axis=None))

    def _background(self) -> Array:
        """Draws background and correlation; their log weights."""
        log_p = self._log_prior + self._log_evidence()
        if not len(self.active):
            log_p[0] += np.log(self._prior.nothing)
        chosen, way = divmod(self._categorical(log_p.ravel()), len(self._ways))
        self._alike = float(self._ways[way])
        if self._all[chosen] is not self._now:
            self._now, self._rows = self._all[chosen], {}
        return log_p

    def draw_curve(self) -> tuple[Array, Array, float]:
        """The smooth part on the coarse grid, heights of the active atoms, and s."""
        now, rng, active = self._now, self._rng, self.active
        z = now.atoms[:, active]
        precision = _precision(self._is_step[active], self._alike)
        whiten, half = _solved(z.T @ z + precision, now.products[active])
        left = self._prior.trust + _misfit(now.y @ now.y, half)
        s = np.sqrt(left / rng.chisquare(2 * self._power))
        heights = whiten.T @ (half + s * rng.standard_normal(len(half)))
        noise = rng.standard_normal(len(now.root))
        return now.to_grid @ (now.y - z @ heights) + s * now.root @ noise, heights, float(s)

    def _log_p(self) -> Array:
        """(A + 1,): log weight of each atom for an empty slot given the others, and of none."""
        now, prior, others = self._now, self._prior, self.active
        rows = np.stack([self._row(k) for k in others]) if len(others) else now.atoms[:0]
        square, products = now.y @ now.y, now.products[others]
        log_p = np.empty(len(self._is_step) + 1)
        for these, step in ((self._steps, True), (self._kinks, False)):
            joint = _precision(np.append(self._is_step[others], step), self._alike)
            whiten, mean = _solved(rows[:, others] + joint[:-1, :-1], products)
            half = whiten @ (rows[:, these] + joint[:-1, -1:])
            norms = now.norms[these] + joint[-1, -1] - np.einsum("ka,ka->a", half, half)
            left = (now.products[these] - mean @ half) ** 2 / norms
            left = np.maximum(_misfit(square, mean) - left, TINY)
            log_p[these] = (
                _half_log_det(joint)
                + np.log(np.diag(whiten)).sum()
                - 0.5 * np.log(norms)
                - self._power * np.log(prior.trust + left)
            )
        alone = _precision(self._is_step[others], self._alike)
        whiten, mean = _solved(rows[:, others] + alone, products)
        log_p[-1] = _half_log_det(alone) + np.log(np.diag(whiten)).sum()
        log_p[-1] -= self._power * np.log(prior.trust + _misfit(square, mean))
        if not len(others) and now is self._all[0]:
            log_p[-1] += np.log(prior.nothing)
        odds = prior.another * (len(others) + 1) / (prior.most - len(others))
        log_p[:-1] += self._words.log_prior + np.log(odds)
        return log_p

    def _row(self, atom: int) -> Array:
        if atom not in self._rows:
            self._rows[atom] = self._now.atoms[:, atom] @ self._now.atoms
        return self._rows[atom]

    def _log_evidence(self) -> Array:
        """Of every background and correlation given the atoms, but for the former's determinant."""
        active = self.active
        z = self._atoms[:, :, active]
        prior = np.stack([_precision(self._is_step[active], rho) for rho in self._ways])
        precision = (z.transpose(0, 2, 1) @ z)[:, None] + prior
        whiten, half = _solved(precision, self._products[:, None, active])
        log_det = np.log(np.diagonal(whiten, axis1=-2, axis2=-1)).sum(-1)
        left = self._prior.trust + _misfit(self._squares[:, None], half)
        out: Array = _half_log_det(prior) + log_det - self._power * np.log(left)
        return out

    def _categorical(self, log_p: Array) -> int:
        total = np.cumsum(np.exp(log_p - log_p.max()))
        return int(np.searchsorted(total, self._rng.random() * total[-1], side="right"))


def _precision(is_step: NDArray[np.bool_], alike: float) -> Array:
    """(K, K): of the prior of heights over their standard deviations; steps are correlated."""
    steps = is_step.astype(np.float64)
    shared = alike / (1 - alike + alike * steps.sum())
    out: Array = np.eye(len(steps)) + steps[:, None] * steps * (
        (np.eye(len(steps)) - shared) / (1 - alike) - np.eye(len(steps))
    )
    return out


def _half_log_det(matrix: Array) -> Array:
    out: Array = 0.5 * np.linalg.slogdet(matrix)[1]
    return out


def _solved(precision: Array, products: Array) -> tuple[Array, Array]:
    """R⁻¹ of R Rᵀ = the precision of heights with unit s, and R⁻¹ zᵀy; also of stacks."""
    whiten: Array = np.linalg.inv(np.linalg.cholesky(precision))
    return whiten, (whiten @ products[..., None])[..., 0]


def _misfit(square: Array, half: Array) -> Array:
    """What active atoms leave of y²."""
    left: Array = np.maximum(square - np.square(half).sum(-1), TINY)
    return left
