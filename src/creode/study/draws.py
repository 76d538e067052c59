"""The draws of a run directory as one tree, chains of all blocks together.

Here: finding the units of a store, joining their blocks; full traces stay on disk until used.
Not here: making draws (run.py), what is read from them (readings.py and its neighbours).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from creode.sampling import merge_chains, with_tighter
from creode.sampling.automatic import TIGHTER
from creode.store import Store
from creode.store.stacking import stacked
from creode.study.beside import GROUPS

TRACE = "unit_loss"  # full traces of a probe


def open_draws(path: str | Path) -> xr.DataTree:
    """The draws of a run directory, chains of all blocks together.

    Returns:
        For a run of `creode.sample` the tree that it returned; for a study one such tree at
        `/<checkpoint>/<component>`.
    """
    with Store.open(path, mode="read") as store:
        tree = store.read()
        units = dict.fromkeys(key[:-1] for key in sorted(store.keys()) if key[0] not in GROUPS)
        if not units:
            raise ValueError(
                f"{path}: no posterior of this run is complete yet; run the same command again."
            )
        nodes = {unit: _chains(tree, unit) for unit in units if unit[-1] != TIGHTER}
        for unit in units:
            if unit[-1] == TIGHTER and unit[:-1] in nodes:
                nodes[unit[:-1]] = with_tighter(nodes[unit[:-1]], _chains(tree, unit))
        if store.config.get("kind") == "sample":
            return next(iter(nodes.values()))
    return xr.DataTree(children=_nested(nodes))


def _chains(tree: xr.DataTree, unit: tuple[str, ...]) -> xr.DataTree:
    """All chains of a unit from its blocks."""
    group = tree["/".join(unit)].children.values()
    blocks = [block for block in group if "chain" in block.coords]  # else it is a unit of its own
    return _merge_lazily(sorted(blocks, key=lambda block: int(block.coords["chain"][0])))


def _merge_lazily(blocks: Sequence[xr.DataTree]) -> xr.DataTree:
    """One tree of all chains; full traces stay on disk until some of them are used."""
    bare = [block.map_over_datasets(_without_trace) for block in blocks]
    merged = merge_chains(bare)
    for node in blocks[0].subtree:
        if TRACE in node.data_vars:
            path = node.relative_to(blocks[0])
            parts = [block[path].variables[TRACE] for block in blocks]
            merged[path] = merged[path].assign({TRACE: stacked(parts)})
    return merged


def _without_trace(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.drop_vars(TRACE, errors="ignore")


def _nested(nodes: Mapping[tuple[str, ...], xr.DataTree]) -> dict[str, Any]:
    children: dict[str, dict[str, xr.DataTree]] = {}
    for (step, name), node in nodes.items():
        children.setdefault(step, {})[name] = node
    return {step: xr.DataTree(children=parts) for step, parts in children.items()}
