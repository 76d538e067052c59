"""Colours of the page and its charts, light and dark, and the charts' common look.

Here: one colour per role and theme; the Vega-Lite config, in which a colour is written as a role
("role:ink") and filled in when the chart is drawn, so one chart serves both themes.
Not here: layout of the page (template/report.css, which takes its colours from here).
Source: the hues of Okabe and Ito's palette, safe for colour-blind readers; some are darkened on
the light page or lightened on the dark one, to a contrast of 3:1 for marks and 4.5:1 for text.
"""

from __future__ import annotations

from typing import Any

FONT = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', sans-serif"
)
PREFIX = "role:"

LIGHT = {
    "paper": "#fdfcfa",
    "surface": "#f4f2ec",
    "ink": "#1c2126",
    "muted": "#59616b",
    "line": "#dcd8cf",
    "grid": "#ebe8e1",
    "link": "#005f96",
    "ok": "#0072b2",
    "bad": "#d55e00",
    "bad-text": "#a84300",
    "bad-surface": "#fbeee4",
    "series0": "#0072b2",
    "series1": "#b27600",
    "series2": "#00855f",
    "series3": "#b5628f",
    "series4": "#3a93c8",
    "series5": "#6b6f76",
    "heat0": "#e9f0f4",
    "heat1": "#4d93bf",
    "heat2": "#00365a",
    "heat-text0": "#000000",
    "heat-text1": "#ffffff",
    "below": "#6db0da",
    "middle": "#f4f2ec",
    "above": "#f0975a",
}
DARK = {
    "paper": "#14171b",
    "surface": "#1d2126",
    "ink": "#ebe8e2",
    "muted": "#a7aeb7",
    "line": "#363c44",
    "grid": "#262b31",
    "link": "#7cc4ee",
    "ok": "#56b4e9",
    "bad": "#f2793d",
    "bad-text": "#ff9c66",
    "bad-surface": "#2c211b",
    "series0": "#56b4e9",
    "series1": "#e69f00",
    "series2": "#2bb98c",
    "series3": "#d58ab3",
    "series4": "#f0e442",
    "series5": "#a7aeb7",
    "heat0": "#1f2a33",
    "heat1": "#1a5a86",
    "heat2": "#c3e6fb",
    "heat-text0": "#ffffff",
    "heat-text1": "#000000",
    "below": "#1c6090",
    "middle": "#1d2126",
    "above": "#a04413",
}
HEAT_MIDDLE = 0.62  # share of the heat scale at which the text of a cell changes its colour
SERIES = [f"{PREFIX}series{i}" for i in range(6)]


def role(name: str) -> str:
    """The placeholder of a colour in a chart: role("ink") is "role:ink"."""
    if name not in LIGHT:
        raise KeyError(f"no colour has the role {name!r}; the roles are {', '.join(LIGHT)}.")
    return PREFIX + name


def coloured(spec: Any, theme: dict[str, str]) -> Any:
    """The chart with every role replaced by its colour in `theme`."""
    if isinstance(spec, dict):
        return {key: coloured(value, theme) for key, value in spec.items()}
    if isinstance(spec, list):
        return [coloured(value, theme) for value in spec]
    if isinstance(spec, str) and spec.startswith(PREFIX):
        return theme.get(spec.removeprefix(PREFIX), spec)
    return spec


def chart_config() -> dict[str, Any]:
    """The Vega-Lite config of every chart, with colours as roles."""
    text = {"labelColor": role("muted"), "titleColor": role("ink"), "titleFontWeight": 500}
    return {
        "aria": False,  # each figure has one description; a thousand marks say nothing more
        "background": "transparent",
        "font": FONT,
        "padding": {"left": 2, "top": 6, "right": 10, "bottom": 2},
        "view": {"stroke": None},
        "axis": {
            **text,
            "labelFontSize": 11,
            "titleFontSize": 12,
            "titlePadding": 10,
            "labelPadding": 6,
            "domainColor": role("line"),
            "tickColor": role("line"),
            "tickSize": 4,
            "gridColor": role("grid"),
        },
        "axisX": {"grid": False, "labelFlush": True},
        "axisY": {"domain": False, "ticks": False},
        "legend": {
            **text,
            "labelFontSize": 12,
            "labelColor": role("ink"),
            "titleFontSize": 12,
            "symbolStrokeWidth": 2,
        },
        "header": {"labelColor": role("ink"), "labelFontSize": 13, "labelFontWeight": 600},
        "title": {
            "color": role("ink"),
            "subtitleColor": role("muted"),
            "fontSize": 17,
            "fontWeight": 600,
            "subtitleFontSize": 12,
            "anchor": "start",
            "frame": "group",
            "offset": 16,
        },
        "range": {"category": SERIES},
    }
