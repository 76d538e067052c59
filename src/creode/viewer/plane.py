"""The paths of outputs of one run or several in their plane: rows and chart.

Here: checkpoints and ideal predictors by their first two components, with errors; likewise the path
through responses.
Not here: the components (development/), other charts of a development.
Data sets: `plane`, `chi_path`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from creode.viewer.development_report import DevelopmentReport
from creode.viewer.figure import Figure
from creode.viewer.marks import categories, compiled, name_legend, tooltip
from creode.viewer.readings import Row, rounded
from creode.viewer.theme import role
from creode.viewer.wording import with_error

MOST_LOADINGS = 3  # told of an axis
CHECKPOINT, IDEAL = "checkpoint", "ideal predictor"


def plane_rows(report: DevelopmentReport) -> list[Row]:
    """A row for each checkpoint of each run, in order, and for each ideal predictor."""
    if report.plane is None:
        return []
    found = _by_run(report.plane)
    starts = [int(stage["start"]) for stage in report.found]
    rows = []
    for number, run in enumerate(map(str, found["run"].values)):
        path = found[["score", "score_se"]].sel(run=run).dropna("checkpoint")
        steps = [int(step) for step in path["checkpoint"].values]
        told = _told(steps, [] if number else starts)
        for place, step in enumerate(steps):
            at = path.isel(checkpoint=place)
            title = f"{run}, step {step:,}" if run else f"Step {step:,}"
            label = f"{step:,}" if step in told else ""
            if run and place == len(steps) - 1:
                label = f"{run} {label}"
            named = {"label": label, "title": title, "run": run}
            rows.append(_row(CHECKPOINT, at["score"], at["score_se"], order=place, **named))
    for place, name in enumerate(map(str, report.plane["predictor"].values)):
        at = report.plane[["ideal", "ideal_se", "off_plane"]].isel(predictor=place)
        row = _row(IDEAL, at["ideal"], at["ideal_se"], order=None, label=name, title=name, run=None)
        rows.append(row | {"words": [*row["words"], f"off the plane {float(at['off_plane']):.3g}"]})
    return rows


def plane_figure(report: DevelopmentReport) -> Figure:
    """The paths in the plane of its first two components."""
    assert report.plane is not None
    runs = [str(run) for run in _by_run(report.plane)["run"].values]
    shares = [float(share) for share in report.plane["explained"].values[:2]]
    samples = int(report.plane.attrs["num_samples"])
    names = ", ".join(map(str, report.plane["predictor"].values))
    ideal = " Diamonds: ideal predictors, projected into the plane." if names else ""
    several = len(runs) > 1
    over = "checkpoints of all runs" if several else "checkpoints"
    told = "the first and last of each run, and those of stages," if several else "those of stages"
    return Figure(
        name="trajectory_plane",
        section="stages",
        title="Paths of the outputs" if several else "Path of the outputs",
        caption=f"Log-probabilities on {samples} samples, in the plane of their first two "
        f"principal components over {over}. Numbers are training steps, {told} "
        f"named.{ideal} Bars: ±2 standard errors over samples.",
        description=(
            f"Paths of the outputs of the runs {', '.join(runs)}" if several
            else "Path of the model’s outputs"
        )
        + " along training in the plane of two principal components, "
        f"{shares[0]:.0%} and {shares[1]:.0%} of the variance"
        + (f", beside the predictors {names}." if names else "."),
        chart=_chart("plane", shares, runs),
    )  # fmt: skip


def chi_path_rows(report: DevelopmentReport) -> list[Row]:
    """A row for each checkpoint on the path through responses, in order."""
    found = report.chi_path
    if found is None:
        return []
    steps = [int(step) for step in found["checkpoint"].values]
    told = _told(steps, [int(stage["start"]) for stage in report.found])
    rows = []
    for place, step in enumerate(steps):
        at = found[["score", "score_se"]].isel(checkpoint=place)
        named = {"label": f"{step:,}" if step in told else "", "title": f"Step {step:,}"}
        more = {"order": place, "run": "", **named}
        rows.append(_row(CHECKPOINT, at["score"], at["score_se"], **more))
    return rows


def chi_path_figure(report: DevelopmentReport) -> Figure:
    """The path through responses, in the plane of its first two components."""
    found = report.chi_path
    assert found is not None
    shares = [float(share) for share in found["explained"].values[:2]]
    noise = float(found["noise"])
    most = [_loadings(found.isel(axis=axis)) for axis in (0, 1)]
    return Figure(
        name="chi_path",
        section="stages",
        title="Path through responses",
        caption="χ of components to data, each component’s divided by how much it moves, in the "
        "plane of two principal components over checkpoints. Numbers are training steps, those of "
        f"stages named. Component 1 is most of all {most[0]}; component 2 {most[1]}. Errors alone "
        f"would make {noise:.0%} of the variance. Bars: ±2 standard errors over chains.",
        description="Path of the susceptibilities along training in the plane of two principal "
        f"components, {shares[0]:.0%} and {shares[1]:.0%} of the variance.",
        chart=_chart("chi_path", shares, [""]),
    )


def _loadings(axis: xr.Dataset) -> str:
    """The responses that an axis is most of, with their loadings."""
    flat = axis["loading"].stack(response=("component", "probe"))
    order = np.argsort(-np.abs(flat.values))[:MOST_LOADINGS]
    names = (f"{part} to {probe}" for part, probe in flat["response"].values[order])
    numbers = (f"{value:+.2f}".replace("-", "−") for value in flat.values[order])
    return ", ".join(f"{name} ({value})" for name, value in zip(names, numbers, strict=True))


def _by_run(found: xr.Dataset) -> xr.Dataset:
    """With the dimension run, of one run that has no name."""
    return found if "run" in found.dims else found.expand_dims(run=[""])


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


def _chart(data: str, shares: Sequence[float], runs: Sequence[str]) -> dict[str, Any]:
    import altair as alt

    def channel(kind: Any, name: str, field: str, share: float) -> Any:
        axis = alt.Axis(grid=True, tickCount=6)
        title = f"component {name}  ({100 * share:.0f} %)"
        return kind(f"{field}:Q", title=title, scale=alt.Scale(zero=False, nice=True), axis=axis)

    x, x_low = (channel(alt.X, "1", field, shares[0]) for field in ("x", "x_low"))
    y, y_low = (channel(alt.Y, "2", field, shares[1]) for field in ("y", "y_low"))
    base = alt.Chart(alt.NamedData(data))
    path = base.transform_filter(f"datum.what === '{CHECKPOINT}'")
    ideal = base.transform_filter(f"datum.what === '{IDEAL}'")
    bars = base.mark_rule(strokeWidth=1.2, opacity=0.45, color=role("muted"))
    shade = alt.Color("order:Q", scale=alt.Scale(range=[role("heat1"), role("ink")]), legend=None)
    if len(runs) > 1:
        shade = alt.Color(
            "run:N", sort=None, scale=categories(runs), legend=name_legend(runs, values=[*runs])
        )
        line: dict[str, Any] = {"color": shade}
    else:
        line = {"color": alt.value(role("ok"))}
    steps = path.mark_text(align="left", dx=8, dy=-7, fontSize=11, color=role("ink"))
    apart = role("muted" if len(runs) > 1 else "series1")
    names = ideal.mark_text(align="left", dx=9, dy=9, fontSize=11, color=apart)
    return compiled(
        alt.layer(
            bars.encode(x=x_low, x2="x_high:Q", y=y),
            bars.encode(x=x, y=y_low, y2="y_high:Q"),
            path.mark_line(strokeWidth=1.6, opacity=0.6).encode(
                x=x, y=y, order="order:Q", **line
            ),
            path.mark_point(filled=True, size=46, opacity=1, tooltip=tooltip()).encode(
                x=x, y=y, color=shade
            ),
            ideal.mark_point(
                shape="diamond", filled=True, size=110, opacity=1, color=apart,
                tooltip=tooltip(),
            ).encode(x=x, y=y),
            steps.encode(x=x, y=y, text="label:N"),
            names.encode(x=x, y=y, text="label:N"),
        ).properties(height=340)
    )  # fmt: skip
