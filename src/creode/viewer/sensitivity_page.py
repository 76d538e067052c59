"""The sensitivity of λ̂ to its settings as a page.

Here: gathering words, data and the chart.
Not here: rows and chart (sensitivity.py), what every page needs (rendering.py), the page's markup,
look and behaviour (template/).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from creode.viewer.readings import Row, as_columns
from creode.viewer.rendering import made_by, rendered, settings, write_page
from creode.viewer.sensitivity import (
    SensitivityReport,
    cell_rows,
    chart_rows,
    llc_over_settings,
    slope_rows,
)
from creode.viewer.wording import SENSITIVITY_GLOSSARY, doubts


def write_sensitivity_report(results: SensitivityReport, path: str | Path) -> Path:
    """Write the page to `path`, replacing a file that is there only once it is complete.

    Returns:
        The path of the page.
    Raises:
        ValueError: the path does not end in .html.
    """
    return write_page(_page(results), path)


def _page(report: SensitivityReport) -> str:
    readings = report.readings
    figure = llc_over_settings(readings)
    rows = cell_rows(readings)
    data: dict[str, Any] = {
        "figures": {figure.name: {"chart": figure.chart, "facet": figure.facet_width}},
        "datasets": {"cells": as_columns(chart_rows(readings))},
    }
    return rendered(
        "sensitivity",
        data,
        title=report.title,
        scope=_scope(readings.attrs, rows),
        chosen=next(row for row in rows if row["chosen"]),
        slopes=slope_rows(readings),
        figure_of_cells=figure,
        cells=rows,
        doubts=doubts(rows),
        warnings=report.warnings,
        config=list(settings(report.config)),
        command="",
        glossary=SENSITIVITY_GLOSSARY,
        made_by=made_by(readings.attrs),
    )


def _scope(attrs: dict[Any, Any], rows: list[Row]) -> str:
    return (
        f"{len(rows)} settings · {attrs['chains']} chains · "
        f"{attrs['gradient_evaluations']:,} gradients a chain in all"
    )
