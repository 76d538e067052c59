"""What a change of the data will do to observables, before anything is retrained.

The data move from q to (1 − h) q + h q', so L to L + hΔ with Δ = L_q' − L. Then

    ⟨φ⟩_h = ⟨φ⟩ + h d₁ + ½ h² d₂ + ⅙ h³ d₃ + …,   d_m = (−nβ)^m κ(φ, Δ, …, Δ),

κ the joint cumulant with m times Δ; d₁ = nβ χ(q'). The first order parts from the truth by a fifth
of the change where what follows it, over h d₁, reaches ¼ or −1/6. That h is told once from d₂ alone
and once with d₃, where d₃ is told from 0; the smaller is the estimate, both are its interval, with
their errors and what further orders may do (5/6 to 5/4 of h, a geometric series' share; 2/3 to 3/2
where d₃ is not known). Where the two differ by more than 2 the series is of no use at such h, and
the interval begins where no curvature has changed by more than ¼, at h nβ sd(Δ) = ¼/√2.

Here: the first orders, their errors, how far the first alone can be trusted.
Not here: χ of a mixture (response/mixture.py), which change to wish for (patterning/).
Source: linear response, arXiv:2504.18274; further orders are the cumulants of the same exponential
family. Assumed: retraining ends in the basin of w*, in its local posterior.
Noise of a minibatch in L leaves d₂ unbiased but for its own third moment.
Dimensions: C chains, D draws, R blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.diagnostics.excess import posterior_dataset, probe_dataset
from creode.diagnostics.trace import SAMPLE_DIMS
from creode.geometry import over_study
from creode.response.covariance import Blocks
from creode.response.factor import Factor
from creode.response.independence import autocorrelation_time
from creode.response.mixture import Weights, mixture_susceptibility
from creode.response.replicates import LOSS, Observable, coefficients_of
from creode.response.susceptibility import Draws, one_tree, with_components

Array = NDArray[np.float64]
Told = tuple[float, float]  # a value and its standard error
Interval = tuple[float, float, float]

PARTED = (1 / 4, -1 / 6)  # what follows the first order, over it: a fifth of the change either way
GEOMETRIC = (5 / 6, 5 / 4)  # of h, for the orders beyond the third
UNKNOWN = (2 / 3, 3 / 2)  # the same, where the third is not told from 0
APART = 2.0  # ratio of the two estimates of h from which on the series does not converge there
SURE = PARTED[0] * 0.5**0.5  # h nβ sd(Δ) up to which no curvature changes by more than ¼
LEVEL = 0.95  # of the interval
SPREAD = 2000  # of pairs of d₂ and d₃ drawn from their errors
RESOLVED = 3.0  # standard errors from which on a derivative is told from 0


def shift(
    draws: Draws,
    to: Mapping[str, Weights],
    *,
    observables: Sequence[str] | Mapping[str, Observable] | None = None,
) -> xr.Dataset:
    """The first- and second-order change of observables as the data move towards others.

    Args:
        draws: one posterior's tree, a study's, or trees by component.
        to: q': by probe, its share (a number), or one number a unit, shaped as the probe's losses
            (these need full traces for the second order). Shares are taken as given: those that
            sum to 1 are a mixture, and those that sum to 0 move weight between probes.
        observables: recorded names, or combinations of them by a name of their own; all recorded
            ones, of them "loss", the mean loss of the data as they are now.

    Returns:
        By observable (component comes before it where there are several):
        first, first_se, first_dof: d₁, nats of φ for h = 1, with the degrees of freedom of its
            error; p, two-sided.
        second, second_se, third, third_se: d₂ and d₃; NaN where units have weights and no traces.
        valid_to, valid_to_low, valid_to_high: h at which first order and truth part by a fifth of
            the change, with its 95 % interval; NaN where d₁ is not told from 0.
        ok, reasons, ess, rhat: of the draws.

    Raises:
        ValueError: no such probe or observable, weights of another shape or not finite.
    """
    if not to:
        raise ValueError("to names no probe; give for example {'code': 0.7, 'prose': 0.3}.")
    tree = one_tree(draws)
    reading = partial(_of_posterior, to=to, observables=observables)
    joined = with_components(over_study(tree, reading))
    joined.attrs["to"] = ", ".join(
        f"{name}: {np.asarray(weight).item():g}" if np.ndim(weight) == 0 else f"{name}: by unit"
        for name, weight in to.items()
    )
    return joined


def _of_posterior(
    draws: xr.DataTree,
    *,
    to: Mapping[str, Weights],
    observables: Sequence[str] | Mapping[str, Observable] | None,
) -> xr.Dataset:
    nbeta = float(posterior_dataset(draws).attrs["nbeta"])
    named = named_observables(draws, observables)
    delta = _direction(draws, to)
    parts = []
    for observable in named.values():
        chi = mixture_susceptibility(draws, to, observable=observable).isel(component=0, drop=True)
        first, error = nbeta * float(chi["chi"]), nbeta * float(chi["chi_se"])
        second, third, valid = (np.nan, np.nan), (np.nan, np.nan), (np.nan, np.nan, np.nan)
        if delta is not None:
            second, third = _further(_trace(draws, observable), delta, nbeta)
            if _told((first, error)):
                valid = _valid_to(first, second, third, sure=SURE / (nbeta * float(delta.std())))
        parts.append(
            xr.Dataset(
                {"first": first, "first_se": error, "first_dof": chi["chi_dof"], "p": chi["p"],
                 "second": second[0], "second_se": second[1],
                 "third": third[0], "third_se": third[1],
                 "valid_to_low": valid[0], "valid_to": valid[1], "valid_to_high": valid[2]}
            )
        )  # fmt: skip
    out = xr.concat(parts, xr.Variable("observable", list(named)))
    verdict = {name: chi[name] for name in ("ok", "reasons", "ess", "rhat")}
    return out.assign(verdict).assign_attrs(chi.attrs)


def named_observables(
    draws: xr.DataTree, observables: Sequence[str] | Mapping[str, Observable] | None
) -> dict[str, Observable]:
    """Observables by name, checked; all that were recorded if none are given.

    Raises:
        ValueError: one was not recorded.
    """
    if isinstance(observables, str):
        observables = (observables,)
    if observables is None:
        root = posterior_dataset(draws)
        observables = (
            [str(n) for n in root["observable"].values] if "observable" in root else [LOSS]
        )
    if not isinstance(observables, Mapping):
        observables = {name: name for name in observables}
    for observable in observables.values():
        coefficients_of(draws, observable)
    return dict(observables)


def _direction(draws: xr.DataTree, to: Mapping[str, Weights]) -> Array | None:
    """Δ (C, D), centred in each chain; None where it takes traces that were not kept."""
    total: Array | float = 0.0
    whole = 0.0
    for name, weight in to.items():
        record = probe_dataset(draws, name)
        if np.ndim(weight) == 0:
            total = total + float(np.asarray(weight)) * _values(record["loss"])
            whole += float(np.asarray(weight))
            continue
        if "unit_loss" not in record:
            return None
        units = "token" if "token" in record["mask"].dims else "sample"
        factor = Factor(draws, name, units)
        given = np.asarray(weight, np.float64)
        each = given[factor.samples, factor.tokens] if units == "token" else given[factor.samples]
        whole += float(each.sum())
        for columns in factor.slabs(factor.find_all(None)):
            total = total + factor.columns(columns) @ each[columns]
    assert not isinstance(total, float)
    if whole:
        total = total - whole * _trace(draws, LOSS)
    return np.asarray(total - total.mean(1, keepdims=True))


def _trace(draws: xr.DataTree, observable: Observable) -> Array:
    """φ (C, D), centred in each chain."""
    root = posterior_dataset(draws)
    total: Array | float = 0.0
    for name, coefficient in coefficients_of(draws, observable).items():
        total = total + coefficient * _values(root["observed"].sel(observable=name))
    assert not isinstance(total, float)
    return np.asarray(total - total.mean(1, keepdims=True))


def _values(trace: xr.DataArray) -> Array:
    values: Array = trace.transpose("chain", "draw").values.astype(np.float64)
    return values


def _further(phi: Array, delta: Array, nbeta: float) -> tuple[Told, Told]:
    """d₂ and d₃ with their errors, from the blocks of all chains."""
    time = autocorrelation_time(xr.DataArray(phi, dims=SAMPLE_DIMS))
    num_chains, num_draws = phi.shape
    blocks = Blocks(num_chains, num_draws, float(time))

    def means(of: Array, by: Array) -> Array:
        return blocks.products(of[..., None], by[..., None])[:, 0, 0]

    def told(by_block: Array, scale: float) -> Told:
        value = float(blocks.share @ by_block)
        error = float(blocks.error((by_block - value)[:, None])[0])
        return scale * value, abs(scale) * error

    square = delta**2
    once, twice, thrice = means(phi, delta), means(phi, square), means(phi, delta * square)
    spread = means(delta, delta)
    whole = blocks.share @ once, blocks.share @ spread
    # κ₄ = E φΔ³ − 3 E φΔ E Δ², its product to first order in each block's deviation
    fourth = thrice - 3 * (once * whole[1] + whole[0] * spread - whole[0] * whole[1])
    return told(twice, nbeta**2), told(fourth, -(nbeta**3))


def _valid_to(first: float, second: Told, third: Told, *, sure: float) -> Interval:
    """Low, middle and high of the h at which first order and truth part."""
    normal = np.random.default_rng(0).standard_normal((2, SPREAD))
    two, three = (v + error * z for (v, error), z in zip((second, third), normal, strict=True))
    alone, unknown = _parted(first, two, np.zeros(SPREAD)), not _told(third)
    both = alone if unknown else _parted(first, two, three)
    outside = 50 * (1 - LEVEL)
    shrunk, grown = UNKNOWN if unknown else GEOMETRIC
    low = shrunk * float(np.percentile(np.minimum(alone, both), outside))
    high = grown * float(np.percentile(np.maximum(alone, both), 100 - outside))
    by_two, by_three = (
        float(_parted(first, np.array([second[0]]), np.array([d3]))[0])
        for d3 in (0.0, 0.0 if unknown else third[0])
    )
    middle = min(by_two, by_three)
    if max(by_two, by_three) > APART * middle or (unknown and not _told(second)):
        low = min(low, sure)
    return min(low, middle), middle, max(high, middle)


def _told(given: Told) -> bool:
    """Whether a derivative is told from 0."""
    return abs(given[0]) > RESOLVED * given[1]


def _parted(first: float, second: Array, third: Array) -> Array:
    """The smallest h > 0 at which h d₂/2 + h² d₃/6, over d₁, is one of PARTED; infinite if none."""
    linear, square = second / (2 * first), third / (6 * first)
    smallest = np.full(len(second), np.inf)
    for level in PARTED:
        # 2 level/(linear ± root): the roots of square h² + linear h − level, also for square = 0
        inside = linear**2 + 4 * square * level
        root = np.sqrt(np.where(inside < 0, np.nan, inside))
        with np.errstate(divide="ignore", invalid="ignore"):
            for h in (2 * level / (linear + root), 2 * level / (linear - root)):
                smallest = np.where((h > 0) & (h < smallest), h, smallest)
    return smallest
