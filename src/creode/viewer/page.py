"""The report as one HTML file that needs nothing else: no network, no server, no other file.

Here: gathering words, data and charts, and filling the template in.
Not here: the page's markup, look and behaviour (template/), charts (figures.py).
The same report gives the same bytes, so the page carries no time of writing.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import os
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from creode.viewer import wording
from creode.viewer.figures import Figure, figures, loss_rows
from creode.viewer.readings import OWN, Row, as_columns, compared_steps, probe_readings, readings
from creode.viewer.report import Report, checkpoints
from creode.viewer.theme import DARK, LIGHT
from creode.viewer.traces import packed


def write_report(results: Report, path: str | Path) -> Path:
    """Write the report to `path`, replacing a file that is there only once it is complete.

    Returns:
        The path of the page.
    Raises:
        ValueError: the path does not end in .html.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"a report is an HTML file, got {str(path)!r}; end the path in .html.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(_page(results), encoding="utf-8")
    return partial.replace(path)


def _page(report: Report) -> str:
    import jinja2

    rows = readings(report.llc)
    if not rows:
        raise ValueError(
            "the report has no reading: every value of llc is a gap. "
            "Give the result of creode.llc(draws) for at least one posterior."
        )
    found = figures(report)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["css"] = _css_variables
    return environment.get_template("report.html").render(
        title=report.title,
        light=LIGHT,
        dark=DARK,
        style=_template("report.css"),
        library=_library(),
        script=_template("report.js"),
        data=_as_script(_data(report, rows, found)),
        verdict=_verdict(rows),
        readings=rows,
        lead=_lead(rows),
        scope=_scope(report, rows),
        figures={section: [f for f in found if f.section == section] for section in _SECTIONS},
        checkpoints=list(dict.fromkeys(row["step"] for row in rows)),
        compared=compared_steps(rows),
        components=list(dict.fromkeys(row["component"] for row in rows)),
        warnings=report.warnings,
        config=list(_settings(report.config)),
        command=report.command,
        glossary=wording.GLOSSARY,
        made_by=_made_by(report),
        reading_name=wording.reading_name,
    )


_SECTIONS = ("training", "components", "probes", "chains")


def _data(report: Report, rows: list[Row], found: list[Figure]) -> dict[str, Any]:
    """Everything the page's script reads; each data set once, however many charts share it."""
    order = {(row["step"], row["component"]): i for i, row in enumerate(rows)}
    return {
        "themes": {"light": LIGHT, "dark": DARK},
        "figures": {
            figure.name: {"chart": figure.chart, "facet": figure.facet_width, "title": figure.title}
            for figure in found
        },
        "compared": compared_steps(rows),
        "own": OWN,
        "readings": as_columns(rows),
        "probes": as_columns(probe_readings(report.llc_on)),
        "losses": as_columns(loss_rows(report)),
        "traces": {
            str(order[key]): packed(trace) for key, trace in report.traces.items() if key in order
        },
    }


def _verdict(rows: list[Row]) -> dict[str, Any]:
    ok = sum(row["ok"] for row in rows)
    order = {id(row): i for i, row in enumerate(rows)}
    doubts = [
        {"reason": doubt.reason, "readings": [(order[id(row)], row) for row in doubt.readings]}
        for doubt in wording.doubts(rows)
    ]
    return {
        "sentence": wording.verdict(ok, len(rows)),
        "ok": ok,
        "total": len(rows),
        "doubts": doubts,
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


def _settings(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values of a nested configuration."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _settings(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            yield f"{prefix}{name}", value
        else:
            yield f"{prefix}{name}", json.dumps(value, default=str, ensure_ascii=False)


def _made_by(report: Report) -> list[tuple[str, str]]:
    labels = {
        "creode_version": "creode",
        "model_fingerprint": "model",
        "data_fingerprint": "data",
    }
    attrs = report.llc.attrs
    return [(label, str(attrs[name])) for name, label in labels.items() if name in attrs]


def _as_script(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the element it stands in, nor be read as markup."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _css_variables(theme: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in theme.items())


def _template(name: str) -> str:
    return (files("creode.viewer") / "template" / name).read_text(encoding="utf-8")


@functools.cache
def _library() -> str:
    """The drawing library (Vega, through Vega-Embed), compressed: it is most of the page."""
    import vl_convert

    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return base64.b64encode(gzip.compress(script.encode("utf-8"), mtime=0)).decode("ascii")
