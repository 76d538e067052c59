"""Which readings moved most in a stage.

Here: readings with errors whose difference over a stage is beyond doubt, the surest first.
Not here: the differences and the control of false discoveries (development/changes.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from creode.development.changes import BEYOND

SUBJECTS = ("llc", "loss")  # what stages are told by; what else moved is told beside
MOST = 3


def moved_most(trajectory: xr.Dataset, stage: xr.Dataset) -> list[dict[str, Any]]:
    """At most three records: reading (`name`, or `name[label,…]`), delta, delta_se.

    Args:
        trajectory: the readings along checkpoints; those without an error cannot be in doubt and
            are not told.
        stage: one stage of `creode.development.stages` of it. Of readings of one kind false
            discoveries are held; one that stands alone has a test of its own, at BEYOND errors.
    """
    sure: list[tuple[float, dict[str, Any]]] = []
    for name in map(str, trajectory.data_vars):
        told = name not in SUBJECTS and f"{name}_se" in trajectory
        if not told or f"{name}_delta_se" not in stage:
            continue
        delta, error = stage[f"{name}_delta"], stage[f"{name}_delta_se"]
        z = abs(delta / error.where(error > 0))
        found = stage.get(f"{name}_significant", z > BEYOND)
        for place in np.ndindex(delta.shape):
            if not found.values[place]:
                continue
            labels = [str(delta[d].values[i]) for d, i in zip(delta.dims, place, strict=True)]
            numbers = {"delta": float(delta.values[place]), "delta_se": float(error.values[place])}
            reading = f"{name}[{','.join(labels)}]" if labels else name
            sure.append((float(z.values[place]), {"reading": reading, **numbers}))
    return [one for _, one in sorted(sure, key=lambda one: -one[0])[:MOST]]
