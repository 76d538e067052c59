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
Dimensions: C chains, b blocks, K observables, N samples or tokens, M groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.generalization.shift import named_observables
from creode.patterning.effects import Effects, Units, effects
from creode.patterning.explanations import explain, trivial_features
from creode.patterning.mode_targets import (
    Combination,
    Parts,
    by_component,
    component_effects,
    named_combinations,
    shared_provenance,
)
from creode.patterning.singular import refuse_singular
from creode.patterning.solvers import Convex, MinimumNorm, OutOfReachError
from creode.patterning.token_weights import TokenWeights
from creode.patterning.weights import SampleWeights
from creode.response.provenance import PROVENANCE
from creode.response.replicates import LOSS, Observable
from creode.response.susceptibility import Draws, one_tree
from creode.response.uncertainty import estimate, p_value
from creode.version import __version__

Array = NDArray[np.float64]
Constraint = Convex | MinimumNorm

RIDGES = (0.0, 1e-3, 1e-2, 0.1, 0.3, 1.0)
LEAST_EFFECTIVE = 0.01  # share of the samples, whatever the constraint
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
    explained: by explanation the same `predicted`, `predicted_se`, `p` of the weights that length,
    loss level, or another feature alone would give, `r2`, how much of these weights they are,
    `scale`, how many times smaller, and `beyond`, `beyond_se`, what these weights do besides.
    explanations: those weights, by name.
    """

    weights: SampleWeights | TokenWeights
    effect: xr.Dataset
    explained: xr.Dataset
    explanations: Mapping[str, SampleWeights | TokenWeights]


def pattern(  # noqa: PLR0913 - beyond the contract's three, each a choice of its own
    draws: Draws,
    target: Mapping[str, float],
    constraint: Constraint | None = None,
    *,
    on: str = "train",
    units: Units = "sample",
    around: SampleWeights | TokenWeights | None = None,
    keep: Sequence[str] = (),
    observables: Sequence[str] | Mapping[str, Observable] | None = None,
    of: str = LOSS,
    groups: ArrayLike | None = None,
    sample_ids: Sequence[str] | None = None,
    features: Mapping[str, ArrayLike] | None = None,
) -> Pattern:
    """Weights of mean 1 on the samples, or tokens, of a probe that move observables as wanted.

    Args:
        draws: one posterior's tree; or a study's, or trees by component, in which observables are
            the components' φ_C, by the component's name.
        target: the wanted change of each named observable, in its unit (a mean loss: nats).
        constraint: `Convex` (the default): weights not negative, with a least share of effective
            samples; or `MinimumNorm`: the pseudo-inverse, with a ridge chosen by cross-validation.
        on: the probe that holds the training data, or samples that stand for it.
        units: what has a weight of its own: a "sample", or each "token" that counts.
        around: the weights that the data had when these draws were made, of a posterior on
            `creode.tasks.Weighted` losses; the target is a change from there. None: all equal.
        keep: observables that are to stay where they are.
        observables: those that are known here, as of `creode.shift`; all recorded ones. Those that
            are neither in `target` nor in `keep` are watched. With draws by component: components,
            or combinations of them, such as a mode's response (`mode_response`); each alone.
        of: with draws by component, φ: "loss", or another observable recorded in each of them.
        groups: a label a sample (N,), such as its domain, or a token (N, T): those of a group weigh
            alike.
        sample_ids: names (N,) of samples for the file; their positions if not given.
        features: by name, labels such as domains (strings or whole numbers) or floats, shaped as
            groups, for explanations besides "length" and "loss", the loss level at w*.

    Returns:
        `Pattern`.

    Raises:
        ValueError: no such probe or observable, or settings that do not fit together.
        OutOfReachError: the constraint leaves no such weights, or none that leave a hundredth of
            the samples effective.
        SingularResponseError: observables answer to the data alike, and are to move apart.
        UnresolvedError: the draws are too few.
    """
    _check_target(target, keep)
    one, known = _known(draws, target, keep, observables, of)
    if isinstance(known, _Components):
        found = component_effects(known.parts, on, known.combinations, of, units)
        made_by = shared_provenance(known.parts, of)
    else:
        found = effects(one, on, known, units)
        made_by = {name: one.attrs[name] for name in PROVENANCE if name in one.attrs}
    wanted = np.array([float(target.get(name, 0.0)) for name in found.names])
    aimed = np.array([name in target or name in keep for name in found.names])
    member, labels = _grouped(groups, found)
    now = _present(around, found, member)
    given = _Problem(found, wanted, aimed, member, now)
    given.refuse_singular()
    constraint = given.settled(constraint or Convex())
    by_fold = given.by_fold(constraint)
    predicted = given.told(by_fold)
    _refuse_unresolved(given, predicted, target)
    r = given.solve(constraint, np.ones(found.replicates.shape[:2], bool))
    rho = 1 + r[member]
    _refuse_few(rho)
    known_of_units: dict[str, NDArray[Any]] = dict(trivial_features(one, on, units))
    for name, values in (features or {}).items():
        known_of_units[name] = found.by_unit(f"features of {name!r}", values)
    folds = [1 + one[member] for one in by_fold]
    explained = explain(found, rho, folds, known_of_units, 1 + now[member])
    effect = predicted.assign(
        wanted=("observable", np.where(aimed, wanted, np.nan)),
        fitted=("observable", found.mean @ (r - now)[member]),
        ok=found.ok,
        reasons=found.reasons,
    )
    effect.attrs = made_by | {
        "on": on, "units": units, "constraint": repr(constraint), "num_groups": len(labels),
        "creode_version": __version__,
    }  # fmt: skip
    about: dict[str, Any] = {
        "fingerprint": found.fingerprint,
        "ids": None if sample_ids is None else tuple(map(str, sample_ids)),
        "groups": None if groups is None else tuple(str(labels[m]) for m in member),
    }
    weights: SampleWeights | TokenWeights
    if units == "token":
        placed = np.full(found.mask.shape, np.nan)
        placed[found.mask] = rho
        weights = TokenWeights(values=placed, **about)
    else:
        weights = SampleWeights(values=rho, **about)
    return Pattern(
        weights=weights,
        effect=effect,
        explained=explained.reading,
        explanations={
            name: weights.with_values(fitted) for name, fitted in explained.fitted.items()
        },
    )


def _check_target(target: Mapping[str, float], keep: Sequence[str]) -> None:
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


class _Components(NamedTuple):
    """Observables that are combinations of what components answer."""

    parts: Parts
    combinations: dict[str, Combination]


def _known(
    draws: Draws,
    target: Mapping[str, float],
    keep: Sequence[str],
    observables: Sequence[str] | Mapping[str, Observable] | None,
    of: str,
) -> tuple[xr.DataTree, _Components | dict[str, Observable]]:
    """One posterior's draws, and the observables that are known, once the target fits them."""
    parts = by_component(draws)
    if parts is not None:
        combinations = named_combinations(parts, observables)
        _check_known(
            combinations, target, keep,
            "give combinations of components as observables={'name': {'l0h0': 1.0}}",
        )  # fmt: skip
        return next(iter(parts.values())), _Components(parts, combinations)
    if of != LOSS:
        raise ValueError(f"of={of!r} is for draws by component; name observables in target.")
    tree = one_tree(draws)
    known = named_observables(tree, observables)
    _check_known(
        known, target, keep,
        "name probes in creode.sample(observables=...) to have their losses observed",
    )  # fmt: skip
    return tree, known


