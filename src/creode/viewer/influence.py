"""Queries and the training samples behind them: values, error bars, texts.

Here: the rows of each query with the geometry of their bars, in per cent of the widest.
Not here: which samples those are (response/), the markup (template/response.html).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import xarray as xr

from creode.viewer.readings import Row
from creode.viewer.response_report import InfluenceQuery
from creode.viewer.wording import with_error

_LABEL = 60  # characters of a query's text that stand for it


def influence_queries(queries: Sequence[InfluenceQuery]) -> list[dict[str, Any]]:
    """Each query as the page shows it: label, text, and rows of helpful and of harmful samples."""
    return [
        {
            "label": query.label or _beginning(query.text),
            "text": query.text,
            "sides": [
                {"name": name, "rows": influence_rows(samples, _reach(query))}
                for name, samples in (("Helpful", query.helpful), ("Harmful", query.harmful))
            ],
        }
        for query in queries
    ]


def influence_rows(samples: xr.Dataset, reach: float) -> list[Row]:
    """A row per sample: its value with error, and where its bar and error bar lie (0 to 100).

    Args:
        samples: a side of an InfluenceQuery.
        reach: the value at 100.
    """
    rows = []
    for rank in range(samples.sizes["rank"]):
        cell = samples.isel(rank=rank)
        value, error = float(cell["influence"]), float(cell["influence_se"])
        size = abs(value)
        known = math.isfinite(size) and math.isfinite(error)
        low, high = (max(0.0, size - 2 * error), size + 2 * error) if known else (0.0, 0.0)
        rows.append(
            {
                "text": str(cell["text"].item()),
                "name": str(cell["name"].item()) if "name" in cell else "",
                "significant": bool(cell["significant"]) if "significant" in cell else None,
                "value": value,
                "value_text": with_error(value, error),
                "bar": round(100 * size / reach, 2) if math.isfinite(size) else 0.0,
                "low": round(100 * low / reach, 2),
                "high": round(100 * high / reach, 2),
            }
        )
    return rows


def _reach(query: InfluenceQuery) -> float:
    """The farthest end of an error bar, so that both sides of a query share a scale."""
    ends = [
        abs(float(value)) + 2 * float(error)
        for samples in (query.helpful, query.harmful)
        for value, error in zip(
            samples["influence"].values, samples["influence_se"].values, strict=True
        )
    ]
    return max((end for end in ends if math.isfinite(end)), default=0.0) or 1.0


def _beginning(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LABEL else f"{line[: _LABEL - 1]}…"
