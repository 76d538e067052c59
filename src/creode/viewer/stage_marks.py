"""Stages and alarms as marks on charts along training.

Here: what lies behind a chart (data sets `stages` and `boundaries`), and the mark of an alarm.
Not here: their rows (development.py), the charts (charts.py, development_charts.py).
"""

from __future__ import annotations

from typing import Any

from creode.viewer.marks import tooltip
from creode.viewer.theme import role

_LEAST_LABEL, _LEAST_NUMBER = 52, 12  # px of a stage that is labelled in full, or by its number


def behind(x: Any, *, labels: bool = False) -> list[Any]:
    """Stages, shaded where λ̂ moves, and their boundaries with intervals.

    Args:
        x: the channel of training steps.
        labels: name each stage at the top, as far as there is room.
    """
    import altair as alt

    def along(name: str) -> Any:
        return alt.X(f"{name}:Q", title=x["title"], scale=x["scale"], axis=x["axis"])

    stages = alt.Chart(alt.NamedData("stages"))
    boundaries = alt.Chart(alt.NamedData("boundaries"))
    layers = [
        stages.transform_filter("datum.moves")
        .mark_rect(color=role("ok"), opacity=0.09)
        .encode(x=along("start"), x2="end:Q"),
        boundaries.mark_rect(color=role("muted"), opacity=0.14).encode(x=along("low"), x2="high:Q"),
        boundaries.mark_rule(color=role("muted"), strokeWidth=1, opacity=0.7).encode(
            x=along("step")
        ),
    ]
    if labels:
        room = "(scale('x', datum.end) - scale('x', datum.start))"
        text = (
            f"{room} > {_LEAST_LABEL} ? datum.label : {room} > {_LEAST_NUMBER} ? datum.stage : ''"
        )
        names = stages.mark_text(
            align="left", baseline="top", dx=4, dy=2, fontSize=11, color=role("muted"),
            text=alt.expr(text),
        )  # fmt: skip
        layers.append(names.encode(x=along("start"), y=alt.value(0)))
    return layers


def alarm_mark(base: Any, x: Any, *, below: int = 5) -> Any:
    """A triangle, some px below the top of the chart."""
    import altair as alt

    return base.mark_point(
        shape="triangle-down", filled=True, size=90, color=role("bad"), opacity=1, tooltip=tooltip()
    ).encode(x=x, y=alt.value(below))
