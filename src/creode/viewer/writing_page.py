"""The page of weights on data: the change that is wanted, the weights, what they did.

Here: gathering words, data and charts.
Not here: rows (writing.py), charts (writing_charts.py), what every page needs (rendering.py), the
page's markup, look and behaviour (template/).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from creode.viewer.figure import Figure
from creode.viewer.readings import as_columns
from creode.viewer.rendering import made_by, rendered, settings, write_page
from creode.viewer.wording import WRITING_GLOSSARY, number, with_error
from creode.viewer.writing import (
    datasets,
    explained_rows,
    extremes,
    group_rows,
    percent,
    proof_rows,
)
from creode.viewer.writing_charts import writing_figures
from creode.viewer.writing_report import Writing, WritingReport

SECTIONS = ("weights", "proof")


def write_writing_report(results: WritingReport, path: str | Path) -> Path:
    """Write the page to `path`, replacing a file that is there only once it is complete.

    Returns:
        The path of the page.
    Raises:
        ValueError: the path does not end in .html.
    """
    return write_page(_page(results), path)


def _page(report: WritingReport) -> str:
    found = writing_figures(report.writings)
    return rendered(
        "writing",
        {"figures": drawn(found), "datasets": columns(datasets(report.writings))},
        script="story",
        title=report.title,
        scope=_scope(report.writings[0]),
        sentences=[sentence for one in report.writings for sentence in sentences(one)],
        figures={name: [figure for figure in found if figure.section == name] for name in SECTIONS},
        writings=[told(one) for one in report.writings],
        warnings=report.warnings,
        config=list(settings(report.config)),
        command=report.command,
        glossary=WRITING_GLOSSARY,
        made_by=made_by(report.writings[0].effect.attrs),
    )


def _scope(writing: Writing) -> str:
    return f"weights on {len(writing.weights):,} {writing.unit}s"


def drawn(figures: Sequence[Figure]) -> dict[str, Any]:
    """The charts as the page's script reads them."""
    return {one.name: {"chart": one.chart, "facet": one.facet_width} for one in figures}


def columns(rows: dict[str, Any]) -> dict[str, Any]:
    """Every data set in the form in which a page holds it."""
    return {name: as_columns(of) for name, of in rows.items()}


def told(writing: Writing) -> dict[str, Any]:
    """A writing's tables."""
    return {
        "name": writing.name,
        "unit": writing.unit,
        "extremes": extremes(writing),
        "groups": group_rows(writing),
        "clusters": writing.clusters,
        "proof": proof_rows(writing),
        "explained": explained_rows(writing),
        "ok": bool(writing.effect["ok"]),
        "reasons": str(writing.effect["reasons"].item()),
        "verdict": None if writing.proof is None else str(writing.proof.attrs["verdict"]),
        "verdict_reasons": "" if writing.proof is None else str(writing.proof.attrs["reasons"]),
        "seeds": 0 if writing.proof is None else writing.proof.sizes["seed"],
    }


def sentences(writing: Writing) -> list[str]:
    """What the weights are for and what they did."""
    one = writing.effect.sel(observable=writing.aim)
    aim = writing.called(writing.aim)
    wanted, predicted = float(one["wanted"]), float(one["predicted"])
    found = [
        f"To {'lower' if wanted < 0 else 'raise'} the loss on {aim} by {number(abs(wanted))} nats, "
        f"{percent(writing.effective_share)} of the {writing.unit}s stay effective; "
        "predicted is "
        f"{with_error(predicted, float(one['predicted_se']))} nats."
    ]
    if writing.proof is not None:
        shown = writing.proof.sel(observable=writing.aim)
        found.append(
            f"Trained again, it moved by {number(float(shown['achieved']))} nats, and by "
            f"{number(float(shown['gap']))} against the same weights shuffled: "
            f"{writing.proof.attrs['verdict']}."
        )
    return found
