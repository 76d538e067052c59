"""Readings of a checkpoint's weights that need no draws: norm, curvature, whatever a user measures.

Here: taking them once a checkpoint into the run directory, and reading them back.
Not here: what they are (sampling/curvature.py, metrics.py), when (run.py), readings from draws
(readings.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import xarray as xr

from creode.components import slug
from creode.development.reading import Given, Reading, as_reading
from creode.posterior import LocalPosterior
from creode.sampling import Execution
from creode.sampling.curvature import curvature, weight_norm
from creode.store import Store

GROUP = "measures"  # of the store, above checkpoint and measure
TAKEN = ("llc", "loss", "ok", "component_llc", "probe_llc", "probe_loss", "chi", "checkpoint")
Measure = Callable[[], Mapping[str, Given]]


def weight_measures(
    names: Sequence[str], posterior: LocalPosterior, execution: Execution
) -> dict[str, Measure]:
    """What the measures of weights are of: the posterior's component, on its data."""

    def norm() -> dict[str, Given]:
        return {"weight_norm": weight_norm(posterior)}

    def hessian() -> dict[str, Given]:
        found = curvature(posterior, execution)
        largest = Reading(found.largest, ok=math.isfinite(found.largest))
        return {"hessian_max": largest, "hessian_trace": (found.trace, found.trace_se)}

    known: dict[str, Measure] = {"weight_norm": norm, "hessian": hessian}
    return {name: known[name] for name in names if name in known}


def take(store: Store, step: str, measures: Mapping[str, Measure]) -> None:
    """Take what the store does not hold yet of a checkpoint.

    Raises:
        ValueError: what was measured is no reading, or has the name of another.
    """
    for name, measure in measures.items():
        key = (GROUP, step, slug(name))
        if store.has(key):
            continue
        others = {str(n) for one in _of_step(store, step).values() for n in one.data_vars}
        store.write(key, xr.DataTree(as_dataset(name, measure(), others)))


def as_dataset(source: str, given: Mapping[str, Given], others: Collection[str] = ()) -> xr.Dataset:
    """Readings by name as scalars, each with `_ok`, and `_se` where it came with an error.

    Args:
        source: what gave them, for messages.
        given: the readings.
        others: names that are taken.

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
        if twice := sorted(parts.keys() & {*values, *others, *TAKEN}):
            raise ValueError(f"{source}: {', '.join(twice)} is the name of another reading.")
        values |= parts
    return xr.Dataset(values)


def measured(store: Store) -> xr.Dataset:
    """Every measure along checkpoints, dim checkpoint (training steps); NaN where there is none."""
    steps = sorted({key[1] for key in store.keys() if key[0] == GROUP})  # noqa: SIM118 - no mapping
    if not steps:
        return xr.Dataset()
    rows = []
    for step in steps:
        row = xr.merge(_of_step(store, step).values())
        rows.append(row.expand_dims(checkpoint=[int(step.removeprefix("step_"))]))
    joined = xr.concat(rows, "checkpoint", data_vars="all", join="outer")
    flags = [name for name in joined if str(name).endswith("_ok")]
    return joined.assign({name: joined[name].fillna(False).astype(bool) for name in flags})


def _of_step(store: Store, step: str) -> dict[str, xr.Dataset]:
    """What is held of a checkpoint, by measure; sorted, since a directory on disk has no order."""
    if not any(key[:2] == (GROUP, step) for key in store.keys()):  # noqa: SIM118 - no mapping
        return {}
    group = store.read((GROUP, step))[f"{GROUP}/{step}"]
    held = {name: group.children[name].to_dataset().load() for name in sorted(group.children)}
    return {name: one[sorted(map(str, one.data_vars))] for name, one in held.items()}
