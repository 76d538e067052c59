"""What there is to solve: effects by group, a target for some of them, and what draws can resolve.

Weights made to follow effects follow their noise too. So weights are made from all chains but one,
and their effect is read from that one; where it cannot be told from none, the target is refused.

Here: groups of units, weights from some of the replicates, their effect judged by the others, the
choice of the ridge, the refusals.
Not here: effects (effects.py), solvers (solvers.py), the weights that are handed out (pattern.py).
Dimensions: C chains, b blocks, K observables, N units, M groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.patterning.effects import Effects
from creode.patterning.singular import refuse_singular
from creode.patterning.solvers import Convex, Furthest, MinimumNorm, OutOfReachError
from creode.patterning.token_weights import TokenWeights
from creode.patterning.weights import SampleWeights
from creode.response.uncertainty import estimate, p_value

Array = NDArray[np.float64]
Constraint = Convex | Furthest | MinimumNorm

RIDGES = (0.0, 1e-3, 1e-2, 0.1, 0.3, 1.0)
LEAST_EFFECTIVE = 0.01  # share of the samples, whatever the constraint
LEAST_Z = 2.0  # standard errors by which each wanted change must be told from none
ENOUGH_Z = 3.0  # what more draws are counted for
PLAUSIBLE_Z = 0.5  # below, chance decides what was seen: more draws are counted from here


class UnresolvedError(ValueError):
    """The draws do not tell which data would bring about the target."""


class Problem:
    """Effects by group, and a target for some of them."""

    def __init__(
        self,
        found: Effects,
        wanted: Array,
        aimed: NDArray[np.bool_],
        member: NDArray[np.int64],
        now: Array,
        along: Effects | None = None,
    ) -> None:
        """`along`: what weights are made along, in the place of the effects they are told by."""
        self._now = now  # r (M,) of the weights that the effects were read at
        self.found, self._wanted, self._aimed, self._member = found, wanted, aimed, member
        self.sizes = np.bincount(member).astype(np.float64)
        solved = (found if along is None else along).replicates
        by_group = np.zeros((*solved.shape[:-1], len(self.sizes)))
        for index in np.ndindex(*solved.shape[:-1]):
            by_group[index] = np.bincount(member, solved[index], len(self.sizes))
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

    def told(self, by_fold: Sequence[Array], by: Effects | None = None) -> xr.Dataset:
        """The effect of weights read from draws that had no part in them: predicted, _se, p.

        `by`: what tells it in the place of effects, in its own unit.
        """
        judge = self.found if by is None else by
        out = estimate(judge.judged([(r - self._now)[self._member] for r in by_fold]), "predicted")
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


def grouped(
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


def present_weights(
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


def refuse_few(rho: Array) -> None:
    """Weights that only a few samples have are no small change of the data."""
    share = float(rho.sum() ** 2 / (len(rho) * (rho**2).sum()))
    if share < LEAST_EFFECTIVE:
        raise OutOfReachError(
            f"the target takes weights from {rho.min():.3g} to {rho.max():.3g}, which leave "
            f"{100 * share:.2g} % of the samples effective: far beyond what first order tells. "
            "Ask for less."
        )


def refuse_unresolved(given: Problem, predicted: xr.Dataset, target: Mapping[str, float]) -> None:
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
