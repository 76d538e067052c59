"""Charts of responses: a heat map of components by data sets, and the modes of a response matrix.

Here: rows and charts of each, from labelled results; data sets by name, colours by role.
Not here: responses and modes (response/, structure/), the page around a chart (response_page.py).
Data sets: `response`, of which one view is drawn at a time; `singular_values`; `loadings`, of which
the page picks one mode.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from creode.viewer.figure import Figure
from creode.viewer.marks import CROSS, compiled
from creode.viewer.readings import Row, rounded
from creode.viewer.theme import role
from creode.viewer.wording import number, short, with_error

MOST_TEXTS = 12  # columns of which the cells still have room for a number
VIEW = "view"
PLAIN = "Below 0 a component supports the data, above 0 it suppresses them."
STANDARD = (
    "Each component against its own mean over the tokens of all these data sets, in units of its "
    "spread over them: below 0 it supports the data more than the others, above 0 less."
)


FORMS = {
    "single-chain": " Single-chain form: all means are over the component's own posterior.",
    "two-chain": " Two-chain form: the data's mean losses are over the whole model's posterior.",
}


def response_rows(response: xr.Dataset) -> list[Row]:
    """A row per view, component and data set: the value, its text with error, whether it is told.

    The value is standardised where that form is there; the plain χ is then said beside it.
    """
    viewed = response if "view" in response.dims else response.expand_dims(view=[""])
    standard = "chi_standard" in response
    shown = "chi_standard" if standard else "chi"
    tested = "significant" in response
    rows = []
    for at in np.ndindex(*(viewed.sizes[dim] for dim in (VIEW, "component", "dataset"))):
        cell = viewed.isel(dict(zip((VIEW, "component", "dataset"), at, strict=True)))
        chi, error = float(cell[shown]), float(cell[f"{shown}_se"])
        plain = with_error(float(cell["chi"]), float(cell["chi_se"])) if standard else None
        rows.append(
            {
                "view": str(cell[VIEW].item()),
                "component": str(cell["component"].item()),
                "dataset": str(cell["dataset"].item()),
                "chi": rounded(chi),
                "chi_text": with_error(chi, error),
                "chi_short": number(chi) if not standard else short(chi),
                "plain_text": plain,
                "significant": bool(cell["significant"]) if tested else None,
                "doubt": "ok" in cell and not bool(cell["ok"]),
            }
        )
    return rows


def views(response: xr.Dataset) -> list[str]:
    """The names of the views, one at a time of which is drawn."""
    return [str(name) for name in response[VIEW].values] if VIEW in response.dims else [""]


def heat_map(response: xr.Dataset) -> Figure:
    """χ of each component to each data set, with a mark where it is told from 0."""
    rows = response_rows(response)
    components, datasets = _distinct(rows, "component"), _distinct(rows, "dataset")
    doubted = any(row["doubt"] for row in rows)
    significant = sum(row["significant"] is True for row in rows)
    tested = rows[0]["significant"] is not None if rows else False
    rate = response.attrs.get("false_discovery")
    share = f" at a false-discovery rate of {rate}" if rate is not None else ""
    standard = "chi_standard" in response
    form = FORMS.get(response.attrs.get("form", ""), "")
    return Figure(
        name="response_heat_map",
        section="response",
        title=f"{'Standardised χ' if standard else 'χ'} of each component to each data set",
        caption=(STANDARD if standard else PLAIN)
        + form
        + (f" ● told from 0{share}; the others are not." if tested else " Not tested against 0.")
        + (" ✕ from draws that cannot be trusted." if doubted else ""),
        description=f"Heat map of susceptibilities of {len(components)} components to "
        f"{', '.join(datasets)}; {significant} of {len(rows)} are told from 0.",
        chart=cells(rows, data="response", title="χ"),
    )


def cells(rows: list[Row], *, data: str, title: str) -> dict[str, Any]:
    """Rows as of `response_rows` as a heat map, a line a component and a column a data set.

    data: name of the data set that holds the rows. title: of the colours.
    """
    import altair as alt

    components, datasets = _distinct(rows, "component"), _distinct(rows, "dataset")
    most = max((abs(row["chi"]) for row in rows if row["chi"] is not None), default=0.0) or 1.0
    base = alt.Chart(alt.NamedData(data))
    x = alt.X("dataset:N", sort=datasets, title=None, axis=_names_axis(angle=-30))
    y = alt.Y("component:N", sort=components, title=None, axis=_names_axis())
    tooltip = alt.TooltipContent("data")
    colour = alt.Color(
        "chi:Q",
        scale=alt.Scale(
            domain=[-most, 0, most],
            range=[role("below"), role("middle"), role("above")],
            interpolate="rgb",  # through the middle, past no third hue
        ),
        legend=alt.Legend(title=title, orient="top", gradientLength=180, titleOrient="left"),
    )
    squares = base.mark_rect(
        cornerRadius=3, stroke=role("paper"), strokeWidth=2, tooltip=tooltip
    ).encode(x=x, y=y, color=colour)
    layers = [squares]
    if len(datasets) <= MOST_TEXTS:
        layers.append(
            base.mark_text(fontSize=11, color=role("ink"), tooltip=tooltip).encode(
                x=x, y=y, text="chi_short:N"
            )
        )
    told = base.transform_filter("datum.significant === true")
    layers.append(
        told.mark_point(
            shape="circle", filled=True, size=26, color=role("ink"), opacity=1, tooltip=tooltip
        ).encode(x=alt.X("dataset:N", sort=datasets, bandPosition=0.92), y=y)
    )
    if any(row["doubt"] for row in rows):
        layers.append(
            base.transform_filter("datum.doubt && datum.chi !== null")
            .mark_point(shape=CROSS, filled=True, size=30, color=role("bad"), opacity=1,
                        tooltip=tooltip)
            .encode(x=alt.X("dataset:N", sort=datasets, bandPosition=0.08), y=y)
        )  # fmt: skip
    layers.append(  # no number: the chain failed
        base.transform_filter("datum.chi === null")
        .mark_point(shape=CROSS, filled=True, size=60, color=role("bad"), tooltip=tooltip)
        .encode(x=x, y=y)
    )
    return compiled(alt.layer(*layers).properties(width=400, height=alt.Step(26)))


def mode_rows(modes: xr.Dataset) -> list[Row]:
    """A row per mode: the singular value, its floor, and the interval of the corrected one."""
    rows = []
    for at in modes["mode"].values:
        cell = modes.sel(mode=at)
        values = {
            name: float(cell[name])
            for name in (
                "singular_value",
                "noise_floor",
                "singular_value_corrected",
                "singular_value_low",
                "singular_value_high",
            )
        }
        error = float(cell["singular_value_se"]) if "singular_value_se" in cell else math.nan
        rows.append(
            {
                "mode": int(at),
                **{name: rounded(value) for name, value in values.items()},
                "singular_value_text": number(values["singular_value"]),
                "noise_floor_text": number(values["noise_floor"]),
                "corrected_text": with_error(values["singular_value_corrected"], error),
                "resolved": bool(cell["resolved"]),
            }
        )
    return rows


def singular_values(modes: xr.Dataset) -> Figure:
    """Singular values as measured, the floor that noise sets, and intervals without its share."""
    import altair as alt

    base = alt.Chart(alt.NamedData("singular_values"))
    tooltip = alt.TooltipContent("data")
    x = alt.X("mode:O", title="mode", axis=alt.Axis(labelAngle=0))
    title = "singular value"
    y = alt.Y("singular_value:Q", title=title, scale=alt.Scale(zero=True, nice=True))
    resolved = alt.condition("datum.resolved", alt.value(role("ok")), alt.value(role("muted")))
    floor = base.mark_tick(thickness=2, color=role("bad"), tooltip=tooltip).encode(
        x=x, y=alt.Y("noise_floor:Q", title=title), size=alt.value(22)
    )
    interval = (
        base.transform_filter("datum.resolved")
        .mark_rule(strokeWidth=5, opacity=0.35, color=role("ok"), tooltip=tooltip)
        .encode(x=x, y=alt.Y("singular_value_low:Q", title=title), y2="singular_value_high:Q")
    )
    points = base.mark_point(filled=True, size=62, opacity=1, tooltip=tooltip).encode(
        x=x,
        y=y,
        color=resolved,
        shape=alt.condition("datum.resolved", alt.value("circle"), alt.value("diamond")),
    )
    rows = mode_rows(modes)
    count = sum(row["resolved"] for row in rows)
    return Figure(
        name="mode_singular_values",
        section="modes",
        title="Singular values",
        caption="Dots: as measured, noise included; ◆ not resolved. Bars across: what noise alone "
        "exceeds one time in twenty. Bands: 95 % intervals without the noise’s share."
        if modes.attrs.get("false_alarm", 0.05) == 0.05
        else "Dots: as measured, noise included; ◆ not resolved. Bars across: what noise alone "
        f"exceeds with probability {modes.attrs['false_alarm']}. Bands: 95 % intervals without "
        "the noise’s share.",
        description=f"Singular values of {len(rows)} modes; {count} stand above the noise floor.",
        chart=compiled(alt.layer(interval, floor, points).properties(width=400, height=210)),
    )


def loading_rows(modes: xr.Dataset) -> list[Row]:
    """A row per mode and component: the loading with ±2 standard errors."""
    rows = []
    for at in modes["mode"].values:
        for component in modes["component"].values:
            cell = modes.sel(mode=at, component=component)
            value, error = float(cell["loading"]), float(cell["loading_se"])
            rows.append(
                {
                    "mode": int(at),
                    "component": str(component),
                    "loading": rounded(value),
                    "low": rounded(value - 2 * error),
                    "high": rounded(value + 2 * error),
                    "loading_text": with_error(value, error),
                    "resolved": bool(cell["resolved"]),
                }
            )
    return rows


def loadings(modes: xr.Dataset) -> Figure:
    """Loadings of the mode that is chosen, with error bars; data set `loadings`."""
    import altair as alt

    components = [str(name) for name in modes["component"].values]
    base = alt.Chart(alt.NamedData("loadings"))
    tooltip = alt.TooltipContent("data")
    y = alt.Y("component:N", sort=components, title=None, axis=_names_axis())
    x = alt.X("loading:Q", title="loading", axis=alt.Axis(grid=True, tickCount=6))
    resolved = alt.condition("datum.resolved", alt.value(role("ok")), alt.value(role("muted")))
    zero = alt.Chart(alt.InlineData([{}])).mark_rule(color=role("muted")).encode(x=alt.datum(0))
    bars = base.mark_bar(height=9, opacity=0.4, tooltip=tooltip).encode(x=x, y=y, color=resolved)
    errors = (
        base.transform_filter("datum.low !== null")
        .mark_rule(strokeWidth=2, color=role("ink"), tooltip=tooltip)
        .encode(x=alt.X("low:Q", title="loading"), x2="high:Q", y=y)
    )
    return Figure(
        name="mode_loadings",
        section="modes",
        title="Loadings",
        caption="Components that respond together in this mode. Lines: ±2 standard errors; a mode "
        "that is not resolved has none.",
        description="Loadings of the chosen mode on each component, with errors.",
        chart=compiled(alt.layer(zero, bars, errors).properties(height=alt.Step(20))),
    )


def _names_axis(angle: int = 0) -> Any:
    import altair as alt

    return alt.Axis(
        labelColor=role("ink"),
        labelFontSize=12,
        labelLimit=160,
        labelAngle=angle,
        ticks=False,
        domain=False,
        grid=False,
    )


def _distinct(rows: list[Row], name: str) -> list[str]:
    return list(dict.fromkeys(row[name] for row in rows))
