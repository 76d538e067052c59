"""Readings on disk while training runs: a line of JSON a checkpoint.

    {"step": 100, "loss": 1.2, "llc": 3.1, "llc_se": 0.2, "llc_ok": true}

Here: appending a line so that a killed process leaves whole lines, and reading them back.
Not here: what is read and when (saving.py).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import xarray as xr

from creode.development.reading import Given, Reading, as_reading

READINGS = "readings.jsonl"  # its name in a directory of checkpoints
STEP = "step"
_SE, _OK = "_se", "_ok"


def append_readings(path: Path, step: int, readings: Mapping[str, Given]) -> None:
    """Add the readings of one checkpoint, on disk when this returns.

    Raises:
        ValueError: something that is no reading, or two that would have one name.
    """
    row: dict[str, Any] = {STEP: step}
    for name, given in readings.items():
        reading = as_reading(name, given)
        parts: dict[str, Any] = {name: reading.value}
        if not isinstance(given, Real):
            parts |= {name + _SE: reading.se, name + _OK: reading.ok}
        if twice := sorted(parts.keys() & row.keys()):
            raise ValueError(f"{', '.join(twice)}: the name of two things; call one otherwise.")
        row |= {key: None if _is_nan(value) else value for key, value in parts.items()}
    with path.open("ab") as file:
        file.write((json.dumps(row) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


def stored_readings(path: Path) -> dict[int, dict[str, Given]]:
    """The readings of every checkpoint by its step, ascending; a line cut short is cut off.

    Raises:
        ValueError: a line that is no such row.
    """
    if not path.is_file():
        return {}
    written = path.read_bytes()
    whole = written[: written.rfind(b"\n") + 1]
    if len(whole) < len(written):
        os.truncate(path, len(whole))
    rows: dict[int, dict[str, Given]] = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            row = json.loads(line)
            step = row.pop(STEP)
        except (json.JSONDecodeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path}: line {number} is no row of readings ({error!r}).") from error
        rows[int(step)] = {
            name: Reading(_number(value), _number(row[name + _SE]), bool(row.get(name + _OK, True)))
            if name + _SE in row
            else _number(value)
            for name, value in row.items()
            if not any(name == other + end for other in row for end in (_SE, _OK))
        }
    return {step: rows[step] for step in sorted(rows)}


def load_readings(path: str | Path) -> xr.Dataset:
    """The readings of a training run, as `alarms` takes them.

    Args:
        path: the file, or the directory of checkpoints it lies in.
    Returns:
        Dim checkpoint (training steps): every reading `x`, and `x_se` and `x_ok` where it has an
        error. NaN (and not ok) where a checkpoint has none.
    Raises:
        ValueError: no such file, or no rows in it.
    """
    file = Path(path).expanduser()
    file = file / READINGS if file.is_dir() else file
    rows = stored_readings(file)
    if not rows:
        raise ValueError(f"{file}: no readings there; a saver with read=... writes them.")
    steps = list(rows)
    variables: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows.values() for name in row):
        series = [
            as_reading(name, row.get(name, (math.nan, math.nan, False))) for row in rows.values()
        ]
        variables[name] = ("checkpoint", [reading.value for reading in series])
        if any(isinstance(row.get(name), Reading) for row in rows.values()):
            variables[name + _SE] = ("checkpoint", [reading.se for reading in series])
            variables[name + _OK] = ("checkpoint", [reading.ok for reading in series])
    return xr.Dataset(
        variables, coords={"checkpoint": ("checkpoint", steps, {"units": "training steps"})}
    )


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
