"""The report of readings as a page.

Here: gathering words, data and charts.
Not here: what every page needs (rendering.py), the page's markup, look and behaviour (template/),
charts (figures.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from creode.viewer import development, wording
from creode.viewer.figure import Figure
from creode.viewer.figures import figures, loss_rows
from creode.viewer.influence_along import change_rows, changes_sentence
from creode.viewer.readings import OWN, Row, as_columns, compared_steps, probe_readings, readings
from creode.viewer.rendering import made_by, rendered, settings, write_page
from creode.viewer.report import Report, checkpoints
from creode.viewer.stages import event_rows, group_rows, stage_rows
from creode.viewer.traces import packed


def write_report(results: Report, path: str | Path) -> Path:
    """Write the report to `path`, replacing a file that is there only once it is complete.

    Returns:
        The path of the page.
    Raises:
        ValueError: the path does not end in .html.
    """
    return write_page(_page(results), path)


def _page(report: Report) -> str:
    rows = development.with_alarms(readings(report.llc), report.development)
    if not rows:
        raise ValueError(
            "the report has no reading: every value of llc is a gap. "
            "Give the result of creode.llc(draws) for at least one posterior."
        )
    found, beside = figures(report), report.development
    return rendered(
        "report",
        _data(report, rows, found),
        title=report.title,
        verdict=wording.verdict(rows),
        readings=rows,
        lead=_lead(rows),
        scope=_scope(report, rows),
        figures={section: [f for f in found if f.section == section] for section in _SECTIONS},
        checkpoints=list(dict.fromkeys(row["step"] for row in rows)),
        compared=compared_steps(rows),
        components=list(dict.fromkeys(row["component"] for row in rows)),
        stages=None if beside is None else stage_rows(beside.stages),
        influence=None
        if beside is None or beside.influence is None
        else {
            "sentence": changes_sentence(beside.influence),
            "rows": change_rows(beside.influence_changes),
            "total": len(beside.influence_changes),
        },
        groups=[] if beside is None else group_rows(beside.groups),
        events=[] if beside is None else event_rows(beside.events),
        warnings=report.warnings,
        config=list(settings(report.config)),
        command=report.command,
        glossary=wording.GLOSSARY,
        made_by=made_by(report.llc.attrs),
        reading_name=wording.reading_name,
    )


_SECTIONS = ("stages", "training", "components", "probes", "chains")


def _data(report: Report, rows: list[Row], found: list[Figure]) -> dict[str, Any]:
    """Everything the page's script reads; each data set once, however many charts share it."""
    beside = report.development
    order = {(row["step"], row["component"]): i for i, row in enumerate(rows)}
    return {
        "figures": {
            figure.name: {"chart": figure.chart, "facet": figure.facet_width, "title": figure.title}
            for figure in found
        },
        "compared": compared_steps(rows),
        "own": OWN,
        "readings": as_columns(rows),
        "probes": as_columns(probe_readings(report.llc_on)),
        "losses": as_columns(loss_rows(report)),
        "development": {}
        if beside is None
        else {name: as_columns(rows) for name, rows in development.datasets(beside).items()},
        "traces": {
            str(order[key]): packed(trace) for key, trace in report.traces.items() if key in order
        },
    }


def _lead(rows: list[Row]) -> Row | None:
    """The reading to name first: the whole model, or the only component, at the last step."""
    names = list(dict.fromkeys(row["component"] for row in rows))
    name = "full" if "full" in names else names[0] if len(names) == 1 else None
    return next((row for row in reversed(rows) if row["component"] == name), None)


def _scope(report: Report, rows: list[Row]) -> str:
    """What was read, in a line: components, checkpoints, chains and draws."""
    parts = [_count(len({row["component"] for row in rows}), "component")]
    steps = [step for step in checkpoints(report.llc) if step is not None]
    if len(steps) > 1:
        parts.append(f"{len(steps)} checkpoints from step {steps[0]:,} to {steps[-1]:,}")
    elif steps:
        parts.append(f"checkpoint at step {steps[0]:,}")
    sizes = {(trace.sizes["chain"], trace.sizes["draw"]) for trace in report.traces.values()}
    if len(sizes) == 1:
        chains, draws = sizes.pop()
        parts.append(f"{_count(chains, 'chain')} of {_count(draws, 'draw')}")
    if report.llc_on:
        parts.append(_count(len(report.llc_on), "probe"))
    return " · ".join(parts)


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
