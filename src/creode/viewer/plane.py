"""The path of a model's outputs in its plane: rows and chart.

Here: checkpoints and ideal predictors by their first two components, with errors.
Not here: the components (development/trajectory.py), other charts of a development.
Data set: `plane`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import xarray as xr

from creode.viewer.development_report import DevelopmentReport
from creode.viewer.figure import Figure
from creode.viewer.marks import compiled, tooltip
from creode.viewer.readings import Row, rounded
from creode.viewer.theme import role
from creode.viewer.wording import with_error

CHECKPOINT, IDEAL = "checkpoint", "ideal predictor"


def plane_rows(report: DevelopmentReport) -> list[Row]:
    """A row for each checkpoint, in order, and for each ideal predictor."""
    found = report.plane
    if found is None:
        return []
    steps = [int(step) for step in found["checkpoint"].values]
    told = _told(steps, [int(stage["start"]) for stage in report.found])
    rows = []
    for place, step in enumerate(steps):
        at = found[["score", "score_se"]].isel(checkpoint=place)
        named = {"label": f"{step:,}" if step in told else "", "title": f"Step {step:,}"}
        rows.append(_row(CHECKPOINT, at["score"], at["score_se"], order=place, **named))
    for place, name in enumerate(map(str, found["predictor"].values)):
        at = found[["ideal", "ideal_se", "off_plane"]].isel(predictor=place)
        row = _row(IDEAL, at["ideal"], at["ideal_se"], order=None, label=name, title=name)
        rows.append(row | {"words": [*row["words"], f"off the plane {float(at['off_plane']):.3g}"]})
    return rows


def plane_figure(report: DevelopmentReport) -> Figure:
    """The path in the plane of its first two components."""
    assert report.plane is not None
    shares = [float(share) for share in report.plane["explained"].values[:2]]
    samples = int(report.plane.attrs["num_samples"])
    names = ", ".join(map(str, report.plane["predictor"].values))
    ideal = " Diamonds: ideal predictors, projected into the plane." if names else ""
    return Figure(
        name="trajectory_plane",
        section="stages",
        title="Path of the outputs",
        caption=f"Log-probabilities on {samples} samples, in the plane of their first two "
        "principal components over checkpoints. Numbers are training steps, those of stages "
        f"named.{ideal} Bars: ±2 standard errors over samples.",
        description="Path of the model’s outputs along training in the plane of two principal "
        f"components, {shares[0]:.0%} and {shares[1]:.0%} of the variance"
        + (f", beside the predictors {names}." if names else "."),
        chart=_chart(shares),
    )


def _told(steps: Sequence[int], starts: Sequence[int]) -> set[int]:
    """The first and the last checkpoint, and those nearest to where stages begin."""
    nearest = (min(steps, key=lambda step: abs(step - start)) for start in starts)
    return {steps[0], steps[-1], *nearest}


def _row(what: str, at: xr.DataArray, error: xr.DataArray, **more: Any) -> Row:
    return {"what": what, **dict(_numbers(at, error)), **more, "words": list(_words(at, error))}


def _numbers(at: xr.DataArray, error: xr.DataArray) -> Iterator[tuple[str, float | None]]:
    for name, value, se in zip("xy", at.values, error.values, strict=False):
        yield name, rounded(float(value))
        yield f"{name}_low", rounded(float(value - 2 * se))
        yield f"{name}_high", rounded(float(value + 2 * se))


def _words(at: xr.DataArray, error: xr.DataArray) -> Iterator[str]:
    for number, (value, se) in enumerate(zip(at.values, error.values, strict=True), start=1):
        yield f"component {number}: {with_error(float(value), float(se))}"


def _chart(shares: Sequence[float]) -> dict[str, Any]:
    import altair as alt

    def channel(kind: Any, name: str, field: str, share: float) -> Any:
        axis = alt.Axis(grid=True, tickCount=6)
        title = f"component {name}  ({100 * share:.0f} %)"
        return kind(f"{field}:Q", title=title, scale=alt.Scale(zero=False, nice=True), axis=axis)

    x, x_low = (channel(alt.X, "1", field, shares[0]) for field in ("x", "x_low"))
    y, y_low = (channel(alt.Y, "2", field, shares[1]) for field in ("y", "y_low"))
    base = alt.Chart(alt.NamedData("plane"))
    path = base.transform_filter(f"datum.what === '{CHECKPOINT}'")
    ideal = base.transform_filter(f"datum.what === '{IDEAL}'")
    bars = base.mark_rule(strokeWidth=1.2, opacity=0.45, color=role("muted"))
    shade = alt.Color("order:Q", scale=alt.Scale(range=[role("heat1"), role("ink")]), legend=None)
    steps = path.mark_text(align="left", dx=8, dy=-7, fontSize=11, color=role("ink"))
    names = ideal.mark_text(align="left", dx=9, dy=9, fontSize=11, color=role("series1"))
    return compiled(
        alt.layer(
            bars.encode(x=x_low, x2="x_high:Q", y=y),
            bars.encode(x=x, y=y_low, y2="y_high:Q"),
            path.mark_line(strokeWidth=1.6, color=role("ok"), opacity=0.6).encode(
                x=x, y=y, order="order:Q"
            ),
            path.mark_point(filled=True, size=46, opacity=1, tooltip=tooltip()).encode(
                x=x, y=y, color=shade
            ),
            ideal.mark_point(
                shape="diamond", filled=True, size=110, opacity=1, color=role("series1"),
                tooltip=tooltip(),
            ).encode(x=x, y=y),
            steps.encode(x=x, y=y, text="label:N"),
            names.encode(x=x, y=y, text="label:N"),
        ).properties(height=340)
    )  # fmt: skip
