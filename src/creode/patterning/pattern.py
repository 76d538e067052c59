"""Patterning: weights on the data that are to bring about wanted changes of observables.

The effects of weights are known from draws, with noise. Weights made to follow them follow the
noise too, so that on the same draws their effect always looks as large as was asked. What is told
is therefore cross-fitted: weights are made from all chains but one, and their effect is read from
that one. Where that effect cannot be told from none, the target is refused.

Here: that one call, and a pattern from effects of any kind, with what else the weights will move.
Not here: effects (effects.py), folds, ridge and refusals (problem.py), solvers (solvers.py), the
file of weights (weights.py), retraining with them (proof.py).
Source: arXiv:2601.13548. Deviation: cross-fitted predictions; the pseudo-inverse is one of three
solvers.
Dimensions: C chains, b blocks, K observables, N samples or tokens, M groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.generalization.shift import named_observables
from creode.patterning.associations import associations
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
from creode.patterning.problem import (
    Constraint,
    Problem,
    grouped,
    present_weights,
    refuse_few,
    refuse_unresolved,
)
from creode.patterning.solvers import Convex, Furthest
from creode.patterning.token_weights import TokenWeights
from creode.patterning.weights import SampleWeights
from creode.response.provenance import PROVENANCE
from creode.response.replicates import LOSS, Observable
from creode.response.susceptibility import Draws, one_tree
from creode.version import __version__


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
    along: Literal["effects", "ranks"] = "effects",
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
        along: what weights follow: "effects", or "ranks" (`associations`), which also order samples
            rightly where single losses have long tails, as of models that fit their data; with
            `Furthest`, of one posterior's samples, and full traces of them. Whether draws resolve
            the target is judged by what is followed; what weights do is told from effects.

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
    ranked = None
    if along not in ("effects", "ranks"):
        raise ValueError(f"along must be 'effects' or 'ranks', got {along!r}.")
    if along == "ranks" and (
        isinstance(known, _Components) or not isinstance(constraint, Furthest)
    ):
        raise ValueError(
            "ranks give a direction and no size, of one posterior's samples; use them with "
            "Furthest(), and with the draws of one posterior."
        )
    if isinstance(known, _Components):
        found = component_effects(known.parts, on, known.combinations, of, units)
        made_by = shared_provenance(known.parts, of)
    else:
        found = effects(one, on, known, units)
        ranked = associations(one, on, known, found) if along == "ranks" else None
        made_by = {name: one.attrs[name] for name in PROVENANCE if name in one.attrs}
    known_of_units: dict[str, ArrayLike] = dict(trivial_features(one, on, units))
    for name, values in (features or {}).items():
        known_of_units[name] = found.by_unit(f"features of {name!r}", values)
    return solved(
        found, target, constraint or Convex(), along=ranked, keep=keep, around=around,
        groups=groups, sample_ids=sample_ids, features=known_of_units,
        about=made_by | {"on": on, "units": units, "along": along},
    )  # fmt: skip


def solved(  # noqa: PLR0913 - what `pattern` and `prefer` were asked for
    found: Effects,
    target: Mapping[str, float],
    constraint: Constraint,
    *,
    along: Effects | None = None,
    keep: Sequence[str] = (),
    around: SampleWeights | TokenWeights | None = None,
    groups: ArrayLike | None = None,
    sample_ids: Sequence[str] | None = None,
    features: Mapping[str, ArrayLike],
    about: Mapping[str, Any],
) -> Pattern:
    """`pattern` from effects; `features` (N,) explain, and `about` says what made the effects."""
    wanted = np.array([float(target.get(name, 0.0)) for name in found.names])
    aimed = np.array([name in target or name in keep for name in found.names])
    member, labels = grouped(groups, found)
    now = present_weights(around, found, member)
    given = Problem(found, wanted, aimed, member, now, along)
    given.refuse_singular()
    constraint = given.settled(constraint)
    by_fold = given.by_fold(constraint)
    predicted = given.told(by_fold)
    refuse_unresolved(given, given.told(by_fold, along), target)
    r = given.solve(constraint, np.ones(found.replicates.shape[:2], bool))
    rho = 1 + r[member]
    refuse_few(rho)
    folds = [1 + one[member] for one in by_fold]
    explained = explain(found, rho, folds, features, 1 + now[member])
    fitted = found.mean @ (r - now)[member]
    if isinstance(constraint, Furthest):
        wanted = np.where(wanted != 0, fitted, wanted)  # what is kept is still to stay
    effect = predicted.assign(
        wanted=("observable", np.where(aimed, wanted, np.nan)),
        fitted=("observable", fitted),
        ok=found.ok,
        reasons=found.reasons,
    )
    effect.attrs = dict(about) | {
        "constraint": repr(constraint), "num_groups": len(labels), "creode_version": __version__,
    }  # fmt: skip
    weights = _placed(found, rho, sample_ids, None if groups is None else labels[member])
    return Pattern(
        weights=weights,
        effect=effect,
        explained=explained.reading,
        explanations={
            name: weights.with_values(values) for name, values in explained.fitted.items()
        },
    )


def _placed(
    found: Effects, rho: NDArray[np.float64], ids: Sequence[str] | None, groups: Any
) -> SampleWeights | TokenWeights:
    """ρ (N,) as weights on samples, or on the tokens that count."""
    about: dict[str, Any] = {
        "fingerprint": found.fingerprint,
        "ids": None if ids is None else tuple(map(str, ids)),
        "groups": None if groups is None else tuple(map(str, groups)),
    }
    if found.mask.ndim == 1:
        return SampleWeights(values=rho, **about)
    values = np.full(found.mask.shape, np.nan)
    values[found.mask] = rho
    return TokenWeights(values=values, **about)


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
