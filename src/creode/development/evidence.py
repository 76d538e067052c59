"""How strongly a series of readings speaks for a change, whenever one looks.

Readings y_1..y_n with standard errors e_i, in units of a typical error, under no change and under
a change of shape g at checkpoint τ (a step, or a ramp that goes on):

    H0: y ~ N(X b, σ² C)      H1: y ~ N(X b + g_τ a, σ² C),  a ~ N(0, κ² σ²)

X holds the level and, if asked for, powers of the log step: the drift that is no change. C holds
the squares of the errors, their autocorrelation, and a share q of wandering: a random walk whose
moves have variance q. The level, the drift and σ, the factor by which errors are mis-stated, are
unknown in both; with the right Haar prior on them, flat in b and log σ, the ratio of the two
marginal likelihoods is

    B_τ = (1 + κ² h·h)^{-1/2} (1 - κ² (h·r)² / ((1 + κ² h·h) r·r))^{-(n - p)/2},

r and h being y and g_τ whitened by C and freed of the p columns of X. Under H0, B_τ is a martingale
of mean 1 whatever b and σ are, so the sum over τ, shapes and sizes κ with prior weights w passes
1/α in at most a share α of runs, however long they go on (Ville). The least over q bounds that
rate for every amount of wandering looked at.

Here: that sum, and the fit of the change it points to.
Not here: which readings, when to begin, what a finding is called (alarm.py).
Source: test martingales by group invariance, arXiv:2208.07610; mixtures over change points as in
e-detectors, arXiv:2203.03532. Deviation: a change counts from `confirm` readings on; leaving terms
out of the sum only lowers the rate.
Dimensions: n readings, p columns of X, K candidates (τ, shape, κ).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import logsumexp

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is looked for, and what is no change."""

    reference: int  # readings before the first change point
    confirm: int = 2  # readings from the change point on
    drift: int = 1  # highest power of the log step that is no change; 0: none
    autocorrelation: float = 0.0  # between the errors of neighbouring checkpoints
    wander: tuple[float, ...] = (0.0, 0.1)  # variances of a random walk's moves, in errors²
    steps: tuple[float, ...] = (2.0, 8.0)  # κ of steps, in errors
    ramps: tuple[float, ...] = (0.5, 2.0)  # κ of ramps, in errors a checkpoint


class Finding(NamedTuple):
    """How strong the evidence is, and the change it points to."""

    log_evidence: float  # log of the mixture; at most log 1/α in all but α of runs without change
    first: int  # index of the first reading of the change, the likeliest
    low: int  # the same, 5 % and 95 % of its posterior
    high: int
    size: float  # how far the reading went since, in its own unit
    size_se: float
    level: float  # where it would be now without the change
    drift: float  # how far that has drifted since the reading before the change
    noise: float  # σ̂: by what factor the errors are mis-stated


