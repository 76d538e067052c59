"""Influence of training samples on queries along checkpoints, and what changes in it.

Here: influences of a run's draws along checkpoints, flips of sign and peaks beside the stages'
boundaries, as records with the samples' texts.
Not here: recording the losses (traced.py), the estimator (response/influence.py), flips and peaks
(development/), influence at one checkpoint (attribution.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from creode.development import Meetings, meetings, peaks, sign_flips
from creode.response import influence
from creode.response.influence import Kind
from creode.study.conclusion import finite
from creode.study.config import QUERY, TRAIN
from creode.study.draws import TRACE

INTERVALS = (("flip", "flip_after", "flip_before"), ("peak", "peak_low", "peak_high"))
VALUE = "influence"  # of a trajectory
NAMES = (VALUE, "influence_se", "influence_ok", "influence_reasons")
FLIP = ("flip_p", "flip_after", "flip_before", "num_flips")
PEAK = ("peak_p", "peak_step", "peak_low", "peak_high", "peak_value", "peak_value_se")


def without_traced(draws: xr.DataTree) -> xr.DataTree:
    """A study's draws without the probes that were recorded for influence alone."""
    return draws.filter(
        lambda node: not (node.parent is not None and node.parent.name == "probes" and _own(node))
    )


def influences(draws: xr.DataTree, kind: Kind = "covariance") -> xr.Dataset:
    """The influence of every training sample on every query, at every checkpoint.

    Args:
        draws: a study's, with full traces of both in one posterior a checkpoint.
        kind: of `creode.influence`.

    Returns:
        influence, influence_se (checkpoint, query, train), with the degrees of freedom of the error
        as attribute dof; influence_ok, influence_reasons (checkpoint,). The labels of query and
        train are positions in their data.
    """
    rows, steps, attrs = [], [], {}
    for node in draws.subtree:
        if "distance_sq" not in node.data_vars or QUERY not in _probes(node):
            continue
        reading = influence(node, query=QUERY, train=TRAIN, kind=kind)
        block = reading.block().rename(
            bif=VALUE, bif_se="influence_se", ok="influence_ok", reasons="influence_reasons"
        )
        rows.append(block[[*NAMES]])
        steps.append(int(node.attrs["checkpoint"]))
        attrs = {"dof": int(reading.attrs["blocks"]) - 1, "kind": kind,
                 "component": str(node.attrs["component"])}  # fmt: skip
    joined = xr.concat(rows, xr.Variable("checkpoint", steps), combine_attrs="drop")
    joined[VALUE].attrs.update(attrs)
    return joined.sortby("checkpoint")


def influence_changes(trajectory: xr.Dataset, stages: xr.Dataset | None, rate: float) -> xr.Dataset:
    """`sign_flips` and `peaks` of the influences that can be trusted, beside stage boundaries.

    Args:
        trajectory: with what `influences` returns.
        stages: of `creode.development.stages`; None where there are none.
        rate: of false discoveries, of flips and of peaks.

    Returns:
        Both, and if there are stages flip_meets and peak_meets (query, train): whether the 95 %
        interval of a boundary lies, in part, between the steps of the flip, or in the interval of
        the peak; with attributes flips_by_chance and peaks_by_chance, how many of those that are
        found would by chance.
    """
    trusted = trajectory[VALUE].where(trajectory["influence_ok"].astype(bool))
    error, dof = trajectory["influence_se"], trajectory[VALUE].attrs["dof"]
    flips = sign_flips(trusted, error, dof=dof, rate=rate)
    found = flips.merge(peaks(trusted, error, dof=dof, rate=rate), combine_attrs="drop_conflicts")
    found.attrs |= {"kind": trajectory[VALUE].attrs["kind"], "rate": rate}
    if stages is None:
        return found
    for name, low, high in INTERVALS:
        met = _meetings(found, name, low, high, stages, trajectory["checkpoint"].values)
        where = found[name].values
        held = np.zeros(where.shape, bool)
        held[where] = met.each
        found[f"{name}_meets"] = found[name].copy(data=held)
        found.attrs[f"{name}s_by_chance"] = met.expected
    return found


def change_records(found: xr.Dataset) -> list[dict[str, Any]]:
    """Pairs whose influence flips or peaks, surest first, as flat records.

    Each has query, train and their texts (coordinates query_text and train_text; null where there
    is none), flip and peak, and of what was found its numbers, null otherwise.
    """
    records = []
    for i, j in np.argwhere((found["flip"] | found["peak"]).values):
        one = found.isel(query=i, train=j)
        record: dict[str, Any] = {
            "query": int(one["query"]), "train": int(one["train"]),
            "query_text": _text(one, "query_text"), "train_text": _text(one, "train_text"),
        }  # fmt: skip
        for name, fields in (("flip", FLIP), ("peak", PEAK)):
            there = bool(one[name])
            more = (f"{name}_meets",) if f"{name}_meets" in one else ()
            record |= {name: there} | {
                field: one[field].item() if there else None for field in (*fields, *more)
            }
        records.append(finite(record))
    return sorted(records, key=_surest)


def _surest(record: Mapping[str, Any]) -> tuple[bool, float]:
    """Flips before peaks, each by p."""
    p = record["flip_p"] if record["flip"] else record["peak_p"]
    return not record["flip"], p


def _meetings(
    found: xr.Dataset, name: str, low: str, high: str, stages: xr.Dataset, steps: np.ndarray
) -> Meetings:
    where = found[name].values
    edges = np.stack([stages["boundary_low"].values, stages["boundary_high"].values], 1)
    return meetings(found[low].values[where], found[high].values[where], edges, steps)


def _own(node: xr.DataTree) -> bool:
    return node.name in (TRAIN, QUERY) and TRACE in node.data_vars


def _probes(node: xr.DataTree) -> Sequence[str]:
    return [*node["probes"].children] if "probes" in node.children else []


def _text(one: xr.Dataset, name: str) -> str | None:
    return str(one[name].item()) or None if name in one.coords else None