def _check_known(
    known: Mapping[str, Any], target: Mapping[str, float], keep: Sequence[str], advice: str
) -> None:
    unknown = [name for name in (*target, *keep) if name not in known]
    if unknown:
        raise ValueError(
            f"{unknown} are no observables of these draws, which have {sorted(known)}; {advice}."
        )


def _grouped(
    groups: ArrayLike | None, found: Effects
) -> tuple[NDArray[np.int64], NDArray[np.generic]]:
    """Which group (N,) each unit is in, and the groups' labels."""
    if groups is None:
        each = np.arange(found.replicates.shape[-1], dtype=np.int64)
        return each, each
    labels, member = np.unique(found.by_unit("groups", groups), return_inverse=True)
    if len(labels) < 2:
        raise ValueError(f"all samples are of one group, {labels[0]!r}: nothing can be weighed.")
    return member.astype(np.int64), labels


def _present(
    around: SampleWeights | TokenWeights | None, found: Effects, member: NDArray[np.int64]
) -> Array:
    """r (M,) of the weights that the draws were made with."""
    sizes = np.bincount(member)
    if around is None:
        return np.zeros(len(sizes))
    if around.fingerprint != found.fingerprint or around.flat.shape != member.shape:
        raise ValueError(
            "around are weights of other data, or of other units, than those of the probe; give "
            "the weights that the data had when the draws were made."
        )
    mean: Array = np.bincount(member, around.flat - 1, len(sizes)) / sizes
    if abs(around.flat - 1 - mean[member]).max() > 1e-6:
        raise ValueError("around weighs samples of one group differently; give the same groups.")
    return mean