def find_change(
    values: Sequence[float],
    errors: Sequence[float],
    steps: Sequence[int],
    places: Sequence[int],
    change: Change,
) -> Finding | None:
    """Evidence for a change in a series that is watched from its first reading on.

    Args:
        values: (n,) readings, in their own unit.
        errors: (n,) their standard errors as stated, > 0.
        steps: (n,) training steps.
        places: (n,) ascending numbers of the checkpoints, with gaps where readings are missing.
        change: what is looked for.
    Returns:
        None while there are too few readings for any change.
    """
    y, e = np.asarray(values, float), np.asarray(errors, float)
    n = len(y)
    earliest, latest = max(change.reference, change.drift + 2), n - change.confirm
    if latest < earliest:
        return None
    unit = float(np.median(e))
    place = np.asarray(places, float)
    X = _no_change(np.asarray(steps, float), change.drift)
    tau = np.arange(earliest, latest + 1)
    since = place[:, None] - place[tau] + 1.0
    G = np.concatenate([since > 0, since.clip(min=0)], axis=1)  # (n, 2 len(τ)): steps, then ramps
    order = np.arange(1, len(tau) + 1)
    weight = np.tile(-np.log(order * (order + 1.0)), 2)  # Σ_τ w_τ ≤ 1
    kappa = np.array([change.steps, change.ramps]).repeat(len(tau), axis=0).T  # (sizes, 2 len(τ))
    least: tuple[float, Array, _Fit] | None = None
    for q in change.wander:
        fit = _fit(y / unit, e / unit, X, G, _covariance(e / unit, place, change, q))
        terms = weight - np.log(2 * len(kappa)) + fit.log_ratio(kappa)
        total = float(logsumexp(terms))
        if least is None or total < least[0]:
            least = (total, terms, fit)
    assert least is not None
    total, terms, fit = least
    by_candidate = logsumexp(terms, axis=0)
    best = int(by_candidate.argmax())
    by_tau = logsumexp(by_candidate.reshape(2, -1), axis=0)
    cumulative = np.exp(by_tau - logsumexp(by_tau)).cumsum()
    size, se, noise = fit.size(best)
    last = float(G[-1, best]) * unit
    first = int(tau[best % len(tau)])
    level = X @ fit.no_change(best) * unit
    return Finding(
        log_evidence=total,
        first=first,
        low=int(tau[(cumulative < 0.05).sum()]),
        high=int(tau[(cumulative < 0.95).sum().clip(max=len(tau) - 1)]),
        size=size * last,
        size_se=se * last,
        level=float(level[-1]),
        drift=float(level[-1] - level[first - 1]),
        noise=noise,
    )


class _Fit(NamedTuple):
    """Whitened readings and shapes, freed of what is no change."""

    r: Array  # (n,)
    H: Array  # (n, K)
    dof: int  # n - p
    b: Array  # (p, 1 + K): least squares of X alone to the readings and to each shape

    def log_ratio(self, kappa: Array) -> Array:
        """log B for sizes κ (sizes, K)."""
        hh, hr, rr = (self.H**2).sum(0), self.r @ self.H, float(self.r @ self.r)
        if rr <= 1e-20 * len(self.r):  # readings that do not differ at all
            return np.zeros_like(kappa)
        kappa2 = kappa**2
        explained = kappa2 * hr**2 / ((1 + kappa2 * hh) * rr)
        log_ratio: Array = -0.5 * np.log1p(kappa2 * hh) - self.dof / 2 * np.log1p(-explained)
        return log_ratio

    def size(self, k: int) -> tuple[float, float, float]:
        """Least squares of shape k: its size, its error, and σ̂."""
        h = self.H[:, k]
        hh = float(h @ h)
        size = float(h @ self.r) / hh
        rest = self.r - size * h
        noise = float(np.sqrt(rest @ rest / (self.dof - 1)))
        return size, noise / hh**0.5, noise

    def no_change(self, k: int) -> Array:
        """b (p,) beside shape k."""
        beside: Array = self.b[:, 0] - self.size(k)[0] * self.b[:, 1 + k]
        return beside


def _no_change(steps: Array, drift: int) -> Array:
    """Level and powers of the log step, (n, 1 + drift)."""
    t = np.log1p(steps)
    t = (t - t.mean()) / (np.ptp(t) or 1.0)
    return np.stack([t**power for power in range(drift + 1)], axis=1)


def _covariance(e: Array, place: Array, change: Change, wander: float) -> Array:
    """C (n, n)."""
    gap = np.abs(place[:, None] - place)
    C = np.outer(e, e) * np.where(gap == 0, 1.0, change.autocorrelation**gap)
    walked = place - place[0]
    C += wander * np.minimum(walked[:, None], walked)
    return C


def _fit(y: Array, e: Array, X: Array, G: Array, C: Array) -> _Fit:
    L = cholesky(C, lower=True)
    whitened = solve_triangular(L, np.column_stack([X, y, G]), lower=True)
    p = X.shape[1]
    Q, R = np.linalg.qr(whitened[:, :p])
    along = Q.T @ whitened[:, p:]
    free = whitened[:, p:] - Q @ along
    b = solve_triangular(R, along)
    return _Fit(r=free[:, 0], H=free[:, 1:], dof=len(y) - p, b=b)
