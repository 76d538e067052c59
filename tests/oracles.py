"""Closed forms, and slow independent computations, that tests compare with.

Here: Gaussian posteriors under the samplers *as discretised*, their autocorrelation and errors;
covariances of quadratic losses; monomial losses at finite nβ and γ; learning coefficients of linear
networks by enumeration. Nothing here imports the package.
Symbols: h eigenvalue of the Hessian, a = nβh + γ posterior precision, P = nβH + γI, ε step size,
v stationary variance of one weight, λ learning coefficient, d weights, N samples, n draws.
Conventions: SGLD is w' = w − ε/2 ∇U + √ε ξ; BAOAB has mass 1, step h and friction ζ. Arrays are
float64: a Hessian or covariance (d, d), eigenvalues (d,), gradients (N, d), curvatures (N, d, d).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Moments(NamedTuple):
    """Mean and variance of a loss over the posterior, measured from L(w*)."""

    mean: float
    variance: float

    @property
    def mean_square(self) -> float:
        """E[(L(w) − L(w*))²]."""
        return self.variance + self.mean**2


# -- the posterior of a quadratic loss, exact --------------------------------------------------


def precision(hessian: ArrayLike, nbeta: float, localization: float) -> Array:
    """P = nβH + γI, (d, d)."""
    h = np.asarray(hessian, dtype=np.float64)
    return nbeta * h + localization * np.eye(len(h))


def llc_quadratic(eigenvalues: ArrayLike, nbeta: float, localization: float) -> float:
    """nβ E[L − L*] = ½ Σ h/(h + γ/nβ): λ̂ of an exact sampler at finite γ."""
    h = np.asarray(eigenvalues, dtype=np.float64)
    return float((nbeta * h / (nbeta * h + localization)).sum() / 2)


def quadratic_moments(hessian: ArrayLike, covariance: ArrayLike) -> Moments:
    """E and Var of ½ δᵀHδ for δ ~ N(0, Σ): ½ tr(HΣ) and ½ tr(HΣHΣ)."""
    product = np.asarray(hessian) @ np.asarray(covariance)
    return Moments(float(np.trace(product) / 2), float(np.trace(product @ product) / 2))


def loss_means(curvatures: ArrayLike, covariance: ArrayLike) -> Array:
    """E[ℓ_i(w) − ℓ_i(w*)] = ½ tr(A_iΣ) for δ ~ N(0, Σ), (N,)."""
    return np.einsum("iab,ba->i", np.asarray(curvatures), np.asarray(covariance)) / 2


def loss_covariance(gradients: ArrayLike, curvatures: ArrayLike, covariance: ArrayLike) -> Array:
    """Cov(ℓ_i, ℓ_j) = g_iᵀΣg_j + ½ tr(A_iΣA_jΣ) for δ ~ N(0, Σ), (N, N).

    Truth for Bayesian influence, loss kernel and (through rows' means) susceptibilities.
    """
    g, sigma = np.asarray(gradients), np.asarray(covariance)
    spread = np.asarray(curvatures) @ sigma
    return g @ sigma @ g.T + np.einsum("iab,jba->ij", spread, spread) / 2


def reweighted_loss_means(
    gradients: ArrayLike,
    curvatures: ArrayLike,
    weights: ArrayLike,
    nbeta: float,
    localization: float,
) -> Array:
    """E[ℓ_i(w) − ℓ_i(w*)], (N,), when the posterior's loss is the mean of ρ_i ℓ_i, exact in ρ.

    The posterior is N(μ, P⁻¹) with P = nβ mean(ρA) + γI and μ = −nβ P⁻¹ mean(ρg). The derivative
    in ρ_j at ρ = 1 is −(nβ/N) Cov(ℓ_i, ℓ_j).
    """
    g, a, rho = np.asarray(gradients), np.asarray(curvatures), np.asarray(weights)
    p = precision(np.einsum("i,iab->ab", rho, a) / len(rho), nbeta, localization)
    covariance = np.linalg.inv(p)
    mean = -nbeta * covariance @ (rho @ g) / len(rho)
    return g @ mean + np.einsum("iab,a,b->i", a, mean, mean) / 2 + loss_means(a, covariance)


# -- SGLD as discretised -----------------------------------------------------------------------


def sgld_variance(a: ArrayLike, step_size: float, gradient_variance: ArrayLike = 0.0) -> Array:
    """Stationary variance (1 + ε s²/4)/(a(1 − εa/4)) of one weight under SGLD.

    Args:
        a: posterior precision, per weight; stable below 4/ε.
        step_size: ε.
        gradient_variance: s², variance of the noise in nβ times the minibatch gradient, independent
            of w (equal curvatures) and between steps.
    """
    a = np.asarray(a, dtype=np.float64)
    if np.any(step_size * a >= 4):
        raise ValueError(f"SGLD is unstable: εa = {step_size * a.max():.3g}, the limit is 4.")
    return (1 + step_size * np.asarray(gradient_variance) / 4) / (a * (1 - step_size * a / 4))


def sgld_covariance(p: ArrayLike, step_size: float, metric: ArrayLike | None = None) -> Array:
    """Stationary covariance of SGLD, or of SGLD with a frozen diagonal metric, (d, d).

    With metric G the step is w' = w − (ε/2) G∇U + √(εG) ξ (drift *and* tether scaled), as in
    RMSProp-SGLD once v̂ is frozen: G = 1/(√v̂ + s). In u = G^{−½}w it is plain SGLD with precision
    P̃ = G^½PG^½, so Σ = G^½ [P̃(1 − εP̃/4)]⁻¹ G^½.
    """
    p = np.asarray(p, dtype=np.float64)
    root = np.sqrt(np.ones(len(p)) if metric is None else np.asarray(metric, dtype=np.float64))
    values, basis = np.linalg.eigh(root[:, None] * p * root)
    sigma = (basis * sgld_variance(values, step_size)) @ basis.T
    return root[:, None] * sigma * root


def llc_quadratic_sgld(
    eigenvalues: ArrayLike,
    nbeta: float,
    localization: float,
    step_size: float,
    gradient_variance: ArrayLike = 0.0,
) -> float:
    """λ̂ = Σ nβh/(2a(1 − εa/4)): what SGLD converges to at a finite step size.

    `gradient_variance` is s² of `sgld_variance`, per eigendirection.
    """
    h = np.asarray(eigenvalues, dtype=np.float64)
    variance = sgld_variance(nbeta * h + localization, step_size, gradient_variance)
    return float((nbeta * h * variance).sum() / 2)


def sgld_virial(a: ArrayLike, step_size: float) -> float:
    """E[(w − w*)·∇U]/d = mean of 1/(1 − εa/4): above 1 by what the step size heats."""
    a = np.asarray(a, dtype=np.float64)
    return float((a * sgld_variance(a, step_size)).mean())


def sgld_minibatch_covariance(
    gradients: ArrayLike,
    curvatures: ArrayLike,
    *,
    nbeta: float,
    localization: float,
    step_size: float,
    batch_size: int,
    replacement: bool,
) -> Array:
    """Stationary covariance of SGLD with minibatches drawn afresh at every step, (d, d).

    The step is δ' = (I − ε/2 (nβA_B + γI)) δ − ε/2 nβ g_B + √ε ξ with A_B, g_B the means over the
    batch. For centred g the mean stays at 0 and Σ solves a linear equation: with K = I − ε/2 P and
    f the variance of a batch mean over that of one sample (1/m, times (N − m)/(N − 1) without
    replacement), Σ = KΣK + (ε nβ/2)² f [Cov(A ⊗ A)Σ + Cov(g)] + εI. Correlation of A_i with g_i
    does not enter, since E[δ] = 0.
    """
    g, curvature = np.asarray(gradients), np.asarray(curvatures)
    num_samples, d = g.shape
    f = 1 / batch_size
    if not replacement:
        f *= (num_samples - batch_size) / (num_samples - 1)
    hessian = curvature.mean(0)
    kept = np.eye(d) - step_size / 2 * precision(hessian, nbeta, localization)
    deviation = curvature - hessian
    noise = f * (step_size * nbeta / 2) ** 2
    multiplied = np.einsum("iab,icd->acbd", deviation, deviation).reshape(d * d, d * d)
    operator = np.kron(kept, kept) + noise * multiplied / num_samples
    added = step_size * np.eye(d) + noise * g.T @ g / num_samples
    return np.linalg.solve(np.eye(d * d) - operator, added.ravel()).reshape(d, d)


# -- autocorrelation, effective sample size, standard error ------------------------------------


def sgld_autocorrelation(a: ArrayLike, step_size: float, steps_per_draw: int = 1) -> Array:
    """ρ = (1 − εa/2)^{steps per draw}, the lag-one autocorrelation of a weight between draws."""
    return (1 - step_size * np.asarray(a, dtype=np.float64) / 2) ** steps_per_draw


def square_autocorrelation_time(rho: ArrayLike) -> Array:
    """τ(w²) = (1 + ρ²)/(1 − ρ²) for a Gaussian AR(1) chain: its square has correlation ρ^{2t}."""
    square = np.asarray(rho, dtype=np.float64) ** 2
    return (1 + square) / (1 - square)


def mean_of_squares_factor(rho: ArrayLike, num_draws: int) -> Array:
    """n Var(mean of w²)/Var(w²) over n stationary draws of an AR(1) chain, exact at finite n.

    1 + 2 Σ_{t<n} (1 − t/n) q^t with q = ρ², summed: (1 + q)/(1 − q) − 2q(1 − qⁿ)/(n(1 − q)²).
    """
    q = np.asarray(rho, dtype=np.float64) ** 2
    return (1 + q) / (1 - q) - 2 * q * (1 - q**num_draws) / (num_draws * (1 - q) ** 2)


def quadratic_loss_mcse(
    eigenvalues: ArrayLike, variance: ArrayLike, rho: ArrayLike, num_draws: int
) -> float:
    """Standard error of the mean of ½ Σ h w² over n stationary draws of independent AR(1) weights.

    Args:
        eigenvalues: h, (d,).
        variance: stationary variance v of each weight, (d,).
        rho: lag-one autocorrelation of each weight between draws, (d,).
        num_draws: n, of one chain; over C chains divide by √C.
    """
    h, v = np.asarray(eigenvalues), np.asarray(variance)
    each = (h * v) ** 2 / 2  # Var(½ h w²)
    return float(np.sqrt((each * mean_of_squares_factor(rho, num_draws)).sum() / num_draws))


def quadratic_loss_ess(
    eigenvalues: ArrayLike, variance: ArrayLike, rho: ArrayLike, num_draws: int
) -> float:
    """Effective number of draws for that mean: Var(L) over the square of its standard error."""
    h, v = np.asarray(eigenvalues), np.asarray(variance)
    total = ((h * v) ** 2).sum() / 2
    return float(total / quadratic_loss_mcse(h, v, rho, num_draws) ** 2)


# -- BAOAB -------------------------------------------------------------------------------------


def baoab_step(a: float, step: float, friction: float) -> tuple[Array, Array]:
    """One BAOAB step on the potential ½ a w²: (w, p)' = M (w, p) + N(0, Q); returns M, Q."""
    kick = np.array([[1.0, 0.0], [-step * a / 2, 1.0]])
    drift = np.array([[1.0, step / 2], [0.0, 1.0]])
    c = math.exp(-friction * step)
    damp = np.diag([1.0, c])
    after = kick @ drift
    return after @ damp @ drift @ kick, after @ np.diag([0.0, 1 - c**2]) @ after.T


def baoab_moments(a: ArrayLike, step: float) -> tuple[Array, Array]:
    """Stationary variances of position and of momentum at the end of a BAOAB step: 1/a, 1 − h²a/4.

    Whatever the friction. The position is exact: after B and A, (w', p') are independent with p'
    standard normal, which O leaves alone, and the second half mirrors the first. Stable for
    h√a < 2. Between the two A's the momentum has variance 1 exactly.
    """
    a = np.asarray(a, dtype=np.float64)
    if np.any(step * np.sqrt(a) >= 2):
        raise ValueError(f"BAOAB is unstable: h√a = {step * math.sqrt(a.max()):.3g}, the limit 2.")
    return 1 / a, 1 - step**2 * a / 4


def baoab_temperature(a: ArrayLike, step: float) -> float:
    """E‖p‖²/d at the ends of steps: 1 − h² mean(a)/4."""
    return float(baoab_moments(a, step)[1].mean())


def baoab_autocorrelation(a: float, step: float, friction: float, num_lags: int) -> Array:
    """Autocorrelation of the position at lags 0…num_lags − 1 steps; that of w² is its square."""
    matrix, _ = baoab_step(a, step, friction)
    power, values = np.eye(2), np.empty(num_lags)
    for lag in range(num_lags):
        values[lag] = power[0, 0]  # position and momentum are uncorrelated at a step's end
        power = matrix @ power
    return values


def badodab_variance(
    a: ArrayLike, step: float, injected: float, gradient_variance: float
) -> tuple[Array, float]:
    """Variances of the positions, and the friction ζ, of BADODAB with a very heavy thermostat.

    Then ζ rests where ‖p‖² before and after O are 2d on average. At a given ζ the moves are linear:
    the kick −h(a w + s ξ), half a drift, p ← c p + √(A(1 − c²)/ζ) ξ, half a drift.

    Args:
        a: posterior precisions, (d,).
        step: h.
        injected: A.
        gradient_variance: s², of the noise in nβ times the minibatch gradient of each weight.
    """
    precisions = np.asarray(a, dtype=np.float64)
    drift = np.array([[1.0, step / 2], [0.0, 1.0]])
    heat = np.diag([0.0, step**2 * gradient_variance])

    def at(friction: float) -> tuple[Array, float]:
        c = math.exp(-friction * step)
        damp, noise = np.diag([1.0, c]), np.diag([0.0, injected * (1 - c**2) / friction])
        variances, hot = np.empty(len(precisions)), 0.0
        for i, precision in enumerate(precisions):
            kick = np.array([[1.0, 0.0], [-step * precision, 1.0]])
            rest = drift @ damp @ drift
            added = rest @ heat @ rest.T + drift @ noise @ drift.T
            moved = rest @ kick
            sigma = np.linalg.solve(np.eye(4) - np.kron(moved, moved), added.ravel()).reshape(2, 2)
            variances[i] = sigma[0, 0]
            hot += (kick @ sigma @ kick.T + heat)[1, 1] + sigma[1, 1]
        return variances, hot / (2 * len(precisions)) - 1

    low, high = 1e-3 * injected, injected + 4 * step * gradient_variance
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle)[1] > 0 else (low, middle)
    return at(low)[0], low


