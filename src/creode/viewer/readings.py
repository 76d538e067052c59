"""Labelled results as rows for charts and tables.

Here: one row per reading with its numbers and their text, losses along training, and the column
form in which the page holds them.
Not here: estimates (the numbers are copied), chains (traces.py).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from creode.geometry.over_study import NOT_RUN
from creode.viewer.report import checkpoints, components
from creode.viewer.wording import number, with_error

Row = dict[str, Any]

OWN = "data"  # what the posterior's own data are called beside probes
HEADS, PARTS = "heads", "parts"  # heads are drawn apart: their λ̂ is far smaller
MAX_LOSSES = 2000  # losses drawn per series; more are left out evenly in log step
DIGITS = 8  # significant digits kept in the page

_HEAD = re.compile(r"l(\d+)h(\d+)")
_NUMBERS = (
    "llc",
    "llc_se",
    "llc_variance",
    "llc_variance_se",
    "ess",
    "rhat",
    "virial",
    "virial_se",
    "temperature",
    "temperature_se",
)
_TEXTS = ("llc", "llc_variance", "virial", "temperature")


def readings(llc: xr.Dataset) -> list[Row]:
    """One row per reading that was taken; a pair that no posterior has is left out."""
    grid = llc.reset_coords(drop=True)
    steps, names = checkpoints(llc), components(llc)
    rows = []
    for i, step in enumerate(steps):
        for j, name in enumerate(names):
            position = {"checkpoint": i, "component": j}
            cell = grid.isel({dim: at for dim, at in position.items() if dim in grid.dims})
            if _was_taken(cell):
                rows.append(_row(step, name, cell))
    return rows


def compared_steps(rows: Iterable[Row]) -> list[int | None]:
    """Checkpoints at which several components were read; every checkpoint if there is none."""
    counts = Counter(row["step"] for row in rows)
    return [step for step, count in counts.items() if count > 1] or list(counts)


def probe_readings(llc_on: Mapping[str, xr.Dataset]) -> list[Row]:
    """The rows of every probe, each with the probe's name."""
    return [{"probe": str(probe), **row} for probe, llc in llc_on.items() for row in readings(llc)]


def losses(training: xr.Dataset, marked: Sequence[int]) -> list[Row]:
    """Rows (step, series, loss, near): the training loss, then held-out losses, finite values only.

    Args:
        training: losses by step.
        marked: checkpoints. Of each series the row nearest to one has it as `near`, others None.
    """
    rows = []
    for name, values in training.data_vars.items():
        series = str(values.attrs.get("long_name", "training" if name == "loss" else name))
        kept = values.where(np.isfinite(values), drop=True)
        steps = kept["step"].values
        if not len(steps):
            continue
        nearest = {int(np.abs(steps - mark).argmin()): int(mark) for mark in marked}
        for at in sorted({*_log_spaced(steps, MAX_LOSSES).tolist(), *nearest}):
            loss = rounded(float(kept[at]))
            rows.append(
                {"step": int(steps[at]), "series": series, "loss": loss, "near": nearest.get(at)}
            )
    return rows


def as_columns(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """Rows as one list a column, so that the page spells each name once."""
    rows = list(rows)
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def rounded(value: float) -> float | None:
    """The value to DIGITS significant digits; None if it is not finite (JSON has no NaN)."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def group_of(component: str) -> str:
    """HEADS for a single attention head, PARTS for anything else."""
    return HEADS if _HEAD.fullmatch(component) else PARTS


def _row(step: int | None, component: str, cell: xr.Dataset) -> Row:
    head = _HEAD.fullmatch(component)
    numbers = {name: float(cell[name]) for name in _NUMBERS}
    ok = bool(cell["ok"])
    reasons = str(cell["reasons"].item())
    return {
        "step": step,
        "component": component,
        "group": group_of(component),
        "layer": int(head[1]) if head else None,
        "head": int(head[2]) if head else None,
        **{name: rounded(value) for name, value in numbers.items()},
        **{f"{name}_text": with_error(numbers[name], numbers[f"{name}_se"]) for name in _TEXTS},
        "llc_short": number(numbers["llc"]),
        "ok": ok,
        "reasons": "" if ok else reasons or "no reason was stored",
        "notes": str(cell["notes"].item()) if "notes" in cell else "",
    }


def _was_taken(cell: xr.Dataset) -> bool:
    """Whether a posterior exists here: a study may have gaps, and so may joined readings."""
    reasons = cell["reasons"].item()
    return isinstance(reasons, str) and reasons != NOT_RUN


def _log_spaced(steps: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most `most` steps, about evenly spaced in log(1 + step), both ends kept."""
    if len(steps) <= most:
        return np.arange(len(steps))
    position = np.log1p(steps - steps[0])
    grid = np.linspace(0, position[-1], most)
    return np.unique(np.searchsorted(position, grid).clip(max=len(steps) - 1))
