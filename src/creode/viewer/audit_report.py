"""What the page of an audit shows: behaviours, culprits, what drives and mends them, checked once.

Here: the container that audit_page.py reads.
Not here: computing any of it (auditing/, study/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import xarray as xr

from creode.viewer.report import ReadingKey, check_readings, check_traces

if TYPE_CHECKING:
    from creode.auditing import Audit


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditReport:
    """The results one page shows. Parts that the audit does not have are left out of the page."""

    title: str
    records: Sequence[Mapping[str, Any]]  # one a behaviour, as of `creode.study.Audits.records`
    audit: Audit
    culprits: Mapping[str, Sequence[Mapping[str, Any]]]  # by behaviour, the strongest first
    llc: xr.Dataset
    traces: Mapping[ReadingKey, xr.Dataset] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    warnings: Sequence[str] = ()

    def __post_init__(self) -> None:
        names = [record["behaviour"] for record in self.records]
        if names != list(self.audit.behaviours) or set(self.culprits) - set(names):
            raise ValueError(
                f"records are of {names}, culprits of {sorted(self.culprits)} and the audit of "
                f"{list(self.audit.behaviours)}; give all of the same behaviours."
            )
        check_readings("llc", self.llc)
        check_traces(self.traces, self.llc)
