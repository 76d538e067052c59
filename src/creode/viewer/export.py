"""Still pictures of a report's charts, as PNG and SVG files, with titles and without a browser.

Here: filling a chart's data in, its size, title and light colours, and writing files.
Not here: what the charts are (figures.py).
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from creode.components import slug
from creode.viewer import development
from creode.viewer.audit_charts import audit_figures, picked
from creode.viewer.audit_report import AuditReport
from creode.viewer.audit_rows import datasets as audit_datasets
from creode.viewer.figure import Figure
from creode.viewer.figures import chain_figures, figures, loss_rows
from creode.viewer.loop_page import loop_datasets, loop_figures
from creode.viewer.loop_report import LoopReport
from creode.viewer.readings import OWN, Row, compared_steps, probe_readings, readings
from creode.viewer.report import ReadingKey, Report
from creode.viewer.response import loading_rows, mode_rows, response_rows, views
from creode.viewer.response_page import response_figures
from creode.viewer.response_report import ResponseReport
from creode.viewer.sensitivity import SensitivityReport, chart_rows, llc_over_settings
from creode.viewer.theme import LIGHT, coloured, role
from creode.viewer.traces import rows as trace_rows
from creode.viewer.writing import datasets as writing_datasets
from creode.viewer.writing_charts import writing_figures
from creode.viewer.writing_report import WritingReport

FORMATS = ("png", "svg")
_WIDTH = 760  # px
_PANELS_WIDTH = 846  # of the panels of a row, with the gaps between them
_NARROW_WIDTH = 480
_PNG_SCALE = 2.0
_LINE = 110  # characters of the caption on a line, about the width of a wide chart

Data = Mapping[str, Sequence[Row]]


def export_charts(
    report: Report | ResponseReport | AuditReport | LoopReport | WritingReport,
    directory: str | Path,
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Write every chart of the report into `directory`, one file a chart and format.

    Charts of one checkpoint show the last; each reading with traces has its three charts. Of
    responses, every view and the loadings of every resolved mode have one; of an audit, every
    behaviour that the page would let choose.

    Returns:
        The files written, in the order of the page.
    Raises:
        ValueError: a format that is neither png nor svg.
    """
    if isinstance(report, LoopReport):
        stills = _told_stills(loop_figures(report), loop_datasets(report))
    elif isinstance(report, WritingReport):
        figures_of_weights = writing_figures(report.writings)
        stills = _told_stills(figures_of_weights, writing_datasets(report.writings))
    elif isinstance(report, AuditReport):
        stills = _audit_stills(report)
    elif isinstance(report, Report):
        stills = _stills(report)
    else:
        stills = _response_stills(report)
    return _write(stills, directory, formats)


def export_sensitivity(
    report: SensitivityReport, directory: str | Path, formats: Sequence[str] = FORMATS
) -> list[Path]:
    """Write the chart of λ̂ over its settings into `directory`, a file a format.

    Returns:
        The files written.
    Raises:
        ValueError: a format that is neither png nor svg.
    """
    figure = llc_over_settings(report.readings)
    data: Data = {"cells": chart_rows(report.readings)}
    stills = [(figure.name, _still(figure, figure.title, data))]
    return _write(stills, directory, formats)


def _write(
    stills: Iterable[tuple[str, dict[str, Any]]], directory: str | Path, formats: Sequence[str]
) -> list[Path]:
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(f"unknown chart format {unknown[0]!r}; choose among {', '.join(FORMATS)}.")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, chart in stills:
        for kind in formats:
            path = directory / f"{name}.{kind}"
            path.write_bytes(_rendered(chart, kind))
            written.append(path)
    return written


