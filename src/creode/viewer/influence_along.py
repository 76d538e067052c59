"""Influences along training: rows and chart of the strongest, and what changes as a table.

Here: which are drawn, with their bands and their samples' texts; flips and peaks in words.
Not here: finding flips and peaks (development/), influence at one checkpoint (influence.py).
Data set: `influence`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from creode.viewer.development_report import DevelopmentReport
from creode.viewer.figure import Figure
from creode.viewer.marks import (
    CROSS,
    StepAxis,
    categories,
    compiled,
    hover,
    linked,
    rule_at,
    step_channel,
    tooltip,
    y_axis,
)
from creode.viewer.readings import Row, rounded
from creode.viewer.stage_marks import behind
from creode.viewer.theme import role
from creode.viewer.wording import number, with_error

PANELS, LINES = 6, 4  # queries that are drawn, and samples of each
MOST_CHANGES = 40  # rows of the table
RANKS = [str(rank) for rank in range(LINES)]
_LINE = 0.08  # of a panel's height, of a line of text
_TEXT = 80  # characters of a sample's text beside it


def influence_rows(report: DevelopmentReport) -> list[Row]:
    """The influence of the strongest samples on each query that is drawn, at every checkpoint."""
    found = report.influence
    if found is None:
        return []
    rows = []
    ok = found["influence_ok"].values.astype(bool)
    steps = found["checkpoint"].values
    last = int(np.flatnonzero(ok)[-1]) if ok.any() else len(steps) - 1
    for query, trains in drawn(found):
        shown = np.nan_to_num(found["influence"].isel(query=query, train=trains).values)
        labels = _apart(shown[last], float(np.ptp(shown)))
        for rank, train in enumerate(trains):
            one = found.isel(query=query, train=train)
            beside = {"label": str(int(one["train"])), "label_at": rounded(float(labels[rank]))}
            name, panel = f"sample {int(one['train'])}", f"query {int(one['query'])}"
            values, errors = one["influence"].values, one["influence_se"].values
            for place, (at, se) in enumerate(zip(values, errors, strict=True)):
                rows.append(
                    {
                        "panel": panel,
                        "series": RANKS[rank],
                        "step": int(steps[place]),
                        "value": rounded(float(at)),
                        "low": rounded(float(at - 2 * se)),
                        "high": rounded(float(at + 2 * se)),
                        "ok": bool(ok[place]),
                        **(beside if place == last else {"label": "", "label_at": None}),
                        "title": f"{name} on {panel} at step {int(steps[place]):,}",
                        "text": with_error(float(at), float(se)),
                        "words": [_excerpt(one, "train_text")],
                    }
                )
    return rows


def drawn(found: xr.Dataset) -> list[tuple[int, list[int]]]:
    """Places of queries and of the samples drawn with each, largest influence at its peak first.

    Queries come in the order of their surest flip, those without one in that of their largest
    influence; a query's surest flip is drawn in the place of its weakest sample if it is not among
    the strongest.
    """
    size = np.nan_to_num(np.abs(found["peak_value"].values))
    p = np.where(found["flip"].values, found["flip_p"].values, 2.0)
    order = np.lexsort((-size.max(1), p.min(1)))[:PANELS]
    chosen = []
    for query in order:
        strongest = np.argsort(-size[query], kind="stable")[:LINES].tolist()
        surest = int(p[query].argmin())
        if p[query, surest] <= 1 and surest not in strongest:
            strongest[-1] = surest
        chosen.append((int(query), strongest))
    return chosen


def influence_figure(report: DevelopmentReport, axis: StepAxis) -> Figure:
    """Influences along training, a panel a query."""
    found = report.influence
    assert found is not None
    shown = drawn(found)
    panels = [f"query {int(found['query'][query])}" for query, _ in shown]
    total, doubted = found.sizes["query"], int((~found["influence_ok"].astype(bool)).sum())
    some = f" {len(panels)} of {total:,} queries are drawn." if len(panels) < total else ""
    doubt = " ✕ marks a checkpoint that cannot be trusted." if doubted else ""
    kind = "Bayesian influence, nats²" if _kind(found) == "covariance" else "As a correlation"
    return Figure(
        name="influence_along_training",
        section="stages",
        title="Influence of training samples on queries",
        caption=f"{kind}, of the strongest samples, whose numbers are at the end of their lines. "
        "Below 0: more of the sample would lower the loss on the query. Bands: ±2 standard errors."
        f" Shaded: stages in which λ̂ moves.{doubt}{some}",
        description=f"Influence along training on {', '.join(panels)}, of up to {LINES} training "
        f"samples each; {int(found['flip'].sum())} of {found['flip'].size:,} pairs change their "
        f"sign and {int(found['peak'].sum())} peak.",
        chart=_chart(panels, axis),
        facet_width=240,
    )


def change_rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first flips and peaks in words."""
    return [
        {
            "query": str(one["query"]),
            "train": str(one["train"]),
            "flip": f"{one['flip_after']:,} – {one['flip_before']:,}" if one["flip"] else "–",
            "times": f"{one['num_flips']}×" if one["flip"] and one["num_flips"] > 1 else "",
            "peak": f"{one['peak_step']:,} ({one['peak_low']:,} – {one['peak_high']:,})"
            if one["peak"]
            else "–",
            "value": with_error(one["peak_value"], one["peak_value_se"]) if one["peak"] else "–",
            "meets": ", ".join(n for n in ("flip", "peak") if one.get(f"{n}_meets")) or "–",
            "query_text": _short(one["query_text"]),
            "train_text": _short(one["train_text"]),
        }
        for one in records[:MOST_CHANGES]
    ]


