"""One figure of a page: a chart with its words.

Here: the container.
Not here: which figures a page has (figures.py and those of other pages), drawing (charts.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One chart: Vega with colours as roles and data sets by name."""

    name: str  # of files and of the element in the page
    section: str  # of the page: training, stages, components, probes or chains
    title: str
    caption: str
    description: str  # said to who does not see the chart
    chart: dict[str, Any]  # Vega
    facet_width: int | None = None  # least width of a panel, for charts of many panels
    wide: bool = True  # takes a row of its own
