"""Charts of a development: λ̂ and loss by stage, χ, and other readings along training.

Here: marks and scales; the figures and their words.
Not here: their rows (development.py), the plane (plane.py), other charts (charts.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from creode.viewer.development import (
    CURVE,
    LLC,
    LOSS,
    READING,
    measures,
    series_of,
)
from creode.viewer.development_report import DevelopmentReport
from creode.viewer.figure import Figure
from creode.viewer.marks import (
    CROSS,
    StepAxis,
    categories,
    compiled,
    hover,
    linked,
    name_legend,
    rule_at,
    step_channel,
    tooltip,
    y_axis,
)
from creode.viewer.readings import OWN
from creode.viewer.stage_marks import alarm_mark, behind
from creode.viewer.stages import in_words
from creode.viewer.theme import role

_BARS = "Bars: ±2 standard errors"


def stage_figure(report: DevelopmentReport, axis: StepAxis) -> Figure:
    """λ̂ and loss against the step, with stages, their boundaries and alarms."""
    series = series_of(report)
    told = ", ".join(
        f"stage {stage['stage']} ({stage['kind']}) from step {stage['start']:,} to {stage['end']:,}"
        for stage in report.found
    )
    whole = "the full model" if report.component == "full" else report.component
    shown = (
        "Shaded: stages in which λ̂ moves. Vertical lines: where a stage begins, with its 95 % "
        "interval. The curve with its band is what stages are told of. "
        if report.found
        else ""
    )
    return Figure(
        name="development_by_stage",
        section="stages",
        title=f"λ̂ of {whole} and loss, by stage",
        caption=f"{shown}Bars and bands: ±2 standard errors. ✕ marks a reading that cannot be "
        "trusted; it is left out of the curve. ▼ an alarm.",
        description=f"Local learning coefficient of {whole} and loss along training. "
        + (f"Found: {told}." if told else "No stages were found."),
        chart=_by_stage(series, axis),
        facet_width=240,
    )


def measure_figure(report: DevelopmentReport, axis: StepAxis) -> Figure:
    """Further readings of one number a checkpoint, a panel each."""
    names = [in_words(name) for name in measures(report)]
    return Figure(
        name="measures_along_training",
        section="stages",
        title="Further readings",
        caption=f"Against the training step. {_BARS}, of those that have one.",
        description=f"Along training: {', '.join(names)}.",
        chart=_panels("measures", names, _colour([OWN], []), axis),
        facet_width=170,
    )


def chi_figure(report: DevelopmentReport, axis: StepAxis) -> Figure:
    """χ of each component to each probe, a panel a component."""
    table = report.trajectory
    parts, probes = (list(map(str, table[name].values)) for name in ("component", "probe"))
    return Figure(
        name="chi_along_training",
        section="stages",
        title="χ of components to data",
        caption="Susceptibility against the training step, nats²: the lower, the more the "
        f"component supports that data. {_BARS}. ✕ marks a reading that cannot be trusted.",
        description=f"Susceptibility of {', '.join(parts)} to {', '.join(probes)} along training.",
        chart=_panels("chi", parts, _colour([OWN, *probes], probes), axis),
        facet_width=150,
    )


def _panels(data: str, panels: Sequence[str], colour: Any, axis: StepAxis) -> dict[str, Any]:
    """Readings with their errors, a panel each."""
    import altair as alt

    x = step_channel(axis, few=True)
    scale = alt.Scale(zero=False, nice=True)
    y = alt.Y("value:Q", title=None, scale=scale, axis=y_axis(4))
    base = alt.Chart()
    readings = base.transform_filter("datum.value !== null")
    panel = alt.layer(
        *behind(x),
        base.mark_line(strokeWidth=1.4, opacity=0.8).encode(x=x, y=y, color=colour),
        _bars(readings, x, scale, colour),
        rule_at(x),
        _points(readings, colour).encode(x=x, y=y),
        hover(readings.transform_calculate(near="datum.step"), x, y),
    ).properties(height=110)
    header = alt.Header(labelAnchor="start", labelPadding=10)
    chart = panel.facet(
        facet=alt.Facet("panel:N", sort=list(panels), title=None, header=header),
        columns=3,
        spacing={"row": 72, "column": 62},
        bounds="flush",
        data=alt.NamedData(data),
    )
    chart = chart.resolve_axis(x="independent", y="independent").resolve_scale(y="independent")
    return compiled(linked(chart))


def _colour(series: Sequence[str], told: Sequence[str]) -> Any:
    """A colour for each series, the same in every chart, and a legend of those that are told."""
    import altair as alt

    legend = name_legend(told, columns=len(told), values=told) if told else None
    return alt.Color("series:N", sort=None, scale=categories(series), legend=legend)


def _bars(readings: Any, x: Any, scale: Any, colour: Any) -> Any:
    import altair as alt

    low = alt.Y("low:Q", title=None, scale=scale)
    bars = readings.mark_rule(strokeWidth=1.6, opacity=0.6)
    return bars.encode(x=x, y=low, y2="high:Q", color=colour)


def _points(readings: Any, colour: Any) -> Any:
    import altair as alt

    return readings.mark_point(filled=True, opacity=1).encode(
        color=alt.condition("datum.ok", colour, alt.value(role("bad"))),
        shape=alt.condition("datum.ok", alt.value("circle"), alt.value(CROSS)),
        size=alt.condition("datum.ok", alt.value(38), alt.value(70)),
    )


def _by_stage(series: Sequence[str], axis: StepAxis) -> dict[str, Any]:
    import altair as alt

    x = step_channel(axis)
    scale = alt.Scale(zero=False, nice=True)
    y = alt.Y("value:Q", title=None, scale=scale, axis=y_axis())
    low = alt.Y("low:Q", title=None, scale=scale)
    colour = _colour(series, series if len(series) > 1 else [])
    base = alt.Chart()
    curve = base.transform_filter(f"datum.what === '{CURVE}'")
    readings = base.transform_filter(f"datum.what === '{READING}' && datum.value !== null")
    lost = base.transform_filter(f"datum.what === '{READING}' && datum.value === null")
    losses = readings.transform_filter(f"datum.panel === '{LOSS}'")
    alarms = alt.Chart(alt.NamedData("alarms"))
    layers = [
        *behind(x, labels=True),
        curve.mark_area(color=role("ok"), opacity=0.16).encode(x=x, y=low, y2="high:Q"),
        curve.mark_line(color=role("ok"), strokeWidth=1.4, opacity=0.8).encode(x=x, y=y),
        losses.mark_line(strokeWidth=1.4, opacity=0.8).encode(x=x, y=y, color=colour),
        _bars(readings, x, scale, colour),
        rule_at(x),
        _points(readings, colour).encode(x=x, y=y),
        hover(readings.transform_calculate(near="datum.step"), x, y),
        lost.mark_point(
            shape=CROSS, filled=True, size=60, color=role("bad"), opacity=1, tooltip=tooltip()
        ).encode(x=x, y=alt.value("height")),
        alarms.mark_rule(color=role("bad"), strokeDash=[3, 3], opacity=0.8).encode(x=x),
        alarm_mark(alarms, x, below=22),
    ]
    panel = alt.layer(*layers).properties(height=190)
    name = f"datum.value === '{LLC}' ? 'λ̂' : 'loss, nats'"
    header = alt.Header(labelAnchor="start", labelExpr=name, labelPadding=8)
    chart = panel.facet(
        facet=alt.Facet("panel:N", sort=[LLC, LOSS], title=None, header=header),
        columns=1,
        spacing={"row": 40, "column": 0},
        bounds="flush",
        data=alt.NamedData("development"),
    )
    return compiled(linked(chart.resolve_scale(y="independent")))
