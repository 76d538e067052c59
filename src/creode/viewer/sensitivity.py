"""λ̂ over step size × nβ × γ: the container, its rows, its chart.

Here: a row per cell that was sampled; panels by γ, nβ on x, the step size as colour.
Not here: sampling and slopes (study/sensitivity.py, geometry/plateau.py), the page
(sensitivity_page.py).
Data set: `cells`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import xarray as xr

from creode.geometry.over_study import NOT_RUN
from creode.viewer.figure import Figure
from creode.viewer.marks import CROSS, compiled
from creode.viewer.readings import Row, rounded
from creode.viewer.theme import SERIES, role
from creode.viewer.wording import number, with_error

DIMS = ("epsilon", "nbeta", "gamma")
VARIABLES = (
    "llc", "llc_se", "ess", "rhat", "rhat_distance", "virial", "step_size", "steps", "ok",
    "reasons", "notes",
)  # fmt: skip
SLOPES = ("slope", "slope_se", "level", "sentence", "slope_ok")
DODGE = 1.09  # nβ of neighbouring step sizes is drawn apart by this factor


@dataclass(frozen=True, kw_only=True, eq=False)
class SensitivityReport:
    """What one page shows: readings around a choice of settings."""

    title: str
    readings: xr.Dataset  # of creode.study.sensitivity
    config: Mapping[str, object] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    def __post_init__(self) -> None:
        missing = [name for name in (*VARIABLES, *SLOPES) if name not in self.readings]
        if missing or set(self.readings["llc"].dims) != set(DIMS):
            raise ValueError(
                f"readings lacks {', '.join(missing) or f'the dimensions {DIMS}'}; give the "
                "result of creode.study.sensitivity(posterior, calibration)."
            )


def cell_rows(readings: xr.Dataset) -> list[Row]:
    """A row per cell that was sampled: its place, settings, numbers and verdict."""
    middle = (readings.sizes["epsilon"] - 1) / 2
    rows = []
    for at in product(*(range(readings.sizes[name]) for name in DIMS)):
        cell = readings.isel(dict(zip(DIMS, at, strict=True)))
        if str(cell["reasons"].item()) == NOT_RUN:
            continue
        values = {name: float(cell[name]) for name in VARIABLES[:-3]}
        epsilon, nbeta, gamma = (float(cell[name]) for name in DIMS)
        factors = (epsilon, float(cell["nbeta_factor"]), float(cell["gamma_factor"]))
        ok, reasons = bool(cell["ok"]), str(cell["reasons"].item())
        rows.append(
            {
                "cell": "ε × {:g}, nβ × {:.3g}, γ × {:.3g}".format(*factors),
                "epsilon": f"{epsilon:g}",
                "nbeta": rounded(nbeta),
                "gamma": rounded(gamma),
                "shown_nbeta": rounded(nbeta * DODGE ** (at[0] - middle)),
                "panel": _panel(gamma, factors[2]),
                "chosen": all(abs(factor - 1) < 1e-9 for factor in factors),
                **{name: rounded(value) for name, value in values.items()},
                "low": rounded(values["llc"] - 2 * values["llc_se"]),
                "high": rounded(values["llc"] + 2 * values["llc_se"]),
                "llc_text": with_error(values["llc"], values["llc_se"]),
                "ok": ok,
                "reasons": "" if ok else reasons or "no reason was stored",
                "notes": str(cell["notes"].item()),
            }
        )
    return rows


def slope_rows(readings: xr.Dataset) -> list[Row]:
    """A row per direction: the slope with its error, and what it says."""
    return [
        {
            "direction": str(name),
            "slope_text": with_error(
                float(readings["slope"].values[at]), float(readings["slope_se"].values[at])
            ),
            "level": str(readings["level"].values[at]),
            "sentence": str(readings["sentence"].values[at]),
            "ok": bool(readings["slope_ok"].values[at]),
        }
        for at, name in enumerate(readings["direction"].values)
    ]


def llc_over_settings(readings: xr.Dataset) -> Figure:
    """λ̂ of every cell with its error, panels by γ."""
    import altair as alt

    rows = cell_rows(readings)
    panels = list(dict.fromkeys(row["panel"] for row in sorted(rows, key=lambda row: row["gamma"])))
    steps = list(dict.fromkeys(row["epsilon"] for row in rows))
    ticks = sorted({row["nbeta"] for row in rows})
    spread = (ticks[0] / 1.5, ticks[-1] * 1.5)
    axis = alt.Axis(values=ticks, format=".3~s", grid=False, labelOverlap=True)
    scale = alt.Scale(type="log", domain=list(spread), nice=False)
    x = alt.X("shown_nbeta:Q", title="nβ", scale=scale, axis=axis)
    y_axis = alt.Axis(tickCount=5, minExtent=38)
    y = alt.Y("llc:Q", title=None, scale=alt.Scale(zero=False, nice=True), axis=y_axis)
    colours = alt.Scale(domain=steps, range=[SERIES[i % 6] for i in range(len(steps))])
    legend = alt.Legend(
        orient="top", title="step size, × the rule’s", symbolType="circle", symbolOpacity=1
    )
    colour = alt.Color("epsilon:N", scale=colours, legend=legend, sort=None)
    tooltip = alt.TooltipContent("data")
    base = alt.Chart()
    reading = base.transform_filter("datum.llc !== null")
    layers = [
        base.transform_filter("isValid(datum.band_low)")
        .mark_rect(color=role("muted"), opacity=0.14)
        .encode(y=alt.Y("band_low:Q", title=None), y2="band_high:Q"),
        reading.mark_line(strokeWidth=1.4, opacity=0.6).encode(x=x, y=y, color=colour),
        reading.mark_rule(strokeWidth=2, opacity=0.65).encode(
            x=x, y=alt.Y("low:Q", title=None), y2="high:Q", color=colour
        ),
        reading.transform_filter("datum.chosen")
        .mark_point(shape="circle", size=230, strokeWidth=1.6, color=role("ink"))
        .encode(x=x, y=y),
        reading.mark_point(filled=True, opacity=1, tooltip=tooltip).encode(
            x=x,
            y=y,
            color=colour,
            shape=alt.condition("datum.ok", alt.value("circle"), alt.value(CROSS)),
            size=alt.condition("datum.ok", alt.value(52), alt.value(78)),
        ),
        base.transform_filter("datum.llc === null")
        .mark_point(filled=True, shape=CROSS, size=78, opacity=1, tooltip=tooltip)
        .encode(x=x, y=alt.value("height"), color=colour),
    ]
    facet = alt.Facet(
        "panel:N", sort=panels, title=None, header=alt.Header(labelAnchor="start", labelPadding=10)
    )
    panel = alt.layer(*layers).properties(height=230)
    chart = panel.facet(
        facet=facet, columns=len(panels), spacing={"row": 60, "column": 46}, bounds="flush",
        data=alt.NamedData("cells"),
    ).resolve_axis(x="independent", y="independent")  # fmt: skip
    doubtful = sum(not row["ok"] for row in rows)
    chosen = next(row for row in rows if row["chosen"])
    return Figure(
        name="llc_over_settings",
        section="settings",
        title="λ̂ over nβ, γ and step size",
        caption="Bars: ±2 standard errors. ○ the choice, whose interval is the grey band. "
        "✕ marks a reading that cannot be trusted.",
        description=f"Local learning coefficient at {len(rows)} settings around the choice, where "
        f"it is {chosen['llc_text']}; {doubtful} of the readings cannot be trusted.",
        chart=compiled(chart),
        facet_width=170,
    )


def chart_rows(readings: xr.Dataset) -> list[Row]:
    """The rows of the cells; the first of each panel also has the interval of the choice."""
    rows = cell_rows(readings)
    chosen = next(row for row in rows if row["chosen"])
    seen: set[str] = set()
    found = []
    for row in rows:
        band = (None, None) if row["panel"] in seen else (chosen["low"], chosen["high"])
        seen.add(row["panel"])
        found.append({**row, "band_low": band[0], "band_high": band[1]})
    return found


def _panel(gamma: float, factor: float) -> str:
    name = f"γ = {number(gamma)}"
    return f"{name} (chosen)" if abs(factor - 1) < 1e-9 else name
