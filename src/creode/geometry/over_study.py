"""A reading mapped over a study: one posterior after another, then one labelled result.

Here: finding the posteriors of a tree, reading each, joining along checkpoint and component.
Not here: the readings, and the plan of which posteriors to sample (study.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

Reading = Callable[[xr.DataTree], xr.Dataset]
Cell = tuple[int | None, str]  # (checkpoint in training steps, component)

NOT_RUN = "not run"


def over_study(draws: xr.DataTree, reading: Reading) -> xr.Dataset:
    """Apply `reading` to one posterior's tree, or to every posterior of a study's tree.

    Args:
        draws: one posterior's tree, or a study's with posteriors below it.
        reading: from one posterior's tree to a Dataset.

    Returns:
        The reading itself for one posterior. For a study, dims (checkpoint, component) before the
        reading's own: checkpoints (training steps) ascending, components in the tree's order; the
        dimension checkpoint is absent if no posterior has one. A combination without a posterior is
        NaN, not ok, with the reason "not run". Attributes that all posteriors share stay
        attributes; those that differ become coordinates over (checkpoint, component).

    Raises:
        TypeError: `draws` is not a DataTree.
        ValueError: no posterior below `draws`; two for one combination; or some have a checkpoint
            and some have none.
    """
    if not isinstance(draws, xr.DataTree):
        raise TypeError(
            f"draws must be an xarray.DataTree as saved by sampling, got {type(draws).__name__}."
        )
    if _is_posterior(draws):
        return reading(draws)
    paths: dict[Cell, str] = {}
    results: dict[Cell, xr.Dataset] = {}
    for node in draws.subtree:
        if not _is_posterior(node):
            continue
        cell = _cell(node)
        if cell in paths:
            raise ValueError(
                f"{paths[cell]} and {node.path} both hold checkpoint {cell[0]}, component "
                f"{cell[1]!r}; keep one of them."
            )
        paths[cell] = node.path
        try:
            results[cell] = reading(node)
        except ValueError as error:
            raise ValueError(f"{node.path}: {error}") from error
    if not results:
        raise ValueError(
            "draws holds no posterior: no group has the variable 'distance_sq'. "
            "Were they saved by creode.sample, and has any unit of the study been run?"
        )
    return _join(results, paths)


def _is_posterior(node: xr.DataTree) -> bool:
    return "distance_sq" in node.data_vars


def _cell(node: xr.DataTree) -> Cell:
    checkpoint = node.attrs.get("checkpoint")
    component = str(node.attrs.get("component", "full"))
    return (None if checkpoint is None else int(checkpoint)), component


def _join(results: Mapping[Cell, xr.Dataset], paths: Mapping[Cell, str]) -> xr.Dataset:
    without = [paths[cell] for cell in results if cell[0] is None]
    if without and len(without) < len(results):
        raise ValueError(
            f"{without} have no attribute 'checkpoint' and the others do; "
            "give every posterior of a study its training step, or none."
        )
    checkpoints = sorted(
        {cell[0] for cell in results}, key=lambda step: -1 if step is None else step
    )
    components = list(dict.fromkeys(cell[1] for cell in results))
    missing = _not_run(next(iter(results.values())))
    rows = [
        _concat([results.get((step, part), missing) for part in components], "component")
        for step in checkpoints
    ]
    joined = _concat(rows, "checkpoint").assign_coords(
        component=np.array(components), checkpoint=[-1 if s is None else s for s in checkpoints]
    )
    joined = _label(joined, results)
    return joined.isel(checkpoint=0, drop=True) if without else joined


def _concat(parts: list[xr.Dataset], dim: str) -> xr.Dataset:
    """Stack along a new leading dimension; a chain that one part lacks is NaN there."""
    return xr.concat(
        parts, dim, data_vars="all", coords="minimal", compat="override", join="outer",
        combine_attrs="drop",
    )  # fmt: skip


def _not_run(like: xr.Dataset) -> xr.Dataset:
    """A reading shaped as `like` of a posterior that was not sampled."""
    blank = {name: _blank(variable) for name, variable in like.data_vars.items()}
    if "reasons" in blank:
        blank["reasons"] = xr.full_like(like["reasons"], NOT_RUN, dtype=f"<U{len(NOT_RUN)}")
    return xr.Dataset(blank)


def _blank(variable: xr.DataArray) -> xr.DataArray:
    if variable.dtype == bool:
        return xr.zeros_like(variable)
    if variable.dtype.kind in "UO":
        return xr.full_like(variable, "", dtype="<U1")
    return xr.full_like(variable, math.nan, dtype="float64")


def _label(joined: xr.Dataset, results: Mapping[Cell, xr.Dataset]) -> xr.Dataset:
    """Give `joined` the readings' attributes: shared ones as attributes, others as coordinates."""
    names = dict.fromkeys(name for part in results.values() for name in part.attrs)
    for name in names:
        if name in ("checkpoint", "component"):
            continue
        values = {cell: part.attrs.get(name) for cell, part in results.items()}
        first = next(iter(values.values()))
        if all(value == first for value in values.values()):
            joined.attrs[name] = first
        else:
            joined = joined.assign_coords({name: _spread(joined, values)})
    return joined


def _spread(joined: xr.Dataset, values: Mapping[Cell, Any]) -> xr.DataArray:
    """One attribute's values over (checkpoint, component): numbers with NaN, or text with ""."""
    numeric = all(isinstance(value, int | float) for value in values.values() if value is not None)
    steps, parts = joined["checkpoint"].values, joined["component"].values
    table: list[list[Any]] = []
    for step in steps:
        row: list[float | str] = []
        for part in parts:
            value = values.get((None if step < 0 else int(step), str(part)))
            if numeric:
                row.append(math.nan if value is None else float(value))
            else:
                row.append("" if value is None else str(value))
        table.append(row)
    return xr.DataArray(np.array(table), dims=("checkpoint", "component"))