def _stills(report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
    """File name and finished chart, one after another: a run can have many chains to draw."""
    found = figures(report)
    rows = development.with_alarms(readings(report.llc), report.development)
    last = compared_steps(rows)[-1]
    probes = [{"probe": OWN, **row} for row in rows] + probe_readings(report.llc_on)
    shared: Data = {
        "losses": loss_rows(report),
        "readings": rows,
        "current": [row for row in rows if row["step"] == last],
        "probes": [row for row in probes if row["step"] == last],
    }
    if report.development is not None:
        shared = {**shared, **development.datasets(report.development)}
    at = "" if last is None else f", at step {last:,}"
    for figure in found:
        if figure.section != "chains":
            where = at if figure.section in ("components", "probes") else ""
            yield figure.name, _still(figure, figure.title + where, shared)
    yield from _chain_stills(report.traces, rows)


def _told_stills(
    found: Iterable[Figure], data: Mapping[str, Sequence[Row]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for figure in found:
        yield figure.name, _still(figure, figure.title, data)


def _response_stills(report: ResponseReport) -> Iterator[tuple[str, dict[str, Any]]]:
    found = {figure.name: figure for figure in response_figures(report)}
    if report.response is not None:
        rows, names = response_rows(report.response), views(report.response)
        figure = found["response_heat_map"]
        for name in names:
            title = figure.title if len(names) == 1 else f"{figure.title}, {name}"
            data: Data = {"response": [row for row in rows if row["view"] == name]}
            file = figure.name if len(names) == 1 else f"{figure.name}_{slug(name)}"
            yield file, _still(figure, title, data)
    if report.modes is not None:
        yield from _mode_stills(report.modes, found)
    if report.llc is not None:
        yield from _chain_stills(report.traces, readings(report.llc))


def _mode_stills(
    modes: xr.Dataset, found: Mapping[str, Figure]
) -> Iterator[tuple[str, dict[str, Any]]]:
    figure, rows = found["mode_singular_values"], mode_rows(modes)
    yield figure.name, _still(figure, figure.title, {"singular_values": rows})
    figure = found["mode_loadings"]
    of_modes = loading_rows(modes)
    for mode in [row["mode"] for row in rows if row["resolved"]]:
        data = {"loadings": [row for row in of_modes if row["mode"] == mode]}
        yield f"{figure.name}_{mode}", _still(figure, f"{figure.title} of mode {mode}", data)


def _audit_stills(report: AuditReport) -> Iterator[tuple[str, dict[str, Any]]]:
    found, rows = audit_figures(report), audit_datasets(report)
    several = {"samples": list(report.audit.behaviours), "mending": list(report.audit.mending)}
    for figure in found:
        if figure.section in ("modes", "chains"):
            continue
        names = several.get(figure.section, [""])
        for place, name in enumerate(names):
            file = f"{figure.name}_{slug(name)}" if len(names) > 1 else figure.name
            title = f"{figure.title}: {name}" if name else figure.title
            yield file, _still(figure, title, picked(rows, place))
    if report.audit.modes is not None:
        yield from _mode_stills(report.audit.modes, {figure.name: figure for figure in found})
    yield from _chain_stills(report.traces, readings(report.llc))


def _chain_stills(
    traces: Mapping[ReadingKey, xr.Dataset], rows: Sequence[Row]
) -> Iterator[tuple[str, dict[str, Any]]]:
    if not traces:
        return
    figures = chain_figures(max(trace.sizes["chain"] for trace in traces.values()))
    for (step, component), trace in traces.items():
        draws, lags = trace_rows(trace)
        chosen = [row for row in rows if (row["step"], row["component"]) == (step, component)]
        data: Data = {"draws": draws, "lags": lags, "chosen": chosen}
        where = component if step is None else f"{component} at step {step:,}"
        for figure in figures:
            title = f"{figure.title}, {where}"
            yield f"{figure.name}_{_file_name(step, component)}", _still(figure, title, data)


def _still(figure: Figure, title: str, data: Data) -> dict[str, Any]:
    text = _plain(json.dumps(figure.chart, ensure_ascii=False))
    chart: dict[str, Any] = coloured(json.loads(text), LIGHT)
    chart["data"] = [
        {**entry, "values": data[entry["name"]]} if entry["name"] in data else entry
        for entry in chart["data"]
    ]
    chart["title"] = coloured(
        {
            "text": _plain(title),
            "subtitle": textwrap.wrap(_plain(figure.caption), _LINE),
            "color": role("ink"),
            "subtitleColor": role("muted"),
            "anchor": "start",
            "frame": "bounds",
            "fontSize": 17,
            "subtitleFontSize": 12,
            "subtitlePadding": 6,
            "offset": 18,
        },
        LIGHT,
    )
    chart["background"] = "white"
    chart["padding"] = 16
    chart["description"] = figure.description
    if figure.facet_width is None:
        chart["width"] = _WIDTH if figure.wide else _NARROW_WIDTH
    else:
        columns, gap = chart["layout"]["columns"], chart["layout"]["padding"]["column"]
        width = (_PANELS_WIDTH - (columns - 1) * gap) / columns
        panel = {"name": "child_width", "value": width}
        chart["signals"] = [
            panel if signal["name"] == "child_width" else signal for signal in chart["signals"]
        ]
    return chart


def _plain(text: str) -> str:
    """Text in letters that every font has: one that is missing changes the font of the line."""
    return text.replace("λ̂", "LLC").replace("✕", "×")


def _rendered(chart: dict[str, Any], kind: str) -> bytes:
    import vl_convert

    if kind == "svg":
        return str(vl_convert.vega_to_svg(chart)).encode("utf-8")
    return bytes(vl_convert.vega_to_png(chart, scale=_PNG_SCALE))


def _file_name(step: int | None, component: str) -> str:
    """The reading's name as part of a file name, different for different readings."""
    return slug(component) if step is None else f"step_{step:06d}_{slug(component)}"
