"""What a page shows of a development: its labelled results, checked once.

Here: the container the viewer reads.
Not here: computing any of it (development/, study/), its rows (development.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr


@dataclass(frozen=True, kw_only=True, eq=False)
class DevelopmentReport:
    """Readings along checkpoints and what was concluded from them."""

    trajectory: xr.Dataset  # dim checkpoint: llc, llc_se, ok, loss; attribute component
    stages: Sequence[Mapping[str, Any]] = ()  # records; one without a stage says why
    events: Sequence[Mapping[str, Any]] = ()  # of an alarm, rows of `alarms`
    curve: xr.Dataset | None = None  # dim step: curve, curve_se; what the stages are stages of
    groups: Sequence[Mapping[str, Any]] = ()  # records of parts whose curves have one shape
    influence: xr.Dataset | None = None  # along checkpoints, with what changes in it
    influence_changes: Sequence[Mapping[str, Any]] = ()  # records of flips and peaks
    chi_path: xr.Dataset | None = None  # of `response_path`
    plane: xr.Dataset | None = None  # of `trajectory_pca`, of one run or several

    def __post_init__(self) -> None:
        needed = ("llc", "llc_se", "ok", "loss")
        missing = [name for name in needed if name not in self.trajectory]
        if missing or "checkpoint" not in self.trajectory.coords:
            raise ValueError(
                f"trajectory lacks {', '.join(missing) or 'the coordinate checkpoint'}; give the "
                "readings along checkpoints of a development."
            )

    @property
    def component(self) -> str:
        """What the stages are of."""
        return str(self.trajectory.attrs.get("component", "full"))

    @property
    def rang(self) -> list[Mapping[str, Any]]:
        """The events at which the alarm rang; others went a way that was not asked for."""
        return [event for event in self.events if event["asked"]]

    @property
    def found(self) -> list[Mapping[str, Any]]:
        """The stages that there are."""
        return [stage for stage in self.stages if stage["stage"] is not None]