# -- monomial losses at finite nβ and γ ----------------------------------------------------------


def normal_crossing_moments(exponents: Sequence[int], nbeta: float, localization: float) -> Moments:
    """Mean and variance of nβ Π w_i^{2k_i} under exp{−nβ Π w_i^{2k_i} − (γ/2)‖w‖²}.

    One or two weights, nβ and γ > 0. By symmetry w > 0; with w = e^u the integrand is analytic and
    falls off on both sides, so the trapezoidal rule on a grid in u converges exponentially.
    As nβ → ∞ both tend to λ = 1/(2 max k), slowly where the multiplicity is above one.
    """
    if not 1 <= len(exponents) <= 2 or min(nbeta, localization) <= 0:
        raise ValueError("one or two exponents, and nbeta and localization above 0, are needed.")
    top = 0.5 * math.log(2 * 60 / localization)  # the tether is e^{−60} there
    axes = []
    for k in exponents:
        others = 2 * (sum(exponents) - k) * top  # log of the other factor at its largest
        narrow = min(top, -(math.log(nbeta) + others) / (2 * k))
        axes.append(np.arange(narrow - 36, top, 0.04))  # e^{−36} of the narrowest is left out
    grids = np.meshgrid(*axes, indexing="ij")
    potential = nbeta * np.exp(sum(2 * k * x for k, x in zip(exponents, grids, strict=True)))
    tether = localization / 2 * sum(np.exp(2 * x) for x in grids)
    weight = np.exp(sum(grids) - len(exponents) * top - potential - tether)
    weight /= weight.sum()
    mean = float((weight * potential).sum())
    return Moments(mean, float((weight * (potential - mean) ** 2).sum()))


