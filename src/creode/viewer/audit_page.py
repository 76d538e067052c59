"""The page of an audit: behaviours, the samples and principles behind them, what mending costs.

Here: gathering words, data and charts.
Not here: rows (audit_rows.py, audit_culprits.py), charts (audit_charts.py), words
(audit_words.py), what every page needs (rendering.py), the page's markup, look and behaviour
(template/).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from creode.viewer.audit_charts import audit_figures
from creode.viewer.audit_culprits import culprit_tables
from creode.viewer.audit_report import AuditReport
from creode.viewer.audit_rows import (
    EFFECTS,
    behaviour_table,
    datasets,
    effect_table,
    mending_tables,
)
from creode.viewer.audit_words import AUDIT_GLOSSARY, finding, trust_sentence
from creode.viewer.figure import Figure
from creode.viewer.readings import Row, readings
from creode.viewer.rendering import made_by, rendered, settings, write_page
from creode.viewer.traces import packed
from creode.viewer.wording import reading_name, verdict
from creode.viewer.writing_page import columns, drawn

SECTIONS = (
    "behaviours", "samples", "groups", "shifts", "parts", "modes", "mending", "llc",
    "chains",
)  # fmt: skip


def write_audit_report(report: AuditReport, path: str | Path) -> Path:
    """Write the page to `path`, replacing a file that is there only once it is complete.

    Returns:
        The path of the page.
    Raises:
        ValueError: the path does not end in .html.
    """
    return write_page(_page(report), path)


def _page(report: AuditReport) -> str:
    found, audit = audit_figures(report), report.audit
    rows = readings(report.llc)
    effects = {name: getattr(audit, name) for name in EFFECTS}
    return rendered(
        "audit",
        _data(report, rows, found),
        script="response",
        title=report.title,
        scope=_scope(report),
        sentences=finding(report),
        trusted=audit.ok,
        trust_sentence=trust_sentence(report),
        reasons=audit.reasons,
        figures={name: [one for one in found if one.section == name] for name in SECTIONS},
        behaviours=behaviour_table(report),
        culprits=culprit_tables(report),
        first=next((i for i, one in enumerate(report.records) if one["shown"]), 0),
        effects={
            name: effect_table(table, EFFECTS[name])
            for name, table in effects.items()
            if table is not None
        },
        modes=datasets(report)["singular_values"],
        mending=mending_tables(audit.mending),
        groups_llc=datasets(report)["llc_by_group"],
        verdict=verdict(rows) if rows else None,
        readings=rows,
        reading_name=reading_name,
        warnings=report.warnings,
        config=list(settings(report.config)),
        command=report.command,
        glossary=AUDIT_GLOSSARY,
        made_by=made_by(report.llc.attrs),
    )


def _data(report: AuditReport, rows: list[Row], found: list[Figure]) -> dict[str, Any]:
    """Everything the page's script reads, each data set once."""
    order = {(row["step"], row["component"]): i for i, row in enumerate(rows)}
    return {
        "figures": drawn(found),
        "datasets": columns(datasets(report)),
        "readings": columns({"rows": rows})["rows"],
        "traces": {
            str(order[key]): packed(trace) for key, trace in report.traces.items() if key in order
        },
        "tokens": None,
    }


def _scope(report: AuditReport) -> str:
    count = len(report.records)
    parts = [
        f"{count} behaviour{'' if count == 1 else 's'}",
        f"{report.audit.samples.sizes['sample']:,} training samples",
    ]
    if report.audit.groups is not None:
        parts.append(f"{report.audit.groups.sizes['group']} principles")
    return " · ".join(parts)
