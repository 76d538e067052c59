"""What a report of responses shows: the labelled results, checked once.

Here: the container that response_page.py reads.
Not here: computing any of it (response/, structure/).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from creode.viewer.report import ReadingKey, check_readings, check_traces

# chi, chi_se; optionally significant, ok, and chi_standard, chi_standard_se, then shown first.
# A dimension view (observable, checkpoint) may come before them; one view is shown at a time.
RESPONSE_DIMS = ("component", "dataset")
CLUSTER_VARIABLES = (
    "size", "conductance", "stability", "stability_sd", "stable", "description",
)  # fmt: skip
MODE_VARIABLES = (
    "singular_value",
    "noise_floor",
    "resolved",
    "singular_value_corrected",
    "singular_value_low",
    "singular_value_high",
    "loading",
    "loading_se",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class InfluenceQuery:
    """What a model did, and the training samples that most made it do so or not do so.

    Both sides have the dimension rank, the strongest first, with influence, influence_se, text, and
    optionally significant and name.
    """

    text: str
    helpful: xr.Dataset
    harmful: xr.Dataset
    label: str = ""  # of the chooser; the beginning of the text if empty

    def __post_init__(self) -> None:
        for name in ("helpful", "harmful"):
            samples = getattr(self, name)
            _require(
                f"{name} of a query", samples, ("influence", "influence_se", "text"), ("rank",)
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class ResponseReport:
    """The results one page shows. Parts that are left empty are left out of the page."""

    title: str
    response: xr.Dataset | None = None  # see RESPONSE_DIMS
    modes: xr.Dataset | None = None  # of creode.structure.modes
    words: xr.Dataset | None = None  # of describe: its groups, such as the ends of modes
    clusters: xr.Dataset | None = None  # of creode.structure.clusters, with description (cluster)
    tokens: xr.Dataset | None = None  # chi, chi_se (component, sample, token), text (sample, token)
    control: str = ""  # its kind, prior or shuffled, where there is one
    less: Sequence[Mapping[str, Any]] = ()  # of study.Responses.records: χ less the control's
    of: str = "target"  # whose loss a value is of: the next token's, or the "token" at its place
    queries: Sequence[InfluenceQuery] = ()
    influence_kind: str = "covariance"  # or correlation
    influence_fdr: float = 0.05  # rate of false discoveries of what is significant in a query
    llc: xr.Dataset | None = None  # of creode.llc, with the verdict on the draws of each posterior
    traces: Mapping[ReadingKey, xr.Dataset] = field(default_factory=dict)  # of diagnostics.traces
    config: Mapping[str, object] = field(default_factory=dict)
    command: str = ""
    warnings: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.response is not None:
            dims = ("view", *RESPONSE_DIMS) if "view" in self.response.dims else RESPONSE_DIMS
            _require("response", self.response, ("chi", "chi_se"), dims)
        if self.modes is not None:
            _require("modes", self.modes, MODE_VARIABLES, ())
        if self.words is not None:
            _require("words", self.words, ("description", "size"), ("group",))
        if self.clusters is not None:
            _require("clusters", self.clusters, CLUSTER_VARIABLES, ("cluster",))
            _require("clusters", self.clusters, ("label",), ("row",))
        if self.llc is not None:
            check_readings("llc", self.llc)
        check_traces(self.traces, self.llc)
        if self.tokens is not None:
            _require("tokens", self.tokens, ("chi", "chi_se"), ("component", "sample", "token"))
            _require("tokens", self.tokens, ("text",), ("sample", "token"))
        if self.of not in ("target", "token"):
            raise ValueError(f"of must be 'target' or 'token', got {self.of!r}.")
        if not any(self._parts()):
            raise ValueError(
                "the report has nothing to show; give response, modes, tokens or queries."
            )

    def _parts(self) -> Iterable[Any]:
        results = (self.response, self.modes, self.tokens)
        return [*(result is not None for result in results), bool(self.queries)]


def _require(what: str, data: xr.Dataset, names: Iterable[str], dims: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in data]
    if missing:
        raise ValueError(f"{what} lacks {', '.join(missing)}.")
    for name in names:
        if dims and set(data[name].dims) != set(dims):
            raise ValueError(
                f"{name} of {what} has dimensions {data[name].dims}; it needs {dims}. Select or "
                "average over the others first."
            )
