"""Weights on groups of samples that bring about wanted effects with the least change of the data.

Least change is of ½ Σ_m n_m r_m² with r = ρ − 1, under E r = t and Σ n_m r_m = 0 (mean weight 1);
that is the most effective samples, N/(1 + mean r²). A sample is a group of one.

* `MinimumNorm`: nothing else is asked, so weights may be negative: r = N⁻¹Aᵀ(A N⁻¹Aᵀ)⁺ b, with A
  the rows of E and of the sizes. With a ridge, E N⁻¹Eᵀ + κ (tr/K) I stands for E N⁻¹Eᵀ: directions
  that are small in the draws, and mostly noise, are not followed.
* `Convex`: besides ρ ≥ 0, ρ ≤ most, and a least share of effective samples; or the least relative
  entropy Σ n ρ log ρ instead of the least norm. Solved by an interior-point method.
* `Furthest`: not the least change but the largest effect, under the same bounds.

Here: all three, on arrays; how much of a target is within reach.
Not here: which effects (effects.py), what draws can resolve (problem.py).
Source: arXiv:2601.13548 for the pseudo-inverse; Clarabel (arXiv:2405.12762) solves the programme.
Dimensions: K targets, M groups, N samples in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Rows = tuple[Any, Array, list[Any]]  # of A, of b, and the cones of s

ROUNDING = 1e-10  # of the largest singular value: a direction that the effects do not have


class OutOfReachError(ValueError):
    """No weights within the constraint have the wanted effects."""


@dataclass(frozen=True, kw_only=True)
class MinimumNorm:
    """The least change of weights; some may be negative."""

    ridge: float | Literal["cross-validated"] = "cross-validated"  # κ

    def __post_init__(self) -> None:
        if isinstance(self.ridge, str):
            if self.ridge != "cross-validated":
                raise ValueError(
                    f"ridge must be a number or 'cross-validated', got {self.ridge!r}."
                )
        elif not (np.isfinite(self.ridge) and self.ridge >= 0):
            raise ValueError(f"ridge must be finite and ≥ 0, got {self.ridge!r}.")

    def solve(self, effects: Array, target: Array, sizes: Array) -> Array:
        """r (M,).

        Args:
            effects: (K, M), of raising the weight of every sample of a group by 1.
            target: (K,).
            sizes: (M,), samples of each group.
        """
        if isinstance(self.ridge, str):
            raise ValueError("the ridge is still to be chosen: give a number.")
        small = effects / sizes  # rows of E N⁻¹
        gram = small @ effects.T
        gram += self.ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
        away = effects.sum(1)  # E N⁻¹ n
        whole = np.block([[gram, away[:, None]], [away[None], sizes.sum()[None, None]]])
        scale = 1 / np.sqrt(np.maximum(np.diag(whole), 1e-300))
        inverse = np.linalg.pinv(whole * np.outer(scale, scale), rcond=ROUNDING, hermitian=True)
        dual = scale * (inverse @ (scale * np.append(target, 0.0)))
        r: Array = small.T @ dual[:-1] + dual[-1]
        return r


@dataclass(frozen=True, kw_only=True)
class Convex:
    """The least change among weights that may be used as they are."""

    least_effective: float = 0.1  # share of the samples, (Σρ)²/(N Σρ²)
    most: float | None = None  # weight of one sample
    least: float = 0.0  # weight of one sample
    measure: Literal["norm", "entropy"] = "norm"  # of change

    def __post_init__(self) -> None:
        if not 0 < self.least_effective <= 1:
            raise ValueError(f"least_effective must be in (0, 1], got {self.least_effective!r}.")
        if self.most is not None and not self.most > 1:
            raise ValueError(f"most must be above 1, the mean weight, got {self.most!r}.")
        if not 0 <= self.least < 1:
            raise ValueError(f"least must be in [0, 1), below the mean weight: {self.least!r}.")
        if self.measure not in ("norm", "entropy"):
            raise ValueError(f"measure must be 'norm' or 'entropy', got {self.measure!r}.")

    def solve(self, effects: Array, target: Array, sizes: Array) -> Array:
        """r (M,), as of `MinimumNorm.solve`.

        Raises:
            OutOfReachError: the constraint leaves no such weights; it says how much of the target
                can be had.
            ImportError: the solver is not installed.
        """
        _require_solver()
        scale = _row_scales(effects, sizes)
        programme = _Programme(effects / scale[:, None], target / scale, sizes, self)
        rho = programme.least_change()
        if rho is None:
            share = programme.reachable()
            ends = f"at least {self.least:g}" + (f", at most {self.most:g}" if self.most else "")
            raise OutOfReachError(
                f"at most {100 * share:.0f} % of the target can be reached with weights that are "
                f"{ends}, of mean 1 and "
                f"leave {100 * self.least_effective:.0f} % of the samples effective. Ask for less, "
                "keep fewer observables, or loosen the constraint."
            )
        return rho - 1


@dataclass(frozen=True, kw_only=True)
class Furthest:
    """The largest change along the target that weights allow, whatever its size.

    For a single target and few weights at a bound: ρ − 1 along the effects, cut at 0.
    """

    least_effective: float = 0.3  # share of the samples, (Σρ)²/(N Σρ²)
    most: float | None = None  # weight of one sample
    least: float = 0.0  # weight of one sample

    def __post_init__(self) -> None:
        self._bounds()

    def _bounds(self) -> Convex:
        return Convex(least_effective=self.least_effective, most=self.most, least=self.least)

    def solve(self, effects: Array, target: Array, sizes: Array) -> Array:
        """r (M,), as of `MinimumNorm.solve`; of the target only the direction counts.

        Raises:
            ImportError: the solver is not installed.
        """
        _require_solver()
        scale = _row_scales(effects, sizes)
        # no weights go further than by this: r is of length √(N(1/share − 1)) at most
        bound = (sizes.sum() * (1 / self.least_effective - 1)) ** 0.5
        direction = target / scale
        direction *= bound / np.linalg.norm(direction)
        programme = _Programme(effects / scale[:, None], direction, sizes, self._bounds())
        rho, _ = programme.furthest()
        if rho is None:
            raise RuntimeError("the solver found no weights, though equal ones are allowed.")
        return rho - 1


def _require_solver() -> None:
    from importlib.util import find_spec

    if find_spec("clarabel") is None:
        raise ImportError(
            "weights under constraints are found by clarabel: pip install 'creode[opt]', or use "
            "MinimumNorm()."
        )


def _row_scales(effects: Array, sizes: Array) -> Array:
    """By which rows are divided: the change of each observable for r of length √N."""
    norms = np.sqrt((effects**2 / sizes).sum(1))
    return np.where(norms > 0, norms, 1.0)


class _Programme:
    """Clarabel's form: minimise ½ xᵀPx + qᵀx with Ax + s = b, s in a product of cones.

    x holds ρ (M,) first; further variables, if any, come after it.
    """

    def __init__(self, effects: Array, target: Array, sizes: Array, given: Convex) -> None:
        self._effects, self._target, self._sizes, self._given = effects, target, sizes, given
        self._base = effects.sum(1)  # E 1: E r = t is E ρ = t + E 1

    def least_change(self) -> Array | None:
        """ρ (M,) of least change; None if the constraint leaves none."""
        import clarabel
        from scipy import sparse

        count = len(self._sizes)
        share = self._sizes / self._sizes.sum()
        if self._given.measure == "norm":
            rows = self._constraint(self._effects, self._target, further=0)
            return self._solved(sparse.diags(share).tocsc(), np.zeros(count), rows)
        # u ≥ ρ log ρ, M further variables: (−u, ρ, 1) is in the exponential cone
        wide = sparse.hstack([self._effects, sparse.csc_matrix((len(self._target), count))])
        rows = self._constraint(wide, self._target, further=count)
        m = np.arange(count)
        at = (np.r_[3 * m, 3 * m + 1], np.r_[count + m, m])
        cone = sparse.csc_matrix(
            (np.r_[np.ones(count), -np.ones(count)], at), (3 * count, 2 * count)
        )
        rows.append((cone, np.tile([0.0, 0.0, 1.0], count), [clarabel.ExponentialConeT()] * count))
        nothing = sparse.csc_matrix((2 * count, 2 * count))
        return self._solved(nothing, np.append(np.zeros(count), share), rows)

    def reachable(self) -> float:
        """The largest share of the target that the constraint allows, from 0 to 1."""
        return self.furthest()[1]

    def furthest(self) -> tuple[Array | None, float]:
        """ρ (M,) with the largest share of the target, up to 1, and that share."""
        import clarabel
        from scipy import sparse

        count = len(self._sizes)
        with_share = np.hstack([self._effects, -self._target[:, None]])
        rows = self._constraint(with_share, np.zeros(len(self._target)), further=1)
        ends = sparse.csc_matrix(([1.0, -1.0], ([0, 1], [count, count])), (2, count + 1))
        rows.append((ends, np.array([1.0, 0.0]), [clarabel.NonnegativeConeT(2)]))
        nothing = sparse.csc_matrix((count + 1, count + 1))
        found = self._solved(nothing, np.append(np.zeros(count), -1.0), rows, whole=True)
        if found is None:
            return None, 0.0
        return np.maximum(found[:count], 0.0), float(np.clip(found[-1], 0.0, 1.0))

    def _constraint(self, effects: Any, target: Array, *, further: int) -> list[Rows]:
        """Rows for the effects, the mean, the bounds and the spread of ρ."""
        import clarabel
        from scipy import sparse

        count, total = len(self._sizes), self._sizes.sum()
        identity = sparse.hstack([sparse.identity(count), sparse.csc_matrix((count, further))])
        root = sparse.diags(np.sqrt(self._sizes / total)) @ identity
        mean = np.append(self._sizes / total, np.zeros(further))[None]
        widest = np.append(self._given.least_effective**-0.5, np.zeros(count))
        rows: list[Rows] = [
            (effects, target + self._base, [clarabel.ZeroConeT(len(target))]),
            (mean, np.ones(1), [clarabel.ZeroConeT(1)]),
            (-identity, np.full(count, -self._given.least), [clarabel.NonnegativeConeT(count)]),
            (
                sparse.vstack([sparse.csc_matrix((1, count + further)), -root]),
                widest,
                [clarabel.SecondOrderConeT(count + 1)],
            ),
        ]
        if self._given.most is not None:
            most = np.full(count, self._given.most)
            rows.append((identity, most, [clarabel.NonnegativeConeT(count)]))
        return rows

    def _solved(self, P: Any, q: Array, rows: list[Rows], *, whole: bool = False) -> Array | None:
        import clarabel
        from scipy import sparse

        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.max_threads = 1
        A = sparse.vstack([sparse.csc_matrix(left) for left, _, _ in rows]).tocsc()
        b = np.concatenate([right for _, right, _ in rows])
        cones = [cone for _, _, some in rows for cone in some]
        solution = clarabel.DefaultSolver(sparse.triu(P).tocsc(), q, A, b, cones, settings).solve()
        if str(solution.status) not in ("Solved", "AlmostSolved"):
            return None
        x = np.asarray(solution.x, np.float64)
        return x if whole else np.maximum(x[: len(self._sizes)], 0.0)
