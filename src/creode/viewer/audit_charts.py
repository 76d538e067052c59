"""Charts of an audit, with their words.

Here: marks and scales; the figures that an audit has results for.
Not here: their rows (audit_rows.py), the page (audit_page.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from creode.viewer.audit_report import AuditReport
from creode.viewer.audit_rows import MOST_SAMPLES, datasets, shares
from creode.viewer.figure import Figure
from creode.viewer.figures import chain_figures
from creode.viewer.marks import categories, compiled, name_legend, tooltip, y_axis
from creode.viewer.readings import Row
from creode.viewer.response import cells, loadings, singular_values
from creode.viewer.theme import role

KINDS = {"drives": "bad", "holds back": "ok", "neither": "series5"}  # by colour
LEVELS = {
    "behaviours": "How often each unwanted behaviour shows",
    "capabilities": "Capabilities: skills that mending is to leave alone",
}
EFFECTS = {
    "groups": "What each principle does to each behaviour",
    "shifts": "What other shares of the principles would do",
    "parts": "Through which part of the model the drivers act",
}
WHAT = {
    "groups": "The change of a behaviour’s margin if every sample of a principle counted twice.",
    "shifts": "The change of a behaviour’s margin under each shift of weights.",
    "parts": "The change of a behaviour’s margin if its drivers counted twice and only this part "
    "could follow; where none stands out, its strongest samples stand for them.",
}
SIGNS = " Orange, above 0: more of the unwanted behaviour. Blue, below 0: less. "
TOLD = "● told from 0; the others are not."


def audit_figures(report: AuditReport) -> list[Figure]:
    """Every figure the audit has results for, in the order of the page."""
    rows, found = datasets(report), report.audit
    figures = [
        _levels(name, rows[name], float(found.levels.attrs["tolerance"]))
        for name in LEVELS
        if found.levels is not None and rows[name]
    ]
    figures.append(_samples(len(found.samples["sample"])))
    figures += [_effects(name, rows[name]) for name in EFFECTS if rows[name]]
    if found.modes is not None:
        figures += [
            singular_values(found.modes),
            replace(
                loadings(found.modes),
                caption="Behaviours that the same samples move, in this mode. Bars to the same "
                "side rise together, to opposite sides one against the other. Lines: ±2 standard "
                "errors; a mode that is not resolved has none.",
                description="Loadings of the chosen mode on each behaviour, with errors.",
            ),
        ]
    if rows["mending"]:
        figures.append(_mending(rows["mending"], list(found.behaviours)))
    if rows["llc_by_group"]:
        figures.append(_llc(rows["llc_by_group"]))
    if report.traces:
        figures += chain_figures(max(trace.sizes["chain"] for trace in report.traces.values()))
    return figures


def _levels(name: str, rows: Sequence[Row], tolerance: float) -> Figure:
    import altair as alt

    base = alt.Chart(alt.NamedData(name))
    scale = alt.Scale(domain=[0, 1], nice=False)
    percents = alt.Axis(format="%", tickCount=5, grid=True)
    names = [row["behaviour"] for row in rows]
    title = "share of prompts at which the unwanted answer is favoured"

    def y(position: float) -> Any:
        return alt.Y("behaviour:N", sort=names, title=None, axis=_names(), bandPosition=position,
                     scale=alt.Scale(type="band"))  # fmt: skip

    def x(field: str) -> Any:
        return alt.X(f"{field}:Q", title=title, scale=scale, axis=percents)

    line = alt.Chart(alt.InlineData([{}])).mark_rule(strokeDash=[4, 3], color=role("muted"))
    colour = alt.condition("datum.shown", alt.value(role("bad")), alt.value(role("ok")))
    shape = alt.condition("datum.shown", alt.value("diamond"), alt.value("circle"))
    now = base.mark_point(filled=True, opacity=1, tooltip=tooltip())
    layers = [
        line.encode(x=alt.X(datum=tolerance, type="quantitative", title=title, scale=scale)),
        base.mark_rule(strokeWidth=5, opacity=0.35).encode(
            x=x("unwanted_low"), x2="unwanted_high:Q", y=y(0.38), color=colour
        ),
        now.encode(x=x("unwanted"), y=y(0.38), color=colour, shape=shape, size=alt.value(90)),
    ]
    before = shares(rows)
    if before:
        layers += [
            base.mark_rule(strokeWidth=3, opacity=0.35, color=role("muted")).encode(
                x=x("before_unwanted_low"), x2="before_unwanted_high:Q", y=y(0.72)
            ),
            base.mark_point(
                filled=False, size=50, opacity=1, color=role("muted"), tooltip=tooltip()
            ).encode(x=x("before_unwanted"), y=y(0.72)),
        ]
    told = "; ".join(f"{row['title']}: {row['text']}" for row in rows)
    return Figure(
        name=name,
        section="behaviours",
        title=LEVELS[name],
        caption="Further right is worse. ● after post-training"
        + ("; ○ before" if before else "")
        + f". Bands: 95 % intervals. Dashed: the tolerance, {100 * tolerance:.3g} %; "
        "◆ shown, its whole interval lies beyond it.",
        description=f"Shares of unwanted answers. {told}.",
        chart=compiled(alt.layer(*layers).properties(width=400, height=alt.Step(46))),
    )


def _samples(count: int) -> Figure:
    import altair as alt

    base = alt.Chart(alt.NamedData("samples"))
    title = "association with the margin"
    colour = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=list(KINDS), range=[role(name) for name in KINDS.values()]),
        legend=name_legend(list(KINDS), columns=len(KINDS), symbolOpacity=1),
    )
    x = alt.X("rank:Q", title="samples, from the surest driver on", scale=alt.Scale(zero=False),
              axis=alt.Axis(tickCount=6, tickMinStep=1, labelOverlap=True))  # fmt: skip
    y = alt.Y("association:Q", title=title, axis=y_axis())
    zero = alt.Chart(alt.InlineData([{}])).mark_rule(color=role("muted")).encode(y=alt.datum(0))
    lines = base.transform_filter("datum.kind !== 'neither' && datum.low !== null").mark_rule(
        strokeWidth=1.2, opacity=0.55
    )
    dots = base.mark_point(filled=True, size=26, opacity=0.95, tooltip=tooltip())
    chart = alt.layer(
        zero,
        lines.encode(x=x, y=alt.Y("low:Q", title=title), y2="high:Q", color=colour),
        dots.encode(x=x, y=y, color=colour),
    )
    thinned = "" if count <= MOST_SAMPLES else " Of so many samples some are left out, evenly."
    return Figure(
        name="sample_associations",
        section="samples",
        title="How surely each training sample drives the behaviour",
        caption="A dot: a sample; from −1 to 1, how surely the margin grows where its loss falls. "
        "Coloured: told from 0, with a line of ±2 standard errors. A few dots high at the left: "
        f"few samples taught it.{thinned}",
        description=f"Associations of {count:,} training samples with a behaviour, sorted.",
        chart=compiled(chart.properties(width=400, height=230)),
    )


def _effects(name: str, rows: list[Row]) -> Figure:
    significant = sum(row["significant"] for row in rows)
    doubted = any(row["doubt"] for row in rows)
    return Figure(
        name=f"effects_of_{name}",
        section=name,
        title=EFFECTS[name],
        caption=WHAT[name]
        + SIGNS
        + TOLD
        + (" ✕ from draws that cannot be trusted." if doubted else ""),
        description=f"Heat map: {EFFECTS[name].lower()}; {significant} of {len(rows)} are told "
        "from 0.",
        chart=cells(rows, data=name, title="change of the margin"),
    )


def _mending(rows: Sequence[Row], names: list[str]) -> Figure:
    import altair as alt

    title = "predicted change of the margin"
    base = alt.Chart(alt.NamedData("mending"))
    colour = alt.Color("behaviour:N", scale=categories(names), sort=names,
                       legend=name_legend(names, symbolOpacity=1))  # fmt: skip
    shares = sorted({row["effective"] for row in rows})
    x = alt.X("effective:Q", title="share of the samples that stay effective",
              scale=alt.Scale(domain=[1, min(shares)], nice=False),
              axis=alt.Axis(format="%", tickCount=6, labelOverlap=True))  # fmt: skip
    y = alt.Y("predicted:Q", title=title, axis=y_axis())
    width = alt.condition("datum.mended", alt.value(3), alt.value(1.5))
    zero = alt.Chart(alt.InlineData([{}])).mark_rule(color=role("muted")).encode(y=alt.datum(0))
    chart = alt.layer(
        zero,
        base.mark_area(opacity=0.16).encode(
            x=x, y=alt.Y("low:Q", title=title), y2="high:Q", color=colour
        ),
        base.mark_line().encode(x=x, y=y, color=colour, strokeWidth=width),
        base.mark_point(filled=True, size=42, opacity=1, tooltip=tooltip()).encode(
            x=x, y=y, color=colour
        ),
    )
    return Figure(
        name="mending_curves",
        section="mending",
        title="How far weights take the behaviour, and what else they move",
        caption="Thick: the behaviour that is mended; below 0 it is shown less. Thin: what the "
        "same weights do to the others, the side effects. Further right less of the data counts. "
        "Bands: ±2 standard errors.",
        description="Predicted changes of margins against the share of effective samples.",
        chart=compiled(chart.properties(width=400, height=240)),
    )


def _llc(rows: Sequence[Row]) -> Figure:
    import altair as alt

    base = alt.Chart(alt.NamedData("llc_by_group"))
    y = alt.Y("group:N", sort=[row["group"] for row in rows], title=None, axis=_names())
    x = alt.X("llc:Q", title="λ̂", scale=alt.Scale(zero=False),
              axis=alt.Axis(tickCount=6, grid=True, labelOverlap=True))  # fmt: skip
    lines = base.transform_filter("datum.low !== null").mark_rule(
        strokeWidth=5, opacity=0.35, color=role("ok")
    )
    dots = base.mark_point(filled=True, size=70, opacity=1, color=role("ok"), tooltip=tooltip())
    chart = alt.layer(
        lines.encode(y=y, x=alt.X("low:Q", title="λ̂"), x2="high:Q"), dots.encode(x=x, y=y)
    )
    return Figure(
        name="llc_by_group",
        section="llc",
        title="λ̂ by principle",
        caption="Further right: the principle’s samples pin the weights more. Bands: ±2 standard "
        "errors between chains.",
        description="; ".join(f"{row['title']}: {row['text']}" for row in rows) + ".",
        chart=compiled(chart.properties(width=400, height=alt.Step(32))),
    )


def _names() -> Any:
    import altair as alt

    return alt.Axis(labelColor=role("ink"), labelFontSize=12, labelLimit=160, grid=False,
                    ticks=False)  # fmt: skip


def picked(rows: Mapping[str, Sequence[Row]], place: int) -> dict[str, list[Row]]:
    """The data sets with one behaviour of those that the page picks from."""
    return {
        name: [row for row in some if row.get("picked", place) == place]
        for name, some in rows.items()
    }
