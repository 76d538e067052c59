"""Patterning: weights on the data that are to bring about wanted changes of observables.

The effects of weights are known from draws, with noise. Weights made to follow them follow the
noise too, so that on the same draws their effect always looks as large as was asked. What is told
is therefore cross-fitted: weights are made from all chains but one, and their effect is read from
that one. Where that effect cannot be told from none, the target is refused.

Here: that one call, the choice of the ridge, the refusal, what else the weights will move.
Not here: effects (effects.py), solvers (solvers.py), the file of weights (weights.py), retraining
with them (proof.py).
Source: arXiv:2601.13548. Deviation: cross-fitted predictions; the pseudo-inverse is one of two
solvers.
Dimensions: C chains, b blocks, K observables, N samples, M groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.diagnostics.excess import posterior_dataset
from creode.generalization.shift import named_observables
from creode.patterning.effects import Effects, effects
from creode.patterning.solvers import Convex, Furthest, MinimumNorm
from creode.patterning.weights import SampleWeights
from creode.response.provenance import PROVENANCE
from creode.response.replicates import Observable
from creode.response.uncertainty import estimate, p_value
from creode.version import __version__

Array = NDArray[np.float64]
Constraint = Convex | Furthest | MinimumNorm

RIDGES = (0.0, 1e-3, 1e-2, 0.1, 0.3, 1.0)
LEAST_Z = 2.0  # standard errors by which each wanted change must be told from none
ENOUGH_Z = 3.0  # what more draws are counted for
PLAUSIBLE_Z = 0.5  # below, chance decides what was seen: more draws are counted from here


class UnresolvedError(ValueError):
    """The draws do not tell which data would bring about the target."""


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Weights, and what they are predicted to do.

    effect: by observable `wanted` (NaN where it is only watched), `predicted` and its error
    `predicted_se`, `p`, cross-fitted, and `fitted`, what the draws they were made from say, all in
    the unit of the observable; attributes say what made them. ok, reasons: of the draws.
    """

    weights: SampleWeights
    effect: xr.Dataset


def pattern(
    draws: xr.DataTree,
    target: Mapping[str, float],
    constraint: Constraint | None = None,
    *,
    on: str = "train",
    keep: Sequence[str] = (),
    observables: Sequence[str] | Mapping[str, Observable] | None = None,
    groups: ArrayLike | None = None,
    sample_ids: Sequence[str] | None = None,
) -> Pattern:
    """Weights of mean 1 on the samples of a probe that move observables as wanted.

    Args:
        draws: one posterior's tree.
        target: the wanted change of each named observable, in its unit (a mean loss: nats).
        constraint: `Convex` (the default): weights not negative, with a least share of effective
            samples; or `MinimumNorm`: the pseudo-inverse, with a ridge chosen by cross-validation.
        on: the probe that holds the training data, or samples that stand for it.
        keep: observables that are to stay where they are.
        observables: those that are known here, as of `creode.shift`; all recorded ones. Those that
            are neither in `target` nor in `keep` are watched.
        groups: a label (N,) a sample, such as its domain: samples of a group weigh alike.
        sample_ids: names (N,) of samples for the file; their positions if not given.

    Returns:
        `Pattern`.

    Raises:
        ValueError: no such probe or observable, or settings that do not fit together.
        OutOfReachError: the constraint leaves no such weights.
        UnresolvedError: the draws are too few.
    """
    known = _known(draws, target, keep, observables)
    found = effects(draws, on, known)
    made_by = posterior_dataset(draws).attrs
    about = {name: made_by[name] for name in PROVENANCE if name in made_by} | {"on": on}
    return solved(
        found, target, constraint or Convex(), keep=keep, groups=groups, sample_ids=sample_ids,
        about=about,
    )  # fmt: skip


def solved(
    found: Effects,
    target: Mapping[str, float],
    constraint: Constraint,
    *,
    keep: Sequence[str] = (),
    groups: ArrayLike | None = None,
    sample_ids: Sequence[str] | None = None,
    about: Mapping[str, Any],
) -> Pattern:
    """`pattern` from effects; `about` says what made them."""
    wanted = np.array([float(target.get(name, 0.0)) for name in found.names])
    aimed = np.array([name in target or name in keep for name in found.names])
    member, labels = _grouped(groups, found.replicates.shape[-1])
    given = _Problem(found, wanted, aimed, member)
    constraint = given.settled(constraint)
    predicted = given.cross_fitted(constraint)
    _refuse_unresolved(given, predicted, target)
    r = given.solve(constraint, np.ones(found.replicates.shape[:2], bool))
    rho = 1 + r[member]
    fitted = found.mean @ (rho - 1)
    if isinstance(constraint, Furthest):
        wanted = fitted
    effect = predicted.assign(
        wanted=("observable", np.where(aimed, wanted, np.nan)),
        fitted=("observable", fitted),
        ok=found.ok,
        reasons=found.reasons,
    )
    effect.attrs = dict(about) | {
        "constraint": repr(constraint), "num_groups": len(labels), "creode_version": __version__,
    }  # fmt: skip
    weights = SampleWeights(
        values=rho,
        fingerprint=found.fingerprint,
        ids=None if sample_ids is None else tuple(map(str, sample_ids)),
        groups=None if groups is None else tuple(str(labels[m]) for m in member),
    )
    return Pattern(weights=weights, effect=effect)


