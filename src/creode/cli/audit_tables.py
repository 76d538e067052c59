"""Tables of an audit: behaviours, culprits, principles, shifts, parts, what mending costs.

Here: a table for each.
Not here: other tables (console.py, writing_tables.py), the numbers (auditing/, study/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr
from rich.table import Table

from creode.auditing import Audit
from creode.cli import console


def audit_tables(
    found: Audit,
    records: Sequence[Mapping[str, Any]],
    culprits: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[Table]:
    """Everything an audit says, as tables."""
    tables = [behaviours_table(records)]
    tables += [culprits_table(name, some) for name, some in culprits.items() if some]
    for title, table, dim in (
        ("What principles do: a weight of 2 in place of 1", found.groups, "group"),
        ("Under these shifts", found.shifts, "shift"),
        ("Through which part drivers act", found.parts, "component"),
    ):
        if table is not None:
            tables.append(effects_table(title, table, dim))
    tables += [mending_table(name, table) for name, table in found.mending.items()]
    return tables


def behaviours_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """How each behaviour is shown, and how many samples drive it."""
    table = Table(title="Behaviours", title_justify="left")
    table.add_column("behaviour")
    for name in ("unwanted", "95 %", "before", "margin ± se", "drivers", "λ̂ ± se"):
        table.add_column(name, justify="right")
    table.add_column("driven by")
    table.add_column("finding")
    for one in records:
        ends = f"{_percent(one['unwanted_low'])} to {_percent(one['unwanted_high'])}"
        skill = " (skill)" if one["capability"] else ""
        group = "" if one["group"] is None else one["group"]
        finding = "[red]shown[/]" if one["shown"] else "[green]not shown[/]"
        table.add_row(
            console.escaped(one["behaviour"]) + skill, _percent(one["unwanted"]), ends,
            _percent(one["before_unwanted"]), _told(one["margin"], one["margin_se"]),
            f"{one['drivers']}", _told(one["llc"], one["llc_se"]), console.escaped(group), finding,
        )  # fmt: skip
    first = records[0]
    table.caption = (
        "[green]ok[/]" if first["ok"] else f"[yellow]not ok: {console.escaped(first['reasons'])}[/]"
    )
    table.caption_justify = "left"
    return table


def culprits_table(name: str, culprits: Sequence[Mapping[str, Any]]) -> Table:
    """The samples with which a behaviour grows most surely; those that stand out have a star."""
    table = Table(title=f"Samples behind {console.escaped(name)}", title_justify="left")
    for column in ("row", "association", "± se", "effect", "± se"):
        table.add_column(column, justify="right")
    table.add_column("text", overflow="fold")
    for one in culprits:
        text = "" if one["text"] is None else console.excerpt(one["text"], 90)
        sure = console.number(one["association"], 2) + ("*" if one["driver"] else "")
        effect, error = (f"{one[n]:.3g}" for n in ("effect", "effect_se"))
        table.add_row(
            f"{one['row']}", sure, console.number(one["association_se"], 2), effect, error,
            console.escaped(text),
        )  # fmt: skip
    return table


def effects_table(title: str, effects: xr.Dataset, dim: str) -> Table:
    """Effects on every behaviour, a column each; those that stand out have a star."""
    table = Table(title=title, title_justify="left")
    table.add_column({"group": "principle", "component": "part"}.get(dim, dim))
    names = [str(name) for name in effects["behaviour"].values]
    for name in names:
        table.add_column(console.escaped(name), justify="right")
    for label in effects[dim].values:
        one = effects.sel({dim: label})
        cells = []
        for name in names:
            cell = one.sel(behaviour=name)
            star = "*" if bool(cell["significant"]) else ""
            cells.append(f"{float(cell['effect']):+.3g} ± {float(cell['effect_se']):.2g}{star}")
        table.add_row(console.escaped(str(label)), *cells)
    return table


def mending_table(name: str, mending: xr.Dataset) -> Table:
    """How far weights take a behaviour's margin, and what else they move, by what they cost."""
    table = Table(
        title=f"What mending {console.escaped(name)} would cost, to first order",
        title_justify="left",
    )
    table.add_column("samples effective", justify="right")
    table.add_column("weights near 0", justify="right")
    names = [str(one) for one in mending["behaviour"].values]
    for one in names:
        table.add_column(f"margin of {console.escaped(one)}", justify="right")
    for share in mending["effective"].values:
        row = mending.sel(effective=share)
        cells = [
            f"{float(row['predicted'].sel(behaviour=one)):+.3g} ± "
            f"{float(row['predicted_se'].sel(behaviour=one)):.2g}"
            for one in names
        ]
        table.add_row(_percent(float(share)), _percent(float(row["dropped"])), *cells)
    return table


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _told(value: float | None, error: float | None) -> str:
    return f"{console.number(value, 2)} ± {console.number(error, 2)}"
