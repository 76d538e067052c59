"""The page of a loop: one behaviour, when it formed, what made it, and what other data made of it.

Here: gathering words, data and charts of every stage, in the order of the story.
Not here: the stages' own rows and charts (development.py, response.py, writing.py), its sentences
(loop_words.py), markup, look and behaviour (template/).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from creode.viewer import development, loop_words
from creode.viewer.development_charts import stage_figure
from creode.viewer.figure import Figure
from creode.viewer.figures import step_axis
from creode.viewer.loop_charts import domain_figure, domain_rows, formed_figure, formed_rows
from creode.viewer.loop_report import LoopReport
from creode.viewer.rendering import made_by, rendered, settings, write_page
from creode.viewer.response import heat_map, response_rows
from creode.viewer.stages import stage_rows
from creode.viewer.wording import LOOP_GLOSSARY, number, with_error
from creode.viewer.writing import datasets
from creode.viewer.writing_charts import writing_figures
from creode.viewer.writing_page import columns, drawn, told


def write_loop_report(results: LoopReport, path: str | Path) -> Path:
    """Write the page to `path`, replacing a file that is there only once it is complete.

    Returns:
        The path of the page.
    Raises:
        ValueError: the path does not end in .html.
    """
    return write_page(_page(results), path)


def loop_figures(report: LoopReport) -> list[Figure]:
    """Every figure of the page, in its order."""
    beside, response = report.development.development, report.response.response
    assert beside is not None
    assert response is not None
    found = [formed_figure(report), stage_figure(beside, step_axis(report.development))]
    found.append(heat_map(response))
    if report.records["by_domain"]:
        found.append(domain_figure(report))
    return found + writing_figures(report.writings)


def loop_datasets(report: LoopReport) -> dict[str, list[dict[str, Any]]]:
    """The rows of every data set of the charts."""
    beside, response = report.development.development, report.response.response
    assert beside is not None
    assert response is not None
    return {
        "formed": formed_rows(report),
        **development.datasets(beside),
        "response": response_rows(response),
        "domains": domain_rows(report),
        **datasets(report.writings),
    }


def _page(report: LoopReport) -> str:
    found = loop_figures(report)
    beside = report.development.development
    assert beside is not None
    return rendered(
        "loop",
        {"figures": drawn(found), "datasets": columns(loop_datasets(report))},
        script="story",
        title=report.title,
        scope=report.about,
        story=loop_words.story(report),
        chapters=loop_words.chapters(report),
        figures={one.name: one for one in found},
        writing_figures={
            name: [one for one in found if one.section == name] for name in ("weights", "proof")
        },
        stages=stage_rows(beside.stages),
        formed=[_formed(row) for row in report.records["formed"]],
        samples=_samples(report),
        writings=[told(one) for one in report.writings],
        doubts=loop_words.doubts(report),
        details=report.details,
        config=list(settings(report.config)),
        command=report.command,
        glossary=LOOP_GLOSSARY,
        made_by=made_by(report.writings[0].effect.attrs),
    )


def _formed(row: dict[str, Any]) -> dict[str, str]:
    return {
        "probe": row["probe"],
        "first": number(row["first"]),
        "last": number(row["last"]),
        "step": f"{row['step']:,.0f}",
        "between": f"{row['after']:,} – {row['until']:,}",
    }


def _samples(report: LoopReport) -> list[dict[str, Any]]:
    """Both sides of the attribution as the page's lists."""
    sides = report.records["samples"]
    most = max((abs(one["bif"] or 0.0) for rows in sides.values() for one in rows), default=0.0)
    names = {"helpful": "Helped most", "harmful": "Harmed most"}
    return [
        {
            "name": names[side],
            "side": side,
            "rows": [
                {
                    "name": f"training sample {one['train']}"
                    + (f", {one['domain']}" if one["domain"] else ""),
                    "text": one["text"] or "",
                    "value": "–"
                    if one["bif"] is None
                    else with_error(one["bif"], one["bif_se"] or 0.0),
                    "bar": round(100 * abs(one["bif"] or 0.0) / (most or 1.0), 1),
                    "significant": one["significant"],
                }
                for one in rows
            ],
        }
        for side, rows in sides.items()
    ]
