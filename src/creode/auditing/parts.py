"""Which parts of a model carry the effect that some samples have on a behaviour.

Sampled in one part alone, with the others held at w*, a posterior tells what more weight on those
samples would do to the behaviour through that part.

Here: that effect by part.
Not here: which samples (drivers.py), effects (patterning/effects.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.patterning.effects import effects
from creode.response.discoveries import significant
from creode.response.uncertainty import estimate, p_value


def part_effects(
    draws: Mapping[str, xr.DataTree],
    chosen: Mapping[str, NDArray[np.bool_]],
    *,
    on: str = "train",
    rate: float = 0.05,
) -> xr.Dataset:
    """The effect of chosen samples on each behaviour, through each part.

    Args:
        draws: by component, one posterior's tree each.
        chosen: by behaviour, which samples (N,); chosen on other draws than these, or the effect
            of the noise they were chosen by is in it.
        on: the probe that holds the training data.
        rate: of false discoveries among all parts and behaviours.

    Returns:
        Dims (behaviour, component): effect, effect_se, p, significant: the change of φ if these
        samples' weights were 2 in place of 1; ok, reasons (component).

    Raises:
        ValueError: no draws; a behaviour that they do not have; other numbers of samples.
    """
    if not draws:
        raise ValueError("draws names no component.")
    names = list(chosen)
    columns, verdicts = [], []
    for tree in draws.values():
        found = effects(tree, on, {name: name for name in names})
        rows = [found.replicates[:, :, k] @ chosen[name] for k, name in enumerate(names)]
        columns.append(estimate(xr.DataArray(
            np.stack(rows, 2), dims=("chain", "block", "behaviour"), coords={"behaviour": names}
        ), "effect"))  # fmt: skip
        verdicts.append((found.ok, found.reasons))
    out = xr.concat(columns, xr.Variable("component", list(draws))).transpose("behaviour", ...)
    p = p_value(out["effect"], out["effect_se"], out["effect_dof"])
    return out.drop_vars("effect_dof").assign(
        p=p, significant=significant(p, rate),
        ok=("component", [ok for ok, _ in verdicts]),
        reasons=("component", [reasons for _, reasons in verdicts]),
    )  # fmt: skip