class _Problem:
    """Effects by group, and a target for some of them."""

    def __init__(
        self,
        found: Effects,
        wanted: Array,
        aimed: NDArray[np.bool_],
        member: NDArray[np.int64],
        now: Array,
    ) -> None:
        self._now = now  # r (M,) of the weights that the effects were read at
        self.found, self._wanted, self._aimed, self._member = found, wanted, aimed, member
        self.sizes = np.bincount(member).astype(np.float64)
        by_group = np.zeros((*found.replicates.shape[:-1], len(self.sizes)))
        for index in np.ndindex(*found.replicates.shape[:-1]):
            by_group[index] = np.bincount(member, found.replicates[index], len(self.sizes))
        self.by_group = by_group  # (C, b, K, M)

    def refuse_singular(self) -> None:
        """A target of which no weights bring about a part."""
        rows = self.by_group.reshape(-1, *self.by_group.shape[2:])[:, self._aimed]
        names = [name for name, aimed in zip(self.found.names, self._aimed, strict=True) if aimed]
        refuse_singular(rows, self._wanted[self._aimed], self.sizes, names)

    def solve(self, constraint: Constraint, replicates: NDArray[np.bool_]) -> Array:
        """r (M,) from some replicates (C, b)."""
        mean = self.by_group[replicates].mean(0)[self._aimed]
        return constraint.solve(mean, self._wanted[self._aimed] + mean @ self._now, self.sizes)

    def by_fold(self, constraint: Constraint) -> list[Array]:
        """r (M,) of each fold, made of what it learns from."""
        return [self.solve(constraint, learned) for learned, _ in self.found.folds]

    def told(self, by_fold: Sequence[Array]) -> xr.Dataset:
        """The effect of weights read from draws that had no part in them: predicted, _se, p."""
        out = estimate(
            self.found.judged([(r - self._now)[self._member] for r in by_fold]), "predicted"
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
            out = self.told(self.by_fold(MinimumNorm(ridge=ridge)))["predicted"].values
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


def _refuse_few(rho: Array) -> None:
    """Weights that only a few samples have are no small change of the data."""
    share = float(rho.sum() ** 2 / (len(rho) * (rho**2).sum()))
    if share < LEAST_EFFECTIVE:
        raise OutOfReachError(
            f"the target takes weights from {rho.min():.3g} to {rho.max():.3g}, which leave "
            f"{100 * share:.2g} % of the samples effective: far beyond what first order tells. "
            "Ask for less."
        )


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
