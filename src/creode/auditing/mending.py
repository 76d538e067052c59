"""What mending a behaviour by weights on the data would cost, before anything is retrained.

Weights that lower φ the most leave fewer samples effective, and move other behaviours too.

Here: the largest change of φ for each share of samples that stay effective, cross-fitted, and what
it does to everything else.
Not here: the weights that are used in the end (patterning/pattern.py), the proof (proof.py there).
Dimensions: K observables, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from creode.patterning.effects import Effects
from creode.patterning.problem import Problem, grouped, present_weights
from creode.patterning.solvers import Furthest

SHARES = (0.99, 0.95, 0.9, 0.8, 0.5)  # of the samples that stay effective


def mending(
    found: Effects,
    behaviour: str,
    *,
    keep: Sequence[str] = (),
    shares: Sequence[float] = SHARES,
    groups: ArrayLike | None = None,
    along: Effects | None = None,
) -> xr.Dataset:
    """The furthest that weights lower a behaviour's φ, by the share of effective samples.

    Args:
        found: of `creode.patterning.effects`, observables being behaviours' margins.
        behaviour: which is to be shown less.
        keep: behaviours that are to stay where they are.
        shares: of the samples, that are to stay effective, (Σρ)²/(N Σρ²), each in (0, 1).
        groups: a label a sample (N,): those of a group weigh alike.
        along: what weights follow in the place of effects, such as
            `creode.patterning.associations`.

    Returns:
        Dims (effective, behaviour): predicted, predicted_se, p: the change of each φ to first
        order, each chain's from weights that the other chains made; dropped (effective,): share of
        the samples with less than a tenth of their weight.

    Raises:
        ValueError: no such behaviour.
        ImportError: the solver is not installed.
    """
    unknown = sorted({behaviour, *keep} - set(found.names))
    if unknown:
        raise ValueError(f"no behaviour {unknown}; there are {list(found.names)}.")
    wanted = np.array([-1.0 if name == behaviour else 0.0 for name in found.names])
    aimed = np.array([name == behaviour or name in keep for name in found.names])
    member, _ = grouped(groups, found)
    now = present_weights(None, found, member)
    given = Problem(found, wanted, aimed, member, now, along)
    rows, dropped = [], []
    for share in shares:
        constraint = Furthest(least_effective=share)
        rows.append(given.told(given.by_fold(constraint)))
        rho = 1 + given.solve(constraint, np.ones(found.replicates.shape[:2], bool))[member]
        dropped.append(float((rho < 0.1).mean()))
    out = xr.concat(rows, xr.Variable("effective", list(shares))).rename(observable="behaviour")
    return out.assign(dropped=("effective", dropped)).assign_attrs(
        mends=behaviour, keep=", ".join(keep)
    )
