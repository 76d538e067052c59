"""Which samples, and which groups of them, drive a behaviour, with errors and false discoveries.

A behaviour's φ is its margin, unwanted over wanted. A sample drives it if φ grows with the sample's
weight, and holds it back if φ falls. Which do is told from ranks, how much they do from effects.

Here: effects of samples and of groups, which of them are significant, effects of shifts of groups.
Not here: effects and ranks (patterning/effects.py, associations.py), discovery rates (response/).
Dimensions: C chains, b blocks, K behaviours, N samples, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.patterning.effects import Effects
from creode.response.discoveries import significant
from creode.response.uncertainty import estimate, p_value

REPLICATES = ("chain", "block", "behaviour")


def sample_drivers(found: Effects, ranks: Effects, rate: float = 0.05) -> xr.Dataset:
    """What each sample does to each behaviour.

    Args:
        found: of `creode.patterning.effects`, observables being behaviours' margins.
        ranks: of `creode.patterning.associations`, of the same.
        rate: of false discoveries among a behaviour's samples.

    Returns:
        Dims (behaviour, sample): association, association_se: how surely the behaviour grows with
        the sample's weight, −1 to 1, by which samples are ordered and found; its z, p (two-sided)
        and significant; driver, holder: significant and positive, or negative. effect, effect_se:
        the change of φ if the sample's weight were 2 in place of 1, to first order.
    """
    each, sure = (
        xr.DataArray(
            one.replicates, dims=(*REPLICATES, "sample"), coords={"behaviour": list(found.names)}
        )
        for one in (found, ranks)
    )
    told = _told(sure, rate, among="sample", name="association")
    return told.assign(estimate(each, "effect").drop_vars("effect_dof"))


def group_drivers(found: Effects, groups: ArrayLike, rate: float = 0.05) -> xr.Dataset:
    """What each group of samples does to each behaviour.

    Args:
        groups: a label a sample (N,).
        rate: of false discoveries among all behaviours and groups.

    Returns:
        Dims (behaviour, group): effect, effect_se: the change of φ if every weight in the group
        were 2 in place of 1, and its opposite that of leaving the group out, to first order; z, p,
        significant, driver, holder of it. Beside them size and share (group,) of the samples.

    Raises:
        ValueError: another number of labels than samples, or fewer than two groups.
    """
    labels, member = _grouped(found, groups)
    by_group = _by_group(found, member, len(labels))
    sizes = np.bincount(member)
    out = _told(by_group.assign_coords(group=labels), rate)
    return out.assign(size=("group", sizes), share=("group", sizes / len(member)))


def shifted(
    found: Effects, groups: ArrayLike, shifts: Mapping[str, Mapping[str, float]], rate: float = 0.05
) -> xr.Dataset:
    """What changes of the groups' weights do to each behaviour.

    Args:
        groups: a label a sample (N,).
        shifts: by name of the shift, the factor by which a group's weight is multiplied; groups
            that are not named stay. The mean weight is brought back to 1.
        rate: of false discoveries among all behaviours and shifts.

    Returns:
        Dims (behaviour, shift), as of `group_drivers`: effect is the change of φ to first order.

    Raises:
        ValueError: a group that is not there, a factor that is no finite number ≥ 0.
    """
    labels, member = _grouped(found, groups)
    by_group = _by_group(found, member, len(labels))
    share = np.bincount(member) / len(member)
    known = {str(label): i for i, label in enumerate(labels)}
    columns = []
    for name, factors in shifts.items():
        unknown = sorted(set(factors) - set(known))
        if unknown:
            raise ValueError(f"shift {name!r}: no group {unknown}; there are {sorted(known)}.")
        rho = np.ones(len(labels))
        for group, factor in factors.items():
            if not (math.isfinite(factor) and factor >= 0):
                raise ValueError(f"shift {name!r}: {group} {factor!r} is no finite number ≥ 0.")
            rho[known[group]] = factor
        mean = float(rho @ share)
        if not mean:
            raise ValueError(f"shift {name!r} leaves no sample with a weight.")
        columns.append(by_group @ xr.DataArray(rho / mean - 1, dims="group"))
    together = xr.concat(columns, xr.Variable("shift", list(shifts)))
    return _told(together.transpose(*REPLICATES, "shift"), rate)


def _told(
    replicates: xr.DataArray, rate: float, among: str | None = None, name: str = "effect"
) -> xr.Dataset:
    out = estimate(replicates, name)
    value, error = out[name], out[f"{name}_se"]
    p = p_value(value, error, out[f"{name}_dof"])
    found = significant(p, rate, among=among)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = value / error
    return out.drop_vars(f"{name}_dof").assign(
        z=z, p=p, significant=found, driver=found & (value > 0), holder=found & (value < 0)
    )


def _grouped(found: Effects, groups: ArrayLike) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    labels, member = np.unique(found.by_unit("groups", groups), return_inverse=True)
    if len(labels) < 2:
        raise ValueError(f"all samples are of one group, {labels[0]!r}: there is none to compare.")
    return labels, member.astype(np.int64)


def _by_group(found: Effects, member: NDArray[np.int64], count: int) -> xr.DataArray:
    """Replicates (chain, block, behaviour, group) of the sum over each group's samples."""
    belongs = (member[:, None] == np.arange(count)).astype(np.float64)
    return xr.DataArray(
        found.replicates @ belongs, dims=(*REPLICATES, "group"),
        coords={"behaviour": list(found.names)},
    )  # fmt: skip
