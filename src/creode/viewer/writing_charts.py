"""Charts of weights on data and of their proof, with their words.

Here: marks and scales; the figures.
Not here: their rows (writing.py), the pages (writing_page.py, loop_page.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from creode.viewer.figure import Figure
from creode.viewer.marks import categories, compiled, name_legend, tooltip, y_axis
from creode.viewer.readings import Row
from creode.viewer.theme import role
from creode.viewer.writing import ALL, datasets
from creode.viewer.writing_report import Writing

SHUFFLED = "Shuffled: the same weights on samples drawn at random, so that only the choice differs."


def writing_figures(writings: Sequence[Writing]) -> list[Figure]:
    """Every figure that the writings have data for, in the order of the page."""
    rows = datasets(writings)
    names = [writing.name for writing in writings]
    found = [_histogram(names, rows["weights"])]
    if rows["weight_groups"]:
        found.append(_by_group(names, rows["weight_groups"]))
    if rows["along"]:
        found.append(_along(names, rows["along"]))
    if rows["arms"]:
        found.append(_arms(names, rows["arms"]))
    found.append(_changes(names, rows["changes"]))
    return found


def _histogram(names: Sequence[str], rows: Sequence[Row]) -> Figure:
    import altair as alt

    groups = list(dict.fromkeys(row["group"] for row in rows))
    legend = None
    if groups != [ALL]:
        legend = alt.Legend(orient="top", title=None, symbolType="square", columns=len(groups))
    base = alt.Chart()
    few = alt.Axis(format="~g", tickCount=6, labelOverlap=True)
    bars = base.mark_bar(binSpacing=1).encode(
        x=alt.X("weight:Q", bin=alt.Bin(maxbins=30), title="weight", axis=few),
        y=alt.Y("count():Q", title="count", axis=y_axis(4)),
        color=alt.Color("group:N", scale=categories(groups), legend=legend, sort=groups),
        order=alt.Order("group:N"),
    )
    chart = alt.layer(bars, _mark_at(1.0)).properties(height=150)
    return Figure(
        name="weights_histogram",
        section="weights",
        title="How much each training sample counts",
        caption="Bars: how many samples have a weight in that range. Dashed: weight 1, what every "
        "sample has in ordinary training; right of it a sample counts more, left of it less."
        + (
            "" if legend is None else " Colours: the kind of text, which the weights were not told."
        ),
        description=f"Histogram of weights on the training samples, for {' and '.join(names)}.",
        chart=_panels(chart, names, "weights"),
        facet_width=220,
    )


def _by_group(names: Sequence[str], rows: Sequence[Row]) -> Figure:
    import altair as alt

    groups = list(dict.fromkeys(row["group"] for row in rows))
    y = alt.Y("group:N", sort=groups, title=None, axis=_names())
    scale = alt.Scale(zero=False, nice=True)
    base = alt.Chart()
    bars = base.mark_rule(strokeWidth=3, opacity=0.35, color=role("ok")).encode(
        y=y, x=alt.X("low:Q", title="weight"), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=70, opacity=1, color=role("ok"), tooltip=tooltip())
    few = alt.Axis(tickCount=6, labelOverlap=True)
    x = alt.X("mean:Q", title="weight", scale=scale, axis=few)
    chart = alt.layer(_mark_at(1.0), bars, dots.encode(y=y, x=x))
    return Figure(
        name="weights_by_group",
        section="weights",
        title="Weights by kind of text",
        caption="● the mean weight of a kind of text; the line holds the middle four fifths of its "
        "samples. Dashed: weight 1, ordinary training.",
        description="Mean weight by kind of text: "
        + "; ".join(f"{row['title']}: {row['mean_text']}" for row in rows),
        chart=_panels(chart.properties(height=alt.Step(30)), names, "weight_groups"),
        facet_width=220,
    )


def _changes(names: Sequence[str], rows: Sequence[Row]) -> Figure:
    import altair as alt

    kinds = list(dict.fromkeys(row["what"] for row in rows))
    y = alt.Y("what:N", sort=kinds, title=None, axis=_names())
    title = "change of the loss, nats"
    scale = alt.Scale(zero=True, nice=True, padding=70)  # px: room for the numbers
    x = alt.X("value:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5, grid=True))
    colour = alt.condition(
        "datum.what === 'wanted'", alt.value(role("muted")), alt.value(role("ok"))
    )
    base = alt.Chart()
    intervals = base.transform_filter("datum.low !== null").mark_rule(strokeWidth=2, opacity=0.65)
    dots = base.mark_point(filled=True, size=70, opacity=1, tooltip=tooltip())
    texts = base.mark_text(dy=-11, fontSize=11, color=role("ink"))
    chart = alt.layer(
        _mark_at(0.0),
        intervals.encode(y=y, x=alt.X("low:Q", title=title), x2="high:Q", color=colour),
        dots.encode(x=x, y=y, color=colour),
        texts.encode(x=x, y=y, text="text:N"),
    )
    return Figure(
        name="predicted_and_achieved",
        section="proof" if len(kinds) > 2 else "weights",
        title="Predicted and achieved" if len(kinds) > 2 else "Wanted and predicted",
        caption="Left of the dashed line the loss falls, right of it it rises. Lines across: 95 % "
        "intervals. "
        + (
            "Achieved: with the weights less without. " + SHUFFLED
            if len(kinds) > 2
            else "The prediction is of draws that had no part in making the weights."
        ),
        description="; ".join(f"{row['title']}: {row['text']}" for row in rows),
        chart=_panels(chart.properties(height=alt.Step(44)), names, "changes"),
        facet_width=260,
    )


def _arms(names: Sequence[str], rows: Sequence[Row]) -> Figure:
    import altair as alt

    arms = list(dict.fromkeys(row["arm"] for row in rows))
    panels = list(dict.fromkeys(row["panel"] for row in rows))
    several = len(panels) > 1
    label = "datum.panel + '|' + datum.writing"
    x = alt.X("arm:N", sort=arms, title=None, axis=alt.Axis(labelAngle=0, grid=False,
              ticks=False))  # fmt: skip
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False, nice=True), axis=y_axis(4))
    base = alt.Chart()
    lines = base.mark_line(color=role("muted"), opacity=0.5, strokeWidth=1.2)
    dots = base.mark_point(filled=True, size=60, opacity=0.95, tooltip=tooltip())
    colour = alt.Color("arm:N", scale=_arm_colours(arms), legend=None)
    chart = alt.layer(
        lines.encode(x=x, y=y, detail="seed:N"), dots.encode(x=x, y=y, color=colour)
    ).properties(height=170, width=200)
    head = alt.Header(labelAnchor="start", labelPadding=10, labelLimit=420,
                      labelExpr="split(datum.label, '|')")  # fmt: skip
    order = [f"{panel}|{name}" for panel in panels for name in names]
    facet = alt.Facet("facet:N", sort=order, title=None, header=head)
    faceted = (
        chart.facet(
            facet=facet, columns=len(names), spacing={"row": 100, "column": 62}, bounds="flush",
            data=alt.NamedData("arms"),
        )
        .transform_calculate(facet=label)
        .resolve_axis(x="independent", y="independent")
        .resolve_scale(y="independent")
    )  # fmt: skip
    return Figure(
        name="arms_over_seeds",
        section="proof",
        title="Every model that was trained again",
        caption="A dot: one model. A line joins models that began alike and saw the data in the "
        "same order; only their weights differ. "
        + ("Below: when the loss reached the level, marked dashed above. " if several else "")
        + SHUFFLED,
        description="Values by arm and seed of "
        + " and of ".join(panels)
        + f", for {' and '.join(names)}.",
        chart=compiled(faceted),
        facet_width=250,
    )


def _along(names: Sequence[str], rows: Sequence[Row]) -> Figure:
    import altair as alt

    arms = list(dict.fromkeys(row["arm"] for row in rows))
    x = alt.X("step:Q", title="training step", axis=alt.Axis(grid=False, tickCount=5))
    scale = alt.Scale(zero=False, nice=True)
    y = alt.Y("value:Q", title="loss, nats", scale=scale, axis=y_axis(5))
    colour = alt.Color("arm:N", scale=_arm_colours(arms), sort=arms,
                       legend=name_legend(arms, columns=len(arms), symbolOpacity=1))  # fmt: skip
    base = alt.Chart().transform_filter("datum.step > 0")
    low = alt.Y("low:Q", title="loss, nats", scale=scale)
    level = base.transform_filter("isValid(datum.level)").transform_aggregate(level="min(level)")
    levelled = any(row["level"] is not None for row in rows)
    layers = [
        base.mark_area(opacity=0.14).encode(x=x, y=low, y2="high:Q", color=colour),
        base.mark_line(strokeWidth=1.8).encode(x=x, y=y, color=colour),
        base.mark_point(filled=True, size=18, opacity=1, tooltip=tooltip()).encode(
            x=x, y=y, color=colour
        ),
    ]
    if levelled:
        dashed = level.mark_rule(strokeDash=[4, 3], color=role("muted"))
        layers.insert(0, dashed.encode(y=alt.Y("level:Q", title="loss, nats", scale=scale)))
    chart = alt.layer(*layers).properties(height=230)
    return Figure(
        name="losses_along_training",
        section="proof",
        title="Before and after: the behaviour along training",
        caption="Lines: the mean over models that began differently; bands: from the least to the "
        "greatest of them. A line further left learned it sooner."
        + (" Dashed: the level that counts as learned." if levelled else ""),
        description=f"Loss along training in {len(arms)} arms, for {' and '.join(names)}.",
        chart=_panels(chart, names, "along", shared=True),
        facet_width=260,
    )


def _panels(chart: Any, names: Sequence[str], data: str, *, shared: bool = False) -> dict[str, Any]:
    """The chart once for each writing, side by side."""
    import altair as alt

    header = alt.Header(labelAnchor="start", labelPadding=10)
    facet = alt.Facet("writing:N", sort=list(names), title=None, header=header)
    spacing = {"row": 72, "column": 62}
    columns = max(1, min(len(names), 2))
    faceted = chart.facet(
        facet=facet, columns=columns, spacing=spacing, bounds="flush", data=alt.NamedData(data)
    ).resolve_axis(x="independent", y="independent")
    if not shared:
        faceted = faceted.resolve_scale(x="independent")
    return compiled(faceted)


def _mark_at(value: float) -> Any:
    import altair as alt

    base = alt.Chart(alt.InlineData([{}]))
    return base.mark_rule(strokeDash=[4, 3], color=role("muted")).encode(x=alt.datum(value))


def _arm_colours(arms: Sequence[str]) -> Any:
    import altair as alt

    named = ["ok", "series5", "series1", "series2", "series3", "series4"]
    return alt.Scale(domain=list(arms), range=[role(named[i % 6]) for i in range(len(arms))])


def _names() -> Any:
    import altair as alt

    return alt.Axis(labelColor=role("ink"), labelFontSize=12, labelLimit=160, grid=False,
                    minExtent=90)  # fmt: skip