def _known(
    draws: xr.DataTree,
    target: Mapping[str, float],
    keep: Sequence[str],
    observables: Sequence[str] | Mapping[str, Observable] | None,
) -> dict[str, Observable]:
    """The observables by name, once the target fits them."""
    if isinstance(keep, str):
        raise ValueError(f"keep is a list of names, got {keep!r}.")
    if not target or not any(target.values()):
        raise ValueError("target asks for no change; give for example {'code': -0.05}, in nats.")
    odd = {name: change for name, change in target.items() if not math.isfinite(change)}
    if odd:
        raise ValueError(f"target must be finite changes, got {odd}.")
    both = sorted(set(target) & set(keep))
    if both:
        raise ValueError(f"{both} are in target and in keep; say one of the two.")
    known = named_observables(draws, observables)
    unknown = [name for name in (*target, *keep) if name not in known]
    if unknown:
        raise ValueError(
            f"{unknown} are no observables of these draws, which have {sorted(known)}; name "
            "probes in creode.sample(observables=...) to have their losses observed."
        )
    return known


def _grouped(groups: ArrayLike | None, count: int) -> tuple[NDArray[np.int64], NDArray[np.generic]]:
    """Which group (N,) each sample is in, and the groups' labels."""
    if groups is None:
        each = np.arange(count, dtype=np.int64)
        return each, each
    given = np.asarray(groups)
    if given.shape != (count,):
        raise ValueError(f"groups need one label a sample, ({count},); got shape {given.shape}.")
    labels, member = np.unique(given, return_inverse=True)
    if len(labels) < 2:
        raise ValueError(f"all samples are of one group, {labels[0]!r}: nothing can be weighed.")
    return member.astype(np.int64), labels


class _Problem:
    """Effects by group, and a target for some of them."""

    def __init__(
        self, found: Effects, wanted: Array, aimed: NDArray[np.bool_], member: NDArray[np.int64]
    ) -> None:
        self.found, self._wanted, self._aimed = found, wanted, aimed
        self.sizes = np.bincount(member).astype(np.float64)
        by_group = np.zeros((*found.replicates.shape[:-1], len(self.sizes)))
        for index in np.ndindex(*found.replicates.shape[:-1]):
            by_group[index] = np.bincount(member, found.replicates[index], len(self.sizes))
        self.by_group = by_group  # (C, b, K, M)

    def solve(self, constraint: Constraint, replicates: NDArray[np.bool_]) -> Array:
        """r (M,) from some replicates (C, b)."""
        mean = self.by_group[replicates].mean(0)[self._aimed]
        return constraint.solve(mean, self._wanted[self._aimed], self.sizes)

    def cross_fitted(self, constraint: Constraint) -> xr.Dataset:
        """The effect of weights read from draws that had no part in them: predicted, _se, p."""
        values = np.empty((*self.by_group.shape[:2], self.by_group.shape[2]))
        for learned, judged in self.found.folds:
            values[judged] = self.by_group[judged] @ self.solve(constraint, learned)
        dims = ("chain", "block", "observable")
        out = estimate(
            xr.DataArray(values, dims=dims, coords={"observable": list(self.found.names)}),
            "predicted",
        )
        p = p_value(out["predicted"], out["predicted_se"], out["predicted_dof"])
        return out.drop_vars("predicted_dof").assign(p=p)

    def settled(self, constraint: Constraint) -> Constraint:
        """The constraint with its ridge chosen: the one whose cross-fitted effect is nearest."""
        if not isinstance(constraint, MinimumNorm) or constraint.ridge != "cross-validated":
            return constraint
        scale = np.sqrt((self.found.mean**2).mean(1) * self.found.mean.shape[1])[self._aimed]
        missed = []
        for ridge in RIDGES:
            out = self.cross_fitted(MinimumNorm(ridge=ridge))["predicted"].values
            error = (out - self._wanted)[self._aimed] / np.maximum(scale, 1e-300)
            missed.append(float((error**2).sum()))
        return replace(constraint, ridge=RIDGES[int(np.argmin(missed))])

    def draws_needed(self, name: str, z: float) -> float:
        """How many times as many draws would tell a target by ENOUGH_Z that z errors tell now.

        Weights along E keep S/√(S + V) of its length S, V the square of its errors; with m times
        the draws V and the square of the error they are judged with are m times less.
        """
        index = self.found.names.index(name)
        rows = self.by_group[:, :, index].reshape(-1, len(self.sizes))
        noise = float((rows.var(0, ddof=1) / len(rows) / self.sizes).sum())
        signal = max(float((rows.mean(0) ** 2 / self.sizes).sum()) - noise, 0.0)
        for m in np.geomspace(1, 1e4, 400):
            if z * (m * (signal + noise) / (signal + noise / m)) ** 0.5 >= ENOUGH_Z:
                return float(m)
        return 1e4


def _refuse_unresolved(given: _Problem, predicted: xr.Dataset, target: Mapping[str, float]) -> None:
    """Every wanted change must be told from none, in its direction."""
    weak, needed, vague = [], 2.0, False
    for name, change in target.items():
        one = predicted.sel(observable=name)
        value, error = float(one["predicted"]), float(one["predicted_se"])
        z = math.copysign(1.0, change) * value / error
        if change and not z > LEAST_Z:
            weak.append(f"{name} {value:+.3g} ± {error:.2g} for {change:+.3g}")
            needed = max(needed, given.draws_needed(name, max(z, PLAUSIBLE_Z)))
            vague |= z < PLAUSIBLE_Z
    if weak:
        raise UnresolvedError(
            "these draws do not tell which data would bring about the target: on chains that had "
            f"no part in making them, the weights' effect is {'; '.join(weak)}. "
            f"{'At least' if vague else 'About'} {needed:.0f} times as many draws would do, or "
            "groups of samples, whose effects are larger."
        )