# -- learning coefficients of linear networks ----------------------------------------------------


def reduced_rank_llc(inputs: int, hidden: int, outputs: int, rank: int = 0) -> float:
    """λ of reduced-rank regression m→h→n with a true map of rank r, from the four closed forms.

    The rank splits off r(m + n − r)/2 and leaves widths m − r, h − r, n − r with zero truth.
    """
    m, h, n = inputs - rank, hidden - rank, outputs - rank
    regular = Fraction(rank * (inputs + outputs - rank), 2)
    if m + h < n:
        singular = Fraction(m * h, 2)
    elif n + h < m:
        singular = Fraction(h * n, 2)
    elif m + n < h:
        singular = Fraction(m * n, 2)
    else:
        even = 2 * m * n + 2 * h * n + 2 * m * h - n * n - m * m - h * h
        singular = Fraction(even + (m + h + n) % 2, 8)
    return float(regular + singular)


def deep_linear_llc_by_subsets(widths: Sequence[int], rank: int) -> list[tuple[float, int]]:
    """Aoyagi's (λ, m) for *every* subset S of the layers that meets her three conditions.

    They are meant to single out one value: a list of equal entries says that they do.
    """
    excess = [width - rank for width in widths]
    found = []
    for size in range(2, len(widths) + 1):
        for inside in combinations(range(len(widths)), size):
            chosen = [excess[i] for i in inside]
            rest = [excess[i] for i in range(len(widths)) if i not in inside]
            ell, total = size - 1, sum(chosen)
            least = min(rest, default=math.inf)
            if not (max(chosen) < least and total >= ell * max(chosen) and total < ell * least):
                continue
            mean = Fraction(total, ell)
            a = total - (math.ceil(mean) - 1) * ell
            squares = sum(x * x for x in chosen)
            llc = (
                Fraction(-(rank**2) + rank * (widths[0] + widths[-1]), 2)
                + Fraction(a * (ell - a), 4 * ell)
                - Fraction(ell * (ell - 1), 4) * mean**2
                + Fraction(total**2 - squares, 4)
            )
            found.append((float(llc), a * (ell - a) + 1))
    return found


