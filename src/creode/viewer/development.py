"""Rows of a development for its charts.

Here: readings along checkpoints, stages, boundaries and alarms as rows.
Not here: finding any of them (development/), their container (development_report.py), tables in
words (stages.py), charts (development_charts.py).
Data sets: `development`, λ̂ and loss with the curve of stages; `measures`, other readings of one
number; `chi`; `chi_path`; `influence`; `plane`; `stages`; `boundaries`; `alarms`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from creode.viewer.development_report import DevelopmentReport
from creode.viewer.influence_along import influence_rows
from creode.viewer.plane import chi_path_rows, plane_rows
from creode.viewer.readings import OWN, Row, rounded
from creode.viewer.stages import in_words
from creode.viewer.wording import with_error

LLC, LOSS = "llc", "loss"  # panels
CURVE, READING = "curve", "reading"  # what a row of `development` is


def datasets(report: DevelopmentReport) -> dict[str, list[Row]]:
    """The rows of every data set of the development's charts."""
    return {
        "development": [*_llc_rows(report), *_loss_rows(report), *_curve_rows(report)],
        "measures": measure_rows(report),
        "chi": chi_rows(report),
        "chi_path": chi_path_rows(report),
        "influence": influence_rows(report),
        "plane": plane_rows(report),
        "stages": stage_bands(report),
        "boundaries": boundary_rows(report),
        "alarms": alarm_rows(report),
    }


def measures(report: DevelopmentReport) -> list[str]:
    """Further readings that are one number a checkpoint."""
    table = report.trajectory
    return [
        name
        for name in map(str, table.data_vars)
        if table[name].dims == ("checkpoint",)
        and table[name].dtype.kind == "f"
        and name not in ("llc", "loss")
        and not (name.endswith("_se") and name.removesuffix("_se") in table)
    ]


def measure_rows(report: DevelopmentReport) -> list[Row]:
    """The further readings, with errors where they have them."""
    table = report.trajectory
    return [
        row
        for name in measures(report)
        for row in _readings(
            name,
            *(table.get(one) for one in (name, f"{name}_se", f"{name}_ok")),
            panel=in_words(name),
            series=OWN,
        )
    ]


def chi_rows(report: DevelopmentReport) -> list[Row]:
    """χ of each component to each probe along checkpoints."""
    table = report.trajectory
    if "chi" not in table:
        return []
    names = ("chi", "chi_se", "chi_ok")
    return [
        row
        for part in table["component"].values
        for probe in table["probe"].values
        for row in _readings(
            f"chi[{part},{probe}]",
            *(table[name].sel(component=part, probe=probe) for name in names),
            panel=str(part),
            series=str(probe),
        )
    ]


def stage_bands(report: DevelopmentReport) -> list[Row]:
    """Where each stage lies and whether λ̂ moves in it."""
    return [
        {
            "start": stage["start"],
            "end": stage["end"],
            "moves": stage["kind"] != "plateau",
            "stage": str(stage["stage"]),
            "label": f"{stage['stage']} {stage['kind']}",
        }
        for stage in report.found
    ]


def boundary_rows(report: DevelopmentReport) -> list[Row]:
    """Where stages begin, with the 95 % interval."""
    return [
        {"step": stage["start"], "low": stage["begins_low"], "high": stage["begins_high"]}
        for stage in report.found
        if stage["begins_low"] is not None
    ]


def alarm_rows(report: DevelopmentReport) -> list[Row]:
    """A row for each checkpoint at which an alarm rang, with what it rang for."""
    rang: dict[int, list[Mapping[str, Any]]] = {}
    for event in report.rang:
        rang.setdefault(int(event["step"]), []).append(event)
    return [
        {
            "step": step,
            "title": f"Alarm at step {step:,}",
            "words": [f"{in_words(event['reading'])}, {event['kind']}" for event in events],
        }
        for step, events in sorted(rang.items())
    ]


def with_alarms(rows: Sequence[Row], report: DevelopmentReport | None) -> list[Row]:
    """Rows of readings of λ̂, each with `alarm`, the kind of event if it made an alarm ring."""
    if report is None:
        return [*rows]
    rang = {}
    for event in report.rang:
        name = str(event["reading"])
        component = report.component if name == "llc" else _label(name, "component_llc")
        rang[int(event["step"]), component] = str(event["kind"])
    return [row | {"alarm": rang.get((row["step"], row["component"]))} for row in rows]


def _label(reading: str, variable: str) -> str | None:
    """Whose reading `variable[label]` is, if it is one of that variable."""
    before, _, label = reading.partition("[")
    return label.removesuffix("]") if before == variable else None


def series_of(report: DevelopmentReport) -> list[str]:
    """Names of the data that λ̂ and losses are of."""
    return list(dict.fromkeys(row["series"] for row in _loss_rows(report)))


def _llc_rows(report: DevelopmentReport) -> Iterator[Row]:
    table = report.trajectory
    found = (table[name] for name in ("llc", "llc_se", "ok"))
    for row in _readings("llc", *found, panel=LLC, series=OWN):
        yield row | {"component": report.component}


def _loss_rows(report: DevelopmentReport) -> Iterator[Row]:
    table = report.trajectory
    own = (table.get(name) for name in ("loss", "loss_se", "loss_ok"))
    yield from _readings("loss", *own, panel=LOSS, series=OWN)
    if "probe_loss" not in table:
        return
    for probe in table["probe"].values:
        at = table.sel(probe=probe)
        found = (at.get(name) for name in ("probe_loss", "probe_loss_se", "probe_loss_ok"))
        yield from _readings(f"probe_loss[{probe}]", *found, panel=LOSS, series=str(probe))


def _readings(
    reading: str,
    value: xr.DataArray | None,
    error: xr.DataArray | None,
    ok: xr.DataArray | None,
    *,
    panel: str,
    series: str,
) -> Iterator[Row]:
    """Rows of one reading; without an error there is no interval, without a verdict no doubt."""
    assert value is not None
    errors = np.full(value.shape, np.nan) if error is None else error.values
    trusted = np.ones(value.shape, bool) if ok is None else ok.values.astype(bool)
    steps = value["checkpoint"].values
    for step, at, se, good in zip(steps, value.values, errors, trusted, strict=True):
        yield _blank() | {
            "what": READING,
            "panel": panel,
            "series": series,
            "step": int(step),
            "value": rounded(float(at)),
            "low": rounded(float(at - 2 * se)),
            "high": rounded(float(at + 2 * se)),
            "title": f"{in_words(reading)} at step {int(step):,}",
            "text": with_error(float(at), float(se)),
            "ok": bool(good),
        }


def _curve_rows(report: DevelopmentReport) -> Iterator[Row]:
    if report.curve is None:
        return
    names = ("curve", "curve_se")
    values, errors = (report.curve[name].values for name in names)
    for step, at, se in zip(report.curve["step"].values, values, errors, strict=True):
        yield _blank() | {
            "what": CURVE,
            "panel": LLC,
            "step": rounded(float(step)),
            "value": rounded(float(at)),
            "low": rounded(float(at - 2 * se)),
            "high": rounded(float(at + 2 * se)),
        }


def _blank() -> Row:
    """Every column of `development`, empty."""
    names = ("what", "panel", "series", "step", "value", "low", "high", "title", "text", "ok")
    return dict.fromkeys((*names, "component"))
