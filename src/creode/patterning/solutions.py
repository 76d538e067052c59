"""Patterning which of two solutions training finds: weights by their free energies.

Where two solutions A and B fit the data, training tends to the one of lower free energy

    F_A(ρ) = −log ∫ exp{ −nβ L_ρ(w) − (γ/2)‖w − w_A‖² } dw,   L_ρ = Σ_j ρ_j ℓ_j / N,

whose leading terms are nβ L_ρ(w_A) and λ_A log nβ. To first order in the weights

    dF_A/dρ_j = (nβ/N) E_A[ℓ_j],

exact at ρ = 1 for the posterior as sampled, and so for the difference of two solutions. Summed over
j with ℓ_j(w_A) taken off it is λ̂_A: a sample's share is what it adds to how sharply the loss rises
around A. Weights that raise F_B − F_A go to samples that B holds by less than A does.

Here: that derivative from draws around runs of both kinds, with each pair of runs as a replicate,
and weights made of it.
Not here: solvers (solvers.py), cross-fitting and refusal, which are those of `pattern`.
Source: arXiv:2601.13548 targets the λ of each solution. Deviation: the whole free energy is aimed
at, not λ̂ alone; the derivative of λ̂ has in addition −nβ Cov(ℓ_j, L), which needs a small
difference of large noises and tells how E[L] answers, not which solution is preferred.
Dimensions: R runs of each kind, C chains, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.diagnostics.excess import posterior_dataset, probe_dataset
from creode.geometry import llc
from creode.patterning.effects import Effects
from creode.patterning.explanations import trivial_features
from creode.patterning.pattern import Pattern, solved
from creode.patterning.problem import Constraint
from creode.patterning.solvers import Furthest

Array = NDArray[np.float64]

PREFERENCE = "preference"  # F of the unwanted less F of the wanted, nats


def prefer(
    wanted: Sequence[xr.DataTree],
    unwanted: Sequence[xr.DataTree],
    constraint: Constraint | None = None,
    *,
    by: float | None = None,
    on: str = "train",
    groups: ArrayLike | None = None,
    sample_ids: Sequence[str] | None = None,
) -> Pattern:
    """Weights of mean 1 under which training shall find the wanted solution, not the unwanted.

    Predictions are cross-fitted over pairs of runs: weights are made from all pairs but one, and
    what they do to the preference F_B − F_A is read from that pair.

    Args:
        wanted: draws around runs that ended at the solution A, one posterior's tree a run.
        unwanted: as many, around runs that ended at B. Runs are paired as they come.
        constraint: `Furthest` (the default), as far as it allows; or, with `by`, `Convex` or
            `MinimumNorm`.
        by: the wanted rise of F_B − F_A, nats.
        on: the probe that holds the training data, or samples that stand for it.
        groups: a label (N,) a sample: samples of a group weigh alike.
        sample_ids: names (N,) of samples for the file; their positions if not given.

    Returns:
        `Pattern`, with the one observable "preference".

    Raises:
        ValueError: as of `solution_effects`, or `by` and `constraint` do not fit together.
        OutOfReachError: the constraint leaves no such weights.
        UnresolvedError: the draws, or the runs, are too few.
    """
    constraint = constraint or Furthest()
    if isinstance(constraint, Furthest) != (by is None):
        raise ValueError(
            f"by={by!r} does not go with {constraint!r}: Furthest() goes as far as it can, any "
            "other constraint needs to be told by how many nats."
        )
    found = solution_effects(wanted, unwanted, on=on)
    return solved(
        found,
        {PREFERENCE: 1.0 if by is None else by},
        constraint,
        groups=groups,
        sample_ids=sample_ids,
        features=trivial_features(wanted[0], on),
        about={"on": on, "num_pairs": len(wanted)},
    )


def solution_effects(
    wanted: Sequence[xr.DataTree], unwanted: Sequence[xr.DataTree], *, on: str = "train"
) -> Effects:
    """d(F_B − F_A)/dρ_j, in nats, with a replicate for each pair of runs and each chain.

    Args:
        wanted: draws around runs that ended at A, one posterior's tree a run.
        unwanted: as many, around runs that ended at B, with the same nβ, chains and probe.
        on: the probe.

    Raises:
        ValueError: no runs, or not equally many of each kind; draws that differ in nβ, in the
            number of chains or in the samples of the probe; nβ of 0; a failed chain.
    """
    if not wanted or len(wanted) != len(unwanted):
        raise ValueError(
            "equally many runs of each solution are needed, and at least one; got "
            f"{len(wanted)} wanted and {len(unwanted)} unwanted."
        )
    both = [*wanted, *unwanted]
    alike: dict[str, list[float | str]] = {
        "nβ": [float(posterior_dataset(draws).attrs["nbeta"]) for draws in both],
        "number of chains": [posterior_dataset(draws).sizes["chain"] for draws in both],
        f"samples of {on!r}": [
            probe_dataset(draws, on).attrs["data_fingerprint"] for draws in both
        ],
    }
    for name, of_runs in alike.items():
        if len(set(of_runs)) > 1:
            raise ValueError(f"the draws differ in their {name}: {of_runs}; sample all runs alike.")
    rows = [_pulls(draws, on) for draws in both]
    values = np.stack(rows[len(wanted) :]) - np.stack(rows[: len(wanted)])
    if values.shape[0] * values.shape[1] < 2:
        raise ValueError("one chain of one pair of runs tells no error; give more of either.")
    readings = [llc(draws) for draws in both]
    reasons = sorted({str(r["reasons"].item()) for r in readings if not bool(r["ok"])})
    return Effects(
        (PREFERENCE,), values[:, :, None], not reasons, "; ".join(reasons),
        str(probe_dataset(both[0], on).attrs["data_fingerprint"]),
        np.ones(values.shape[-1], bool),
    )  # fmt: skip


def _pulls(draws: xr.DataTree, on: str) -> Array:
    """dF/dρ_j (C, N) of one solution."""
    nbeta = float(posterior_dataset(draws).attrs["nbeta"])
    if nbeta == 0:
        raise ValueError("nβ is 0 in these draws: a control, in which the data have no effect.")
    probe = probe_dataset(draws, on)
    mask = probe["mask"].astype(bool)
    mean = probe["unit_mean"].astype("float64").where(mask, 0.0)
    if "token" in mean.dims:
        mean = mean.sum("token", skipna=False)
    pulls: Array = (nbeta / float(mask.sum())) * mean.transpose("chain", "sample").values
    if not np.isfinite(pulls).all():
        raise ValueError("losses of some samples are not finite: a chain failed; lower its step.")
    return pulls
