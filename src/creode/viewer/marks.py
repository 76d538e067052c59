"""What charts share: the axis of training steps, scales, legends, and what follows the pointer.

Here: pieces of charts in Altair, and the way from a chart to Vega.
Not here: whole charts (charts.py and those beside it).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from creode.viewer.theme import SERIES, chart_config, role

NOWHERE = -1  # the signal "at" when no training step is pointed at
CROSS = (  # ✕ as a filled shape: a reading in doubt differs in shape and not in colour alone
    "M-1,-.62L-.62,-1L0,-.38L.62,-1L1,-.62L.38,0L1,.62L.62,1L0,.38L-.62,1L-1,.62L-.38,0Z"
)


@dataclass(frozen=True, kw_only=True)
class StepAxis:
    """Training steps on x ↦ log(1 + x/constant): 0 has a place, large steps are logarithmic."""

    low: int
    high: int
    constant: int
    ticks: tuple[int, ...]

    @classmethod
    def over(cls, steps: Iterable[int], finest: int | None) -> StepAxis:
        """An axis over `steps`, logarithmic from `finest` on (the first step if None)."""
        steps = sorted(set(steps)) or [0]
        positive = [step for step in steps if step > 0]
        constant = finest or min(positive, default=1)
        decades = range(math.floor(math.log10(constant)), math.ceil(math.log10(steps[-1] + 1)) + 1)
        low = max(constant, steps[0])
        inside = [10**k for k in decades if low <= 10**k <= steps[-1]]
        if len(inside) < 4:  # 1, 3, 10, 30, ...
            threes = [m * 10**k for k in decades for m in (1, 3)]
            inside = [tick for tick in threes if low <= tick <= steps[-1]]
        ticks = dict.fromkeys([*steps[:1], *inside] if steps[0] == 0 else inside or steps[-1:])
        return cls(low=steps[0], high=steps[-1], constant=constant, ticks=tuple(ticks))


def compiled(chart: Any) -> dict[str, Any]:
    """The Altair chart as Vega, in the report's look."""
    import vl_convert

    spec: dict[str, Any] = vl_convert.vegalite_to_vega(chart.to_dict(), config=chart_config())
    return spec


def step_channel(axis: StepAxis, few: bool = False) -> Any:
    """The channel x of training steps; with `few`, fewer ticks and no title."""
    import altair as alt

    ticks = axis.ticks
    if few and len(ticks) > 3:
        ticks = (ticks[0], ticks[len(ticks) // 2], ticks[-1])
    scale = alt.Scale(
        type="symlog", constant=axis.constant, domain=[axis.low, axis.high], nice=False
    )
    text = "format(datum.value, '~s')"
    labels = alt.Axis(values=list(ticks), labelExpr=text, labelOverlap=True, labelFlush=False)
    return alt.X("step:Q", scale=scale, axis=labels, title=None if few else "training step")


def y_axis(ticks: int = 5, flush: bool = False) -> Any:
    """An axis as wide as in every other chart, so that charts stand below each other."""
    import altair as alt

    return alt.Axis(tickCount=ticks, minExtent=38, labelFlush=flush)


def categories(names: Sequence[str]) -> Any:
    """A colour a name."""
    import altair as alt

    return alt.Scale(domain=list(names), range=[SERIES[i % 6] for i in range(len(names))])


def name_legend(
    names: Sequence[str], title: str | None = None, columns: int | None = None, **more: Any
) -> Any:
    """A legend on top, in as many columns as there is room for if none are given."""
    import altair as alt

    entry = 30 + 7 * max(len(name) for name in names)  # px, about
    fitting = alt.expr(f"max(1, floor((width - {60 if title else 0}) / {entry}))")
    side = {"titleOrient": "left"} if title else {}
    return alt.Legend(
        orient="top", title=title, symbolType="stroke", columns=columns or fitting, **side, **more
    )


def tooltip() -> Any:
    """The whole row; the page chooses what to show of it."""
    import altair as alt

    return alt.TooltipContent("data")


def linked(chart: Any) -> Any:
    """The chart with the signal `at`, the training step that is pointed at in any chart."""
    import altair as alt

    return chart.add_params(alt.param(name="at", value=NOWHERE))


def rule_at(x: Any) -> Any:
    """A rule at the training step that is pointed at in any chart."""
    import altair as alt

    pointed = alt.Chart(alt.InlineData([{}])).transform_filter(f"at !== {NOWHERE}")
    pointed = pointed.transform_calculate(step="at")
    return pointed.mark_rule(color=role("muted"), strokeWidth=1, opacity=0.7).encode(x=x)


def hover(base: Any, x: Any, y: Any, encodings: Sequence[str] = ()) -> Any:
    """Invisible points: the nearest to the pointer gives its field `near` to the signal `hover`.

    With encodings ["x"], nearest in x alone.
    """
    import altair as alt

    nearest = alt.selection_point(
        name="hover",
        on="pointermove",
        nearest=True,
        fields=["near"],
        encodings=list(encodings),
        clear="pointerout",
    )
    points = base.mark_point(opacity=0, tooltip=tooltip(), cursor="pointer")
    return points.encode(x=x, y=y).add_params(nearest)


def reading_points(base: Any) -> Any:
    """Points: a dot where the reading can be trusted, a ✕ in another colour where it cannot."""
    import altair as alt

    points = base.mark_point(filled=True, opacity=1, tooltip=tooltip(), cursor="pointer")
    return points.encode(
        shape=alt.condition("datum.ok", alt.value("circle"), alt.value(CROSS)),
        color=alt.condition("datum.ok", alt.value(role("ok")), alt.value(role("bad"))),
        size=alt.condition("datum.ok", alt.value(34), alt.value(70)),
    )