def deep_linear_llc_by_orbits(widths: Sequence[int], rank: int) -> float:
    """λ as half the codimension of the factorisations of a rank-r map, by enumerating all of them.

    A chain of matrices splits into intervals [i, j], one-dimensional spaces that live from layer i
    to layer j; its orbit under changes of basis is fixed by how many of each there are, and has
    codimension Σ Ext¹(I, J) over ordered pairs of intervals (Voigt), where Ext¹([a, b], [c, d]) is
    1 if a < c ≤ b + 1 ≤ d and else 0. The product has rank r when r intervals span all the layers.
    The smallest codimension, plus that of the rank-r maps' own fibre, r(H_0 + H_L − r), is 2λ.
    Source: arXiv:2411.19920 (λ = C/2); independent of Aoyagi's formula. For small widths only.
    """
    last = len(widths) - 1
    intervals = [(i, j) for i in range(last + 1) for j in range(i, last + 1) if (i, j) != (0, last)]
    codimension = min(
        sum(
            x * y
            for (a, b), x in counts.items()
            for (c, d), y in counts.items()
            if a < c <= b + 1 <= d
        )
        for counts in _interval_counts([width - rank for width in widths], intervals)
    )
    return (codimension + rank * (widths[0] + widths[-1] - rank)) / 2


def _interval_counts(
    dimensions: list[int], intervals: list[tuple[int, int]]
) -> Iterator[dict[tuple[int, int], int]]:
    """All ways of covering layer i by exactly dimensions[i] of the intervals."""
    if not intervals:
        if not any(dimensions):
            yield {}
        return
    (i, j), *others = intervals
    for count in range(min(dimensions[i : j + 1]) + 1):
        left = [x - count * (i <= layer <= j) for layer, x in enumerate(dimensions)]
        if any(left[layer] for layer in range(i)):
            continue  # the intervals come in order of their start: layers before i are closed
        for counts in _interval_counts(left, others):
            yield {(i, j): count, **counts} if count else counts
