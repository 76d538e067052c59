"""Charts of a loop that no other page has: losses along training, what each domain does.

Here: their rows, marks and words.
Not here: other charts of the page (development_charts.py, response.py, writing_charts.py).
Data sets: `formed`, losses of the probes; `domains`.
"""

from __future__ import annotations

from creode.viewer.figure import Figure
from creode.viewer.loop_report import LoopReport
from creode.viewer.marks import (
    StepAxis,
    categories,
    compiled,
    name_legend,
    step_channel,
    tooltip,
    y_axis,
)
from creode.viewer.readings import Row, rounded
from creode.viewer.theme import role
from creode.viewer.wording import number, with_error


def formed_rows(report: LoopReport) -> list[Row]:
    """A row a probe and checkpoint: its loss."""
    return [
        {
            "probe": one["probe"],
            "step": one["step"],
            "loss": rounded(one["loss"]),
            "title": f"{one['probe']} at step {one['step']:,}",
            "text": f"{number(one['loss'])} nats",
        }
        for one in report.losses
    ]


def formed_figure(report: LoopReport) -> Figure:
    """The loss on each probe along training."""
    import altair as alt

    rows = formed_rows(report)
    probes = [row["probe"] for row in report.records["formed"]]
    colour = alt.Color("probe:N", scale=categories(probes), sort=probes,
                       legend=name_legend(probes, columns=len(probes)))  # fmt: skip
    steps = [row["step"] for row in rows]
    x = step_channel(StepAxis.over(steps, finest=min((s for s in steps if s), default=None)))
    y = alt.Y("loss:Q", title="loss, nats", scale=alt.Scale(zero=False), axis=y_axis())
    base = alt.Chart(alt.NamedData("formed"))
    chart = alt.layer(
        base.mark_line(strokeWidth=1.8).encode(x=x, y=y, color=colour),
        base.mark_point(filled=True, size=36, opacity=1, tooltip=tooltip()).encode(
            x=x, y=y, color=colour
        ),
    )
    told = "; ".join(
        f"{row['probe']} from {number(row['first'])} to {number(row['last'])}"
        for row in report.records["formed"]
    )
    return Figure(
        name="probes_along_training",
        section="development",
        title="What was learned when",
        caption="Each line: how badly the model predicts text of one kind that it was not trained "
        "on, as training goes on. Lower is better.",
        description=f"Losses on {len(probes)} probes at {len(rows) // max(len(probes), 1)} "
        f"checkpoints: {told}.",
        chart=compiled(chart.properties(height=220)),
    )


def domain_rows(report: LoopReport) -> list[Row]:
    """A row a domain: what a tenth more weight on it does to the behaviour's loss."""
    rows = []
    for one in report.records["by_domain"]:
        effect, error = one["effect"], one["effect_se"]
        known = effect is not None and error is not None
        rows.append(
            {
                "domain": one["domain"],
                "effect": rounded(effect) if effect is not None else None,
                "low": rounded(effect - 2 * error) if known else None,
                "high": rounded(effect + 2 * error) if known else None,
                "lowers": bool(effect is not None and effect < 0),
                "title": f"a tenth more {one['domain']}",
                "text": "–" if not known else f"{with_error(effect, error)} nats",
            }
        )
    return rows


def domain_figure(report: LoopReport) -> Figure:
    """What each kind of text does to the behaviour."""
    import altair as alt

    rows = domain_rows(report)
    title = f"change of the loss on {report.behaviour}, nats"
    y = alt.Y("domain:N", sort=None, title=None,
              axis=alt.Axis(labelColor=role("ink"), labelFontSize=12, grid=False))  # fmt: skip
    x = alt.X("effect:Q", title=title, axis=alt.Axis(tickCount=5, grid=True))
    colour = alt.condition("datum.lowers", alt.value(role("ok")), alt.value(role("bad")))
    base = alt.Chart(alt.NamedData("domains"))
    zero = alt.Chart(alt.InlineData([{}])).mark_rule(color=role("muted")).encode(x=alt.datum(0))
    chart = alt.layer(
        base.mark_bar(height=12, opacity=0.85, tooltip=tooltip()).encode(x=x, y=y, color=colour),
        base.mark_rule(strokeWidth=2, color=role("ink")).encode(
            y=y, x=alt.X("low:Q", title=title), x2="high:Q"
        ),
        zero,
    )
    told = "; ".join(f"{row['title']}: {row['text']}" for row in rows)
    return Figure(
        name="behaviour_by_domain",
        section="attribution",
        title=f"What a tenth more of each kind of text would do to {report.behaviour}",
        caption="Left of the line: it helps. Right of it: it is in the way, since all weights "
        "together stay the same. Lines across: ±2 standard errors.",
        description=told,
        chart=compiled(chart.properties(height=alt.Step(34))),
    )
