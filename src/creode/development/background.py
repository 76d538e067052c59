"""The trend of a developmental curve: a constant, a line, or a line and a Gaussian process.

Here: which trends there are, readings and atoms whitened by one, its values given what is left.
Not here: which of them a curve has (slots.py).
Source: Rasmussen and Williams 2006, eq. 2.22-2.27.
Dimensions: N readings, A atoms, C places of a coarse grid.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from creode.development.curve_prior import Prior

Array = NDArray[np.float64]


class Background(NamedTuple):
    """A line and a process of one amplitude and length scale: readings whitened by it."""

    log_prior: float
    log_det: float
    y: Array  # (N,)
    atoms: Array  # (N, A)
    norms: Array  # (A,) |z|²
    products: Array  # (A,) z·y
    to_grid: Array  # (C, N) conditional mean on the coarse grid, of whitened residuals
    root: Array  # (C, C) conditional covariance's root


class Trend(NamedTuple):
    """A prior of trends."""

    probability: float
    slope: float  # standard deviation, per trajectory
    amplitude: float  # α
    scale: float  # length scale of g


def trends(prior: Prior) -> list[Trend]:
    """Constants, lines, and lines with a process of each amplitude and length scale."""
    number = len(prior.amplitudes) * len(prior.scales)
    straight = 1 - prior.flat - prior.smooth
    return [
        Trend(prior.flat, 0.0, 0.0, 1.0),
        Trend(straight, prior.line, 0.0, 1.0),
        *(
            Trend(prior.smooth / number, prior.line, alpha, scale)
            for alpha in prior.amplitudes
            for scale in prior.scales
        ),
    ]


def background(
    u: Array,
    y: Array,
    sigma: Array,
    atoms: Array,
    prior: Prior,
    trend: Trend,
    coarse: Array,
) -> Background:
    """Readings y (N,) and atoms (N, A) whitened by noise of standard errors sigma and a trend."""
    from scipy.linalg import cholesky, solve_triangular

    def kernel(a: Array, b: Array) -> Array:
        line = prior.line**2 + trend.slope**2 * np.outer(a - 0.5, b - 0.5)
        away = (a[:, None] - b) / trend.scale
        out: Array = line + trend.amplitude**2 * np.exp(-0.5 * away**2)
        return out

    root = cholesky(np.diag(sigma**2) + kernel(u, u), lower=True)
    z, white = (solve_triangular(root, a, lower=True) for a in (atoms, y))
    half = solve_triangular(root, kernel(u, coarse), lower=True)  # (N, C)
    left = kernel(coarse, coarse) - half.T @ half
    w, v = np.linalg.eigh(left)
    return Background(
        log_prior=float(np.log(trend.probability)),
        log_det=float(np.log(np.diag(root)).sum()),
        y=white,
        atoms=z,
        norms=np.square(z).sum(0),
        products=z.T @ white,
        to_grid=half.T,
        root=v * np.sqrt(np.maximum(w, 0.0)),
    )
