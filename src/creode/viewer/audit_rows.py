"""The numbers of an audit as rows: of its charts and of its tables.

Here: rows, from labelled results and records; each number is copied and told with its error.
Not here: charts (audit_charts.py), texts of samples (audit_culprits.py), what the numbers say
(audit_words.py), estimates (auditing/).
Data sets: `behaviours`, `capabilities`; `samples` and `mending`, of which the page picks one
behaviour by `picked`; `groups`, `shifts`, `parts`; `llc_by_group`; `singular_values`, `loadings`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.viewer.audit_report import AuditReport
from creode.viewer.readings import Row, rounded
from creode.viewer.response import loading_rows, mode_rows
from creode.viewer.wording import number, short, with_error
from creode.viewer.writing import percent

MOST_SAMPLES = 1200  # of a behaviour that are drawn; of more, those that stand out first
EFFECTS = {"groups": "group", "shifts": "shift", "parts": "component"}  # tables of effects


def datasets(report: AuditReport) -> dict[str, list[Row]]:
    """The rows of every chart; none of what the audit does not have."""
    found = report.audit
    rows = level_rows(report)
    out = {
        "response": [],  # the page's script shows those of responses one view at a time
        "behaviours": [row for row in rows if not row["capability"]],
        "capabilities": [row for row in rows if row["capability"]],
        "samples": sample_rows(found.samples),
        "mending": mending_rows(found.mending),
        "llc_by_group": [] if found.llc is None else llc_rows(found.llc),
        "singular_values": [] if found.modes is None else mode_rows(found.modes),
        "loadings": [] if found.modes is None else loading_rows(found.modes),
    }
    for name, dim in EFFECTS.items():
        table = getattr(found, name)
        out[name] = [] if table is None else effect_rows(table, dim)
    return out


def level_rows(report: AuditReport) -> list[Row]:
    """A row a behaviour: the share of unwanted answers with its interval, now and before."""
    levels = report.audit.levels
    if levels is None:
        return []
    rows = []
    for record in report.records:
        one = levels.sel(behaviour=record["behaviour"])
        shares = {
            name: rounded(float(one[name])) if name in one else None
            for prefix in ("", "before_")
            for name in (f"{prefix}unwanted", f"{prefix}unwanted_low", f"{prefix}unwanted_high")
        }
        rows.append(
            {
                "behaviour": record["behaviour"],
                "capability": bool(record["capability"]),
                "shown": bool(record["shown"]),
                **shares,
                "title": record["behaviour"],
                "text": f"unwanted at {interval(shares)} of {int(one['prompts']):,} prompts"
                + _before(shares),
            }
        )
    return rows


def _before(shares: Mapping[str, float | None]) -> str:
    told = interval(shares, "before_")
    return "" if told == "–" else f", before post-training at {told}"


def interval(of: Mapping[str, Any], prefix: str = "") -> str:
    """ "95 % [82, 99]": a share and its interval; the share alone where there is none."""
    share, low, high = (of.get(f"{prefix}unwanted{end}") for end in ("", "_low", "_high"))
    if share is None:
        return "–"
    if low is None or high is None:
        return percent(share)
    return f"{percent(share)} [{100 * low:.0f}, {100 * high:.0f}]"


def behaviour_table(report: AuditReport) -> list[Row]:
    """The table of behaviours, its numbers as text."""
    return [
        {
            "behaviour": one["behaviour"],
            "capability": bool(one["capability"]),
            "prompts": "–" if one["prompts"] is None else f"{one['prompts']:,.0f}",
            "unwanted": interval(one),
            "before": "–" if one["before_unwanted"] is None else percent(one["before_unwanted"]),
            "margin": told(one["margin"], one["margin_se"]),
            "before_margin": told(one["before_margin"], None),
            "drivers": f"{one['drivers']:,}",
            "holders": f"{one['holders']:,}",
            "llc": told(one["llc"], one["llc_se"]),
            "group": one["group"] or "",
            "group_effect": told(one["group_effect"], one["group_effect_se"]),
            "shown": bool(one["shown"]),
        }
        for one in report.records
    ]


def told(value: float | None, error: float | None) -> str:
    """A number of a record with its error."""
    return with_error(*(math.nan if one is None else float(one) for one in (value, error)))


def sample_rows(samples: xr.Dataset) -> list[Row]:
    """A row a sample and behaviour, by its rank from the surest driver on."""
    rows = []
    for place, name in enumerate(samples["behaviour"].values):
        one = samples.sel(behaviour=name)
        sure, error, z = (one[n].values for n in ("association", "association_se", "z"))
        driver, holder = one["driver"].values, one["holder"].values
        order = np.argsort(-sure, kind="stable")
        for rank in _drawn(order, driver | holder):
            at = int(order[rank])
            rows.append(
                {
                    "picked": place,
                    "rank": int(rank) + 1,
                    "association": rounded(float(sure[at])),
                    "low": rounded(float(sure[at] - 2 * error[at])),
                    "high": rounded(float(sure[at] + 2 * error[at])),
                    "kind": "drives" if driver[at] else "holds back" if holder[at] else "neither",
                    "title": f"training sample {at}",
                    "text": f"{with_error(float(sure[at]), float(error[at]))}, "
                    f"z = {short(float(z[at]))}",
                }
            )
    return rows


def _drawn(order: NDArray[np.int64], stands_out: NDArray[np.bool_]) -> list[int]:
    """The ranks that are drawn: every one, or those that stand out and others evenly."""
    if len(order) <= MOST_SAMPLES:
        return list(range(len(order)))
    marked = np.flatnonzero(stands_out[order])
    if len(marked) > MOST_SAMPLES // 2:  # then the ends, where the strongest are
        half = MOST_SAMPLES // 4
        marked = np.concatenate([marked[:half], marked[-half:]])
    evenly = np.linspace(0, len(order) - 1, MOST_SAMPLES - len(marked)).round().astype(int)
    return [int(rank) for rank in np.unique(np.concatenate([marked, evenly]))]


def effect_rows(table: xr.Dataset, dim: str) -> list[Row]:
    """A row a cell of a table of effects (behaviour, dim), as `viewer.response.cells` draws it."""
    return [
        {
            "component": str(label),
            "dataset": str(name),
            "chi": rounded(effect),
            "chi_short": number(effect),
            "significant": bool(one["significant"]),
            "doubt": "ok" in one and not bool(one["ok"]),
            "title": f"{label}, {name}",
            "text": with_error(effect, float(one["effect_se"]))
            + (", told from 0" if bool(one["significant"]) else ", not told from 0"),
        }
        for label in table[dim].values
        for name in table["behaviour"].values
        for one in [table.sel({dim: label, "behaviour": name})]
        for effect in [float(one["effect"])]
    ]


def effect_table(table: xr.Dataset, dim: str) -> dict[str, Any]:
    """The same as a table, with errors: a line a label and a column a behaviour."""
    lines = []
    for label in table[dim].values:
        one = table.sel({dim: label})
        effects = [one.sel(behaviour=name) for name in table["behaviour"].values]
        lines.append(
            {
                "label": str(label),
                "size": f"{int(one['size']):,} ({percent(float(one['share']))})"
                if "size" in one
                else None,
                "cells": [
                    {
                        "text": with_error(float(cell["effect"]), float(cell["effect_se"])),
                        "told": bool(cell["significant"]),
                    }
                    for cell in effects
                ],
                "reasons": str(one["reasons"].item())
                if "ok" in one and not bool(one["ok"])
                else "",
            }
        )
    return {"behaviours": [str(name) for name in table["behaviour"].values], "rows": lines}


def mending_rows(mending: Mapping[str, xr.Dataset]) -> list[Row]:
    """A row a behaviour and share of effective samples, of each behaviour that is mended."""
    rows = []
    for place, (mended, table) in enumerate(mending.items()):
        for name in table["behaviour"].values:
            for share in table["effective"].values:
                one = table.sel(behaviour=name, effective=share)
                change, error = float(one["predicted"]), float(one["predicted_se"])
                rows.append(
                    {
                        "picked": place,
                        "behaviour": str(name),
                        "effective": rounded(float(share)),
                        "predicted": rounded(change),
                        "low": rounded(change - 2 * error),
                        "high": rounded(change + 2 * error),
                        "mended": str(name) == mended,
                        "title": f"{name}, {percent(float(share))} of the samples effective",
                        "text": f"margin {with_error(change, error)}",
                    }
                )
    return rows


def mending_tables(mending: Mapping[str, xr.Dataset]) -> list[Row]:
    """By behaviour that is mended, what each share of effective samples buys and moves."""
    tables = []
    for mended, table in mending.items():
        names = [str(name) for name in table["behaviour"].values]
        lines = [
            {
                "effective": percent(float(share)),
                "dropped": percent(float(one["dropped"])),
                "cells": [
                    with_error(*(float(one[n].sel(behaviour=name)) for n in _CHANGE))
                    for name in names
                ],
            }
            for share in table["effective"].values
            for one in [table.sel(effective=share)]
        ]
        tables.append({"mended": mended, "behaviours": names, "rows": lines,
                       "keep": table.attrs.get("keep", "")})  # fmt: skip
    return tables


_CHANGE = ("predicted", "predicted_se")


def llc_rows(llc: xr.Dataset) -> list[Row]:
    """A row a principle: λ̂ of its samples' loss, with ±2 standard errors."""
    rows = []
    for label in llc["group"].values:
        one = llc.sel(group=label)
        value, error = float(one["llc"]), float(one["llc_se"])
        rows.append(
            {
                "group": str(label),
                "llc": rounded(value),
                "low": rounded(value - 2 * error),
                "high": rounded(value + 2 * error),
                "size": int(one["size"]),
                "title": str(label),
                "text": with_error(value, error),
            }
        )
    return rows


def shares(rows: Sequence[Row]) -> bool:
    """Whether levels have those of the model before post-training beside them."""
    return any(row["before_unwanted"] is not None for row in rows)
