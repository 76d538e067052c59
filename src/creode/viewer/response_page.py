"""The report of responses as a page: heat map, modes, coloured text, influence queries.

Here: gathering words, data and charts of the parts that have results.
Not here: the parts (response.py, tokens.py, influence.py), what every page needs (rendering.py),
the page's markup, look and behaviour (template/).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from creode.viewer.figure import Figure
from creode.viewer.figures import chain_figures
from creode.viewer.influence import influence_queries
from creode.viewer.readings import Row, as_columns, readings
from creode.viewer.rendering import made_by, rendered, settings, write_page
from creode.viewer.response import (
    heat_map,
    loading_rows,
    loadings,
    mode_rows,
    response_rows,
    singular_values,
    views,
)
from creode.viewer.response_report import ResponseReport
from creode.viewer.tokens import left_out, token_view
from creode.viewer.traces import packed
from creode.viewer.wording import RESPONSE_GLOSSARY, number, reading_name, verdict, with_error


def write_response_report(results: ResponseReport, path: str | Path) -> Path:
    """Write the report to `path`, replacing a file that is there only once it is complete.

    Returns:
        The path of the page.
    Raises:
        ValueError: the path does not end in .html.
    """
    return write_page(_page(results), path)


def _page(report: ResponseReport) -> str:
    found = response_figures(report)
    rows = [] if report.llc is None else readings(report.llc)
    return rendered(
        "response",
        _data(report, rows, found),
        title=report.title,
        scope=_scope(report),
        sentences=_sentences(report),
        figures={
            section: [figure for figure in found if figure.section == section]
            for section in ("response", "modes", "chains")
        },
        verdict=verdict(rows) if rows else None,
        readings=rows,
        reading_name=reading_name,
        views=[] if report.response is None else views(report.response),
        control=report.control,
        less=_less(report),
        clusters=_clusters(report),
        modes=[] if report.modes is None else mode_rows(report.modes),
        words=_words(report),
        tokens=report.tokens is not None,
        left_out=0 if report.tokens is None else left_out(report.tokens, report.modes),
        queries=influence_queries(report.queries),
        influence_kind=report.influence_kind,
        influence_fdr=report.influence_fdr,
        warnings=report.warnings,
        config=list(settings(report.config)),
        command=report.command,
        glossary=[
            (word, meaning)
            for part, word, meaning in RESPONSE_GLOSSARY
            if not part or _has(getattr(report, part))
        ],
        made_by=made_by(_attrs(report)),
    )


def response_figures(report: ResponseReport) -> list[Figure]:
    """Every figure the report has data for, in the order of the page."""
    found = []
    if report.response is not None:
        found.append(heat_map(report.response))
    if report.modes is not None:
        found += [singular_values(report.modes), loadings(report.modes)]
    if report.traces:
        found += chain_figures(max(trace.sizes["chain"] for trace in report.traces.values()))
    return found


def _data(report: ResponseReport, rows: list[Row], found: list[Figure]) -> dict[str, Any]:
    """Everything the page's script reads, each data set once."""
    order = {(row["step"], row["component"]): i for i, row in enumerate(rows)}
    response, modes, tokens = report.response, report.modes, report.tokens
    return {
        "figures": {figure.name: {"chart": figure.chart} for figure in found},
        "datasets": {
            "response": as_columns([] if response is None else response_rows(response)),
            "singular_values": as_columns([] if modes is None else mode_rows(modes)),
            "loadings": as_columns([] if modes is None else loading_rows(modes)),
        },
        "readings": as_columns(rows),
        "traces": {
            str(order[key]): packed(trace) for key, trace in report.traces.items() if key in order
        },
        "tokens": None if tokens is None else token_view(tokens, modes, report.of),
    }


def _less(report: ResponseReport) -> list[dict[str, Any]]:
    """χ, that of the control and what is left, a row a component and data set."""
    return [
        {
            "view": " at step ".join(
                [row["observable"]] + [f"{row['checkpoint']:,}"] * (row["checkpoint"] is not None)
            ),
            "component": row["component"],
            "dataset": row["probe"],
            **{
                name: with_error(_float(row[name]), _float(row[f"{name}_se"]))
                for name in ("chi", "chi_control", "chi_less")
            },
            "significant": row["significant_less"],
            "doubt": row["reasons_less"],
        }
        for row in report.less
    ]


def _float(value: float | None) -> float:
    return float("nan") if value is None else value


def _words(report: ResponseReport) -> list[tuple[str, int, str]]:
    if report.words is None:
        return []
    groups = report.words
    return [
        (str(name), int(groups["size"].values[at]), str(groups["description"].values[at]))
        for at, name in enumerate(groups["group"].values)
    ]


def _clusters(report: ResponseReport) -> dict[str, Any] | None:
    """The stable clusters as rows, and how they were sought."""
    found = report.clusters
    if found is None:
        return None
    rows = [
        {
            "name": str(name),
            "size": int(found["size"].values[at]),
            "conductance": number(float(found["conductance"].values[at])),
            "stability": with_error(
                float(found["stability"].values[at]), float(found["stability_sd"].values[at])
            ),
            "description": str(found["description"].values[at]),
        }
        for at, name in enumerate(found["cluster"].values)
        if found["stable"].values[at]
    ]
    sought = found.sizes["row"]
    return {
        "rows": rows,
        "sought": sought,
        "of": int(found.attrs.get("rows", sought)),
        "method": str(found.attrs.get("method", "")),
        "notes": str(found["notes"].item()) if "notes" in found else "",
    }


def _sentences(report: ResponseReport) -> list[str]:
    """What was found, in a sentence for each part."""
    found = []
    if report.response is not None and "significant" in report.response:
        significant = report.response["significant"]
        found.append(f"{int(significant.sum())} of {significant.size} responses are told from 0.")
    if report.less:
        left = sum(bool(row["significant_less"]) for row in report.less)
        found.append(f"{left} of {len(report.less)} responses differ from the control's.")
    if report.modes is not None:
        count = int(report.modes["resolved"].sum())
        noun = "mode stands" if count == 1 else "modes stand"
        found.append(f"{count or 'No'} {noun if count else 'mode stands'} above the noise.")
    if report.queries:
        number = len(report.queries)
        found.append(f"{number} {'query' if number == 1 else 'queries'} to the training data.")
    return found


def _has(part: Any) -> bool:
    return part is not None and (isinstance(part, xr.Dataset) or len(part) > 0)


def _scope(report: ResponseReport) -> str:
    parts = []
    for data, dims in (
        (report.response, ("component", "dataset")),
        (report.modes, ("component", "row")),
        (report.tokens, ("component", "sample")),
    ):
        if data is not None:
            for dim in dims:
                row = "token" if "token" in data.coords else "row"
                noun = {"dataset": "data set", "row": row}.get(dim, dim)
                count = data.sizes[dim]
                text = f"{count:,} {noun}{'' if count == 1 else 's'}"
                parts += [] if text in parts else [text]
    return " · ".join(parts)


def _attrs(report: ResponseReport) -> dict[Any, Any]:
    for data in (report.response, report.tokens, report.modes, report.llc):
        if data is not None:
            return dict(data.attrs)
    return {}
