"""Parts of a model in groups of one shape, as records of a development.

Here: whether there are parts to group, and each group in plain values.
Not here: shapes and their stability (development/shapes.py).
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from creode.development import shapes

PARTS = "component_llc"  # of the trajectory
FEWEST_PARTS = 3


def shapes_of(trajectory: xr.Dataset) -> xr.Dataset | str:
    """`creode.development.shapes` of refined λ̂ along checkpoints, or why there are none."""
    if PARTS not in trajectory or trajectory.sizes["component"] < FEWEST_PARTS:
        return f"fewer than {FEWEST_PARTS} parts were read along checkpoints"
    try:
        return shapes(trajectory, PARTS)
    except ValueError as error:
        return str(error)


def group_records(found: xr.Dataset) -> list[dict[str, Any]]:
    """One record a group, those that do not move last: group, parts, stability, stable."""
    labels, names = found["label"].values, found["component"].values.astype(str)
    records: list[dict[str, Any]] = [
        {
            "group": int(group),
            "parts": names[labels == group].tolist(),
            "stability": float(found["stability"].sel(group=group)),
            "stable": bool(found["stable"].sel(group=group)),
        }
        for group in found["group"].values
    ]
    still = names[labels == 0].tolist()
    if still:
        records.append({"group": None, "parts": still, "stability": None, "stable": True})
    return records