def changes_sentence(found: xr.Dataset) -> str:
    """How many pairs flip and peak, and how many of them at a boundary."""
    said = []
    for name, what in (("flip", "change their sign"), ("peak", "peak between the ends")):
        count = int(found[name].sum())
        where = ""
        if count and f"{name}_meets" in found:
            chance = number(float(found.attrs[f"{name}s_by_chance"]))
            met = int(found[f"{name}_meets"].sum())
            where = f" ({met} around a stage boundary, {chance} by chance)"
        said.append(f"{count:,} {what}{where}")
    doubted = int((~found["influence_ok"].astype(bool)).sum())
    left = (
        f" {doubted} of {found.sizes['checkpoint']} checkpoints were left out." if doubted else ""
    )
    rate = float(found.attrs["rate"])
    return (
        f"Of {found['flip'].size:,} pairs {' and '.join(said)}, with at most {rate:.0%} false ones "
        f"of either kind expected.{left}"
    )


def _apart(values: np.ndarray, height: float) -> np.ndarray:
    """Places for labels, in the order of the values and at least a line from each other."""
    order, placed = np.argsort(values), values.astype(np.float64)
    for lower, upper in pairwise(order):
        placed[upper] = max(placed[upper], placed[lower] + _LINE * height)
    return placed


def _kind(found: xr.Dataset) -> str:
    return str(found.attrs.get("kind", "covariance"))


def _excerpt(one: xr.Dataset, name: str) -> str:
    return _short(str(one[name].item()) if name in one.coords else None)


def _short(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= _TEXT else f"{line[: _TEXT - 1]}…"


def _chart(panels: Sequence[str], axis: StepAxis) -> dict[str, Any]:
    import altair as alt

    x = step_channel(axis, few=True)
    scale = alt.Scale(zero=True, nice=True)
    y = alt.Y("value:Q", title=None, scale=scale, axis=y_axis(4))
    label_at = alt.Y("label_at:Q", title=None, scale=scale)
    low = alt.Y("low:Q", title=None, scale=scale)
    colour = alt.Color("series:N", sort=None, scale=categories(RANKS), legend=None)
    base = alt.Chart()
    trusted = base.transform_filter("datum.ok && datum.value !== null")
    doubted = base.transform_filter("!datum.ok && datum.value !== null")
    zero = alt.Chart(alt.InlineData([{"value": 0}]))
    panel = alt.layer(
        *behind(x),
        zero.mark_rule(color=role("muted"), strokeWidth=1).encode(y=y),
        trusted.mark_area(opacity=0.16).encode(x=x, y=low, y2="high:Q", color=colour),
        trusted.mark_line(strokeWidth=1.6).encode(x=x, y=y, color=colour),
        rule_at(x),
        trusted.mark_point(filled=True, size=24, opacity=1).encode(x=x, y=y, color=colour),
        doubted.mark_point(shape=CROSS, filled=True, size=60, opacity=1, tooltip=tooltip()).encode(
            x=x, y=y, color=alt.value(role("bad"))
        ),
        trusted.mark_text(align="left", dx=6, fontSize=11).encode(
            x=x, y=label_at, text="label:N", color=colour
        ),
        hover(trusted.transform_calculate(near="datum.step"), x, y),
    ).properties(height=150)
    header = alt.Header(labelAnchor="start", labelPadding=10)
    chart = panel.facet(
        facet=alt.Facet("panel:N", sort=list(panels), title=None, header=header),
        columns=2,
        spacing={"row": 64, "column": 78},
        bounds="flush",
        data=alt.NamedData("influence"),
    )
    chart = chart.resolve_axis(x="independent", y="independent").resolve_scale(y="independent")
    return compiled(linked(chart))
