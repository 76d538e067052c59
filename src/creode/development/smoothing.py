"""Smoothing readings along log step by a Gaussian process that respects their errors.

    y_i ~ N(f(x_i), σ_i² + τ²),   f(x) = a + b x + g(x),   g ~ GP(0, k),

with σ_i the readings' standard errors, τ² a variance that they may have besides, and a wide prior
on the line. The kernel family, its amplitude and length scale, and τ², are those of the highest
marginal likelihood. One length scale serves a whole trajectory: where it has both jumps and
plateaus, use stages(), which looks for jumps.

Here: the fit; f and its rate df/dx with standard errors, and joint draws of both.
Not here: boundaries (stages.py).
Symbols: x = log(step + offset); ℓ length scale.
Source: Rasmussen and Williams 2006, eq. 2.22-2.30, 4.9, 4.17, and section 9.4 (derivatives).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.development.log_step import LogStep
from creode.development.series import trajectory
from creode.version import __version__

Array = NDArray[np.float64]
Kernel = Literal["squared exponential", "matern 5/2", "matern 3/2"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)

LINE = 10.0  # prior standard deviation of the line, in ranges of the readings
STARTS = (0.05, 0.15, 0.5)  # length scales to start from, as shares of the trajectory


@dataclass(frozen=True, kw_only=True)
class Smooth:
    """A fitted process: asks for f and its rate at any steps."""

    kernel: Kernel
    amplitude: float  # of g, in units of the readings
    length_scale: float  # ℓ, in log step
    extra_noise: float  # τ, in units of the readings
    log_evidence: float  # log marginal likelihood
    offset: float  # added to steps before the logarithm
    left_out: int  # readings that were not used
    _x: Array
    _root: Array  # of the covariance of the readings
    _white: Array  # root⁻¹ (y − centre)
    _centre: float
    _middle: float
    _line: float

    def posterior(self, steps: ArrayLike) -> xr.Dataset:
        """value, value_se and, per unit of log step, rate, rate_se, over step."""
        mean, covariance = self._joint(steps)
        error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        n = len(mean) // 2
        return self._labelled(
            steps, value=mean[:n], value_se=error[:n], rate=mean[n:], rate_se=error[n:]
        )

    def draws(self, steps: ArrayLike, *, num: int, seed: int) -> xr.Dataset:
        """value and rate (sample, step), drawn jointly."""
        mean, covariance = self._joint(steps)
        w, v = np.linalg.eigh(covariance)
        noise = np.random.default_rng(seed).standard_normal((num, len(mean)))
        drawn = mean + noise * np.sqrt(np.maximum(w, 0.0)) @ v.T
        n = len(mean) // 2
        return self._labelled(steps, value=drawn[:, :n], rate=drawn[:, n:])

    def _joint(self, steps: ArrayLike) -> tuple[Array, Array]:
        from scipy.linalg import solve_triangular

        at = LogStep(self.offset).x(np.atleast_1d(np.asarray(steps, np.float64)))
        half = solve_triangular(
            self._root, self._covariance(self._x, at)[: len(self._x)], lower=True
        )
        mean = half.T @ self._white
        mean[: len(at)] += self._centre
        return mean, self._covariance(at, at) - half.T @ half

    def _covariance(self, a: Array, b: Array) -> Array:
        """Of (f, df/dx) at a with (f, df/dx) at b."""
        parts = [
            [p * self.amplitude**2 for p in row]
            for row in _kernel(self.kernel, a, b, self.length_scale)
        ]
        da, db = a[:, None] - self._middle, b[None, :] - self._middle
        one = np.ones((len(a), len(b)))
        line = [[one + da * db, da * one], [db * one, one]]
        out: Array = np.block(
            [
                [g + self._line**2 * part for g, part in zip(*rows, strict=True)]
                for rows in zip(parts, line, strict=True)
            ]
        )
        return out

    def _labelled(self, steps: ArrayLike, **values: Array) -> xr.Dataset:
        return xr.Dataset(
            {n: (("sample", "step") if v.ndim > 1 else ("step",), v) for n, v in values.items()},
            {"step": np.atleast_1d(np.asarray(steps, np.float64))},
            {
                "kernel": self.kernel,
                "length_scale": self.length_scale,
                "extra_noise": self.extra_noise,
                "offset": self.offset,
                "creode_version": __version__,
            },
        )


def smooth(
    readings: xr.Dataset,
    variable: str = "llc",
    *,
    kernels: tuple[Kernel, ...] = KERNELS,
    extra_noise: bool = True,
    offset: float | None = None,
) -> Smooth:
    """The process of the highest marginal likelihood for a reading along checkpoints.

    Args:
        readings: `variable` (checkpoint) and its error `variable`_se.
        variable: the reading.
        kernels: families to choose from.
        extra_noise: whether to fit τ² besides the readings' errors.
        offset: of log(step + offset); None: 0, or the first step after 0 if step 0 was read.

    Raises:
        ValueError: no such variable, too few readings, or an unknown kernel.
    """
    unknown = set(kernels) - set(KERNELS)
    if unknown or not kernels:
        raise ValueError(f"kernels must be some of {KERNELS}, got {kernels}.")
    found = trajectory(readings, variable)
    log_step = LogStep.of(found.step, offset)
    x, centre = log_step.x(found.step), float(found.value.mean())
    extent = max(float(np.ptp(found.value)), float(found.error.max()))
    line = LINE * extent / float(np.ptp(x))
    fits = [
        _fitted(kernel, x, found.value - centre, found.error, line, extent, extra_noise)
        for kernel in kernels
    ]
    evidence, kernel, (amplitude, length_scale, tau), root, white = max(fits, key=lambda f: f[0])
    return Smooth(
        kernel=kernel,
        amplitude=amplitude,
        length_scale=length_scale,
        extra_noise=tau,
        log_evidence=evidence,
        offset=log_step.offset,
        left_out=found.left_out,
        _x=x,
        _root=root,
        _white=white,
        _centre=centre,
        _middle=float(x.mean()),
        _line=line,
    )


_Fit = tuple[float, Kernel, tuple[float, float, float], Array, Array]


def _fitted(
    kernel: Kernel, x: Array, y: Array, error: Array, line: float, extent: float, extra: bool
) -> _Fit:
    from scipy.linalg import cholesky, solve_triangular
    from scipy.optimize import minimize

    away = x - x.mean()
    base = line**2 * (1 + np.outer(away, away)) + np.diag(error**2)
    span = float(np.ptp(x))

    def solved(theta: Array) -> tuple[float, Array, Array]:
        amplitude, scale = np.exp(theta[:2])
        tau_sq = np.exp(2 * theta[2]) if extra else 0.0
        covariance = base + amplitude**2 * _kernel(kernel, x, x, scale)[0][0]
        root = cholesky(covariance + tau_sq * np.eye(len(x)), lower=True)
        white = solve_triangular(root, y, lower=True)
        evidence = -0.5 * white @ white - np.log(np.diag(root)).sum()
        return float(evidence) - 0.5 * len(x) * float(np.log(2 * np.pi)), root, white

    noise = float(np.median(error))
    bounds = [
        (np.log(1e-3 * extent), np.log(10 * extent)),
        (np.log(0.5 * float(np.diff(x).min())), np.log(3 * span)),
        (np.log(1e-2 * noise), np.log(extent)) if extra else (0.0, 0.0),
    ]
    best = max(
        (
            minimize(
                lambda theta: -solved(theta)[0],
                np.clip(
                    [
                        np.log(extent / 2),
                        np.log(share * span),
                        np.log(0.1 * noise) if extra else 0.0,
                    ],
                    *np.transpose(bounds),
                ),
                bounds=bounds,
                method="L-BFGS-B",
            )
            for share in STARTS
        ),
        key=lambda found: -found.fun,
    )
    amplitude, scale, tau = np.exp(best.x)
    evidence, root, white = solved(best.x)
    return (
        evidence,
        kernel,
        (float(amplitude), float(scale), float(tau) if extra else 0.0),
        root,
        white,
    )


def _kernel(kernel: Kernel, a: Array, b: Array, scale: float) -> list[list[Array]]:
    """[[k, ∂k/∂b], [∂k/∂a, ∂²k/∂a∂b]] of unit amplitude, each (A, B)."""
    r = (a[:, None] - b[None, :]) / scale
    if kernel == "squared exponential":
        k = np.exp(-0.5 * r**2)
        slope, bend = r * k, (1 - r**2) * k
    elif kernel == "matern 5/2":
        d = 5**0.5 * np.abs(r)
        decay = np.exp(-d)
        k = (1 + d + d**2 / 3) * decay
        slope, bend = 5 / 3 * r * (1 + d) * decay, 5 / 3 * (1 + d - d**2) * decay
    else:
        d = 3**0.5 * np.abs(r)
        decay = np.exp(-d)
        k = (1 + d) * decay
        slope, bend = 3 * r * decay, 3 * (1 - d) * decay
    return [[k, slope / scale], [-slope / scale, bend / scale**2]]
