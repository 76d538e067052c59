"""Readings of a checkpoint's weights that need no draws: norm, curvature, whatever a user measures.

Here: taking them once a checkpoint into the run directory, and reading them back.
Not here: what they are (sampling/curvature.py, metrics.py), when (run.py), readings from draws
(readings.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from creode.components import slug
from creode.development.reading import Given, as_reading
from creode.posterior import LocalPosterior
from creode.sampling import Execution
from creode.sampling.curvature import curvature, weight_norm
from creode.store import Store

GROUP = "measures"  # of the store, above checkpoint and measure
TAKEN = ("llc", "loss", "ok", "component_llc", "probe_llc", "probe_loss", "chi", "checkpoint")
Measure = Callable[[], Mapping[str, Given]]


def weight_measures(
    names: tuple[str, ...], posterior: LocalPosterior, execution: Execution
) -> dict[str, Measure]:
    """What the measures of weights are of: the posterior's component, on its data."""

    def norm() -> dict[str, Given]:
        return {"weight_norm": weight_norm(posterior)}

    def hessian() -> dict[str, Given]:
        found = curvature(posterior, execution)
        return {"hessian_max": found.largest, "hessian_trace": (found.trace, found.trace_se)}

    known: dict[str, Measure] = {"weight_norm": norm, "hessian": hessian}
    return {name: known[name] for name in names if name in known}


def take(store: Store, step: str, measures: Mapping[str, Measure]) -> None:
    """Take what the store does not hold yet of a checkpoint.

    Raises:
        ValueError: what was measured is no reading, or has the name of another.
    """
    for name, measure in measures.items():
        key = (GROUP, step, slug(name))
        if not store.has(key):
            store.write(key, xr.DataTree(as_dataset(name, measure())))


def as_dataset(source: str, given: Mapping[str, Given]) -> xr.Dataset:
    """Readings by name as scalars, each with `_ok`, and `_se` where it came with an error.

    Raises:
        ValueError: no reading, or two of one name.
    """
    values: dict[str, float | bool] = {}
    for name, one in given.items():
        try:
            reading = as_reading(str(name), one)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        if not str(name).isidentifier():
            raise ValueError(
                f"{source}: {name!r} must be of letters, digits and _ to name a reading."
            )
        parts: dict[str, float | bool] = {str(name): reading.value, f"{name}_ok": reading.ok}
        if not math.isnan(reading.se):
            parts[f"{name}_se"] = reading.se
        if twice := sorted(parts.keys() & {*values, *TAKEN}):
            raise ValueError(f"{source}: {', '.join(twice)} is the name of another reading.")
        values |= parts
    return xr.Dataset(values)


def measured(store: Store) -> xr.Dataset:
    """Every measure along checkpoints, dim checkpoint (training steps); NaN where there is none.

    Raises:
        ValueError: two measures have a reading of one name.
    """
    taken = [key for key in store.keys() if key[0] == GROUP]  # noqa: SIM118 - no mapping
    if not taken:
        return xr.Dataset()
    rows = []
    for step, group in store.read((GROUP,))[GROUP].children.items():
        row: dict[str, Any] = {}
        for name, node in group.children.items():
            found = {str(n): v.item() for n, v in node.to_dataset().data_vars.items()}
            if twice := sorted(row.keys() & found.keys()):
                raise ValueError(f"{name}: {', '.join(twice)} is the name of another reading.")
            row |= found
        at = int(step.removeprefix("step_"))
        rows.append(xr.Dataset(row).expand_dims(checkpoint=[at]))
    joined = xr.concat(rows, "checkpoint", data_vars="all", join="outer").sortby("checkpoint")
    flags = [name for name in joined if str(name).endswith("_ok")]
    return joined.assign({name: joined[name].fillna(False).astype(bool) for name in flags})
