"""How each chart is drawn, in Altair, compiled to Vega.

Here: marks, scales and axes; data sets by name, colours by role.
Not here: data (readings.py, traces.py), words around a chart (figures.py), pieces that charts share
(marks.py), those of a development (development_charts.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from creode.viewer.marks import (
    CROSS,
    StepAxis,
    categories,
    compiled,
    hover,
    linked,
    name_legend,
    reading_points,
    rule_at,
    step_channel,
    tooltip,
    y_axis,
)
from creode.viewer.readings import HEADS
from creode.viewer.stage_marks import alarm_mark, behind
from creode.viewer.theme import HEAT_MIDDLE, SERIES, role


def loss_along_training(
    series: Sequence[str],
    units: str,
    extent: tuple[float, float],
    axis: StepAxis,
    staged: bool = False,
) -> dict[str, Any]:
    """Losses against the step; data set `losses`, in which `near` names the nearest checkpoint.

    With `staged`, stages lie behind.
    """
    import altair as alt

    x = step_channel(axis)
    y_scale = alt.Scale(domain=list(extent), nice=True)
    y = alt.Y("loss:Q", title=f"loss  ({units})", scale=y_scale, axis=y_axis())
    single = len(series) == 1
    legend = None if single else name_legend(series)
    color = alt.Color("series:N", sort=None, legend=legend, scale=categories(series))
    base = alt.Chart(alt.NamedData("losses"))
    lines = base.mark_line(strokeWidth=1.6, strokeJoin="round").encode(x=x, y=y, color=color)
    dots = base.transform_filter("datum.near === at").mark_point(filled=True, size=40, opacity=1)
    layers = [
        *(behind(x) if staged else ()),
        lines,
        rule_at(x),
        dots.encode(x=x, y=y, color=color),
        hover(base.transform_filter("isValid(datum.near)"), x, y),
    ]
    return compiled(linked(alt.layer(*layers).properties(height=200)))


def llc_along_training(
    names: Sequence[str], group: str, axis: StepAxis, staged: bool = False
) -> dict[str, Any]:
    """λ̂ of each component against the step, a panel each; data set `readings`.

    With `staged`, stages lie behind, and where an alarm rang for a reading there is a ▼.
    """
    import altair as alt

    x = step_channel(axis, few=len(names) > 1)
    y_scale = alt.Scale(zero=False, nice=True)
    single = len(names) == 1
    axis_of_y = y_axis(4, flush=not single)
    y = alt.Y("llc:Q", title="λ̂" if single else None, scale=y_scale, axis=axis_of_y)
    base = alt.Chart()
    layers = [
        *(behind(x) if staged else ()),
        base.mark_area(color=role("ok"), opacity=0.24).encode(
            x=x, y=alt.Y("low:Q", scale=y_scale), y2="high:Q"
        ),
        base.mark_line(color=role("ok"), strokeWidth=1.6).encode(x=x, y=y),
        rule_at(x),
        reading_points(base).encode(x=x, y=y),
        base.transform_filter("datum.step === at")
        .mark_text(align="left", baseline="top", fontSize=11, color=role("ink"))
        .encode(x=alt.value(7), y=alt.value(0), text="llc_text:N"),
        hover(base.transform_calculate(near="datum.step"), x, y, encodings=["x"]),
        base.transform_filter("datum.llc === null")
        .mark_point(
            shape=CROSS, filled=True, size=60, color=role("bad"), opacity=1, tooltip=tooltip()
        )
        .encode(x=x, y=alt.value("height")),
        *((alarm_mark(base.transform_filter("datum.alarm"), x),) if staged else ()),
    ]
    data = alt.NamedData("readings")
    if single:
        chart = alt.layer(*layers, data=data).properties(height=200)
    else:
        facet = alt.Facet(
            "component:N",
            sort=list(names),
            title=None,
            header=alt.Header(labelAnchor="start", labelPadding=10),
        )
        spacing = {"row": 72, "column": 62}  # room for the title and the axes of a panel
        panel = alt.layer(*layers).properties(height=110)
        chart = panel.facet(facet=facet, columns=4, spacing=spacing, bounds="flush", data=data)
        chart = chart.resolve_axis(x="independent", y="independent")
        chart = chart.resolve_scale(y="shared" if group == HEADS else "independent")
    followed = chart.transform_filter(alt.FieldOneOfPredicate("component", oneOf=list(names)))
    return compiled(linked(_with_interval(followed)))


def heat_map(low: float, high: float) -> dict[str, Any]:
    """λ̂ of heads, layers down and heads across; data set `current`."""
    import altair as alt

    middle = low + HEAT_MIDDLE * (high - low)
    base = alt.Chart(alt.NamedData("current")).transform_filter(f"datum.group === '{HEADS}'")
    x = alt.X("head:O", title="head", axis=alt.Axis(labelAngle=0, ticks=False, domain=False))
    y = alt.Y("layer:O", title="layer", axis=alt.Axis(labelAngle=0))
    ramp = alt.Scale(
        domain=[low, high], range=[role("heat0"), role("heat1"), role("heat2")], clamp=True
    )
    legend = alt.Legend(title="λ̂", orient="top", gradientLength=180, titleOrient="left")
    cells = base.mark_rect(
        cornerRadius=4, stroke=role("paper"), strokeWidth=3, tooltip=tooltip(), cursor="pointer"
    ).encode(x=x, y=y, color=alt.Color("llc:Q", scale=ramp, legend=legend))
    size = alt.expr("clamp(bandwidth('x') / 3.6, 0, 13)")
    values = base.mark_text(fontSize=size, tooltip=tooltip(), cursor="pointer").encode(
        x=x,
        y=y,
        text="llc_short:N",
        color=alt.condition(
            f"datum.llc > {middle!r}", alt.value(role("heat-text1")), alt.value(role("heat-text0"))
        ),
    )
    marked = base.transform_filter("!datum.ok").encode(x=x, y=alt.Y("layer:O", bandPosition=0.2))
    disc = marked.mark_point(filled=True, size=160, color=role("paper"), opacity=1)
    cross = marked.mark_point(
        shape=CROSS, filled=True, size=55, color=role("bad"), opacity=1, tooltip=tooltip()
    )
    return compiled(
        alt.layer(cells, values, disc, cross).properties(width=400, height=alt.Step(56))
    )


def ranking(group: str) -> dict[str, Any]:
    """λ̂ of components with intervals, the largest on top; data set `current`."""
    import altair as alt

    order = alt.EncodingSortField(field="llc", op="max", order="descending")
    y = alt.Y("component:N", sort=order, title=None, axis=_name_axis())
    x = alt.X("llc:Q", title="λ̂", scale=alt.Scale(zero=False, nice=True), axis=_value_axis())
    base = alt.Chart()
    chart = alt.layer(
        _interval(base).encode(y=y, x=alt.X("low:Q", title="λ̂"), x2="high:Q"),
        reading_points(base).encode(x=x, y=y),
        data=alt.NamedData("current"),
    )
    return compiled(_intervals(chart, group).properties(height=alt.Step(26)))


def probes(group: str, names: Sequence[str]) -> dict[str, Any]:
    """λ̂ on each probe with intervals, components down; data set `probes`."""
    import altair as alt

    y = alt.Y("component:N", sort=None, title=None, axis=_name_axis())
    offset = alt.YOffset("probe:N", sort=list(names))
    x = alt.X("llc:Q", title="λ̂", scale=alt.Scale(zero=False, nice=True), axis=_value_axis())
    color = alt.Color("probe:N", scale=categories(names), legend=name_legend(names))
    doubtful = alt.condition("datum.ok", color, alt.value(role("bad")))
    shape = alt.condition("datum.ok", alt.value("circle"), alt.value(CROSS))
    base = alt.Chart()
    chart = alt.layer(
        base.mark_rule(strokeWidth=2, opacity=0.65).encode(
            y=y, yOffset=offset, x=alt.X("low:Q", title="λ̂"), x2="high:Q", color=doubtful
        ),
        base.mark_point(
            filled=True, size=62, opacity=1, tooltip=tooltip(), cursor="pointer"
        ).encode(x=x, y=y, yOffset=offset, color=doubtful, shape=shape),
        data=alt.NamedData("probes"),
    )
    return compiled(_intervals(chart, group).properties(height=alt.Step(14)))


def draws(quantity: str, title: str, num_chains: int) -> dict[str, Any]:
    """A quantity at each draw, a line for each chain; data sets `draws`, and `chosen` for λ̂."""
    import altair as alt

    x = alt.X("draw:Q", title="draw", scale=alt.Scale(nice=False))
    y = alt.Y(f"{quantity}:Q", title=title, scale=alt.Scale(zero=False), axis=y_axis())
    lines = (
        alt.Chart(alt.NamedData("draws"))
        .mark_line(strokeWidth=1.2, opacity=0.85)
        .encode(x=x, y=y, color=_chain(num_chains))
    )
    if quantity != "running":
        return compiled(lines.properties(height=200))
    chosen = alt.Chart(alt.NamedData("chosen")).transform_filter("isValid(datum.llc)")
    band = _with_interval(chosen).mark_rect(color=role("muted"), opacity=0.16)
    mean = chosen.mark_rule(color=role("muted"), strokeDash=[4, 3])
    chart = alt.layer(
        band.encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
        mean.encode(y=alt.Y("llc:Q", title=title)),
        lines,
    )
    return compiled(chart.properties(height=200))


def autocorrelation(num_chains: int) -> dict[str, Any]:
    """Autocorrelation against lag, a line for each chain; data set `lags`."""
    import altair as alt

    zero = alt.Chart(alt.InlineData([{}])).mark_rule(color=role("muted")).encode(y=alt.datum(0))
    lines = (
        alt.Chart(alt.NamedData("lags"))
        .mark_line(strokeWidth=1.4, opacity=0.9)
        .encode(
            x=alt.X("lag:Q", title="lag  (draws)", scale=alt.Scale(nice=False)),
            y=alt.Y("autocorrelation:Q", title="autocorrelation", axis=y_axis()),
            color=_chain(num_chains),
        )
    )
    return compiled(alt.layer(zero, lines).properties(height=200))


def _value_axis() -> Any:
    import altair as alt

    return alt.Axis(grid=True, tickCount=6, labelOverlap=True)


def _name_axis() -> Any:
    import altair as alt

    return alt.Axis(labelColor=role("ink"), labelFontSize=12, labelLimit=160, grid=False)


def _chain(num_chains: int) -> Any:
    import altair as alt

    scale = alt.Scale(
        domain=list(range(num_chains)), range=[SERIES[i % 6] for i in range(num_chains)]
    )
    legend = name_legend([str(chain) for chain in range(num_chains)], title="chain")
    return alt.Color("chain:N", scale=scale, legend=legend)


def _with_interval(chart: Any) -> Any:
    return chart.transform_calculate(
        low="datum.llc - 2 * datum.llc_se", high="datum.llc + 2 * datum.llc_se"
    )


def _intervals(chart: Any, group: str) -> Any:
    return _with_interval(chart.transform_filter(f"datum.group === '{group}'"))


def _interval(base: Any) -> Any:
    import altair as alt

    return base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        color=alt.condition("datum.ok", alt.value(role("ok")), alt.value(role("bad")))
    )
