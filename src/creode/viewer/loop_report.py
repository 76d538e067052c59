"""What the page of a loop shows: the story of one behaviour, from its data to a proof.

Here: the container that loop_page.py reads.
Not here: computing any of it (study/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from creode.viewer.report import Report
from creode.viewer.response_report import ResponseReport
from creode.viewer.writing_report import Writing


@dataclass(frozen=True, kw_only=True, eq=False)
class LoopReport:
    """The parts of the page, in the order of the story."""

    title: str
    about: str  # of model and data
    behaviour: str  # a probe
    records: Mapping[str, Any]  # of `LoopConclusion`
    losses: Sequence[Mapping[str, Any]]  # of the probes along training: probe, step, loss, nats
    level: float  # share of a loss's fall that counts as learned
    start: str  # where the arms' training began: scratch, first or last
    num_samples: int  # of training
    steps: int  # of training
    development: Report  # with its development
    response: ResponseReport
    writings: Sequence[Writing]
    details: Mapping[str, str] = field(default_factory=dict)  # words to the page of a stage
    config: Mapping[str, object] = field(default_factory=dict)
    command: str = ""

    def __post_init__(self) -> None:
        if self.development.development is None or self.response.response is None:
            raise ValueError("a loop's report shows a development and a response; give both.")
        if not self.writings:
            raise ValueError("a loop's report shows weights; give writings.")
