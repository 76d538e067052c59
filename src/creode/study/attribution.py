"""Questions to a run that kept full traces of training samples and queries.

Here: what such a run is, its influences, answers with the text of the samples, its report.
Not here: the estimator (response/influence.py), sampling (run.py), reading text (texts.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import xarray as xr

from creode.response import Influence, influence
from creode.response.factor import Unit
from creode.response.influence import FDR, Kind
from creode.study.conclusion import Conclusion
from creode.study.config import QUERY, TRAIN, StudyConfig
from creode.study.texts import Texts, texts_of

if TYPE_CHECKING:
    from creode.viewer import InfluenceQuery, ResponseReport

NUMBERS = ("bif", "bif_se", "z")
MOST_QUERIES = 200  # in a page
_LABEL = 60  # characters of a query's text in the chooser


def attribution_study(study: Mapping[str, Any], *, query: Mapping[str, Any]) -> StudyConfig:
    """A study of one model whose training samples (its data) and queries keep full traces.

    Args:
        study: the fields of a `StudyConfig`; its data are the training samples.
        query: the fields of a `DataConfig`.
    """
    fields = dict(study)
    fields["probes"] = {TRAIN: fields["data"], QUERY: query}
    fields["reading"] = "influence"
    fields["schedule"] = {**fields.get("schedule", {}), "traces": (TRAIN, QUERY)}
    return StudyConfig.model_validate(fields)


@dataclass(frozen=True)
class Attribution(Conclusion):
    """The influences of one run directory, read from it when they are asked for."""

    kind: Kind = "covariance"
    file: ClassVar[str] = "attribution.json"
    subject: ClassVar[str] = "Training data behind the losses"

    @cached_property
    def study(self) -> StudyConfig:
        """What the run was asked for."""
        self._check_traces()
        return StudyConfig.model_validate(self.config["study"])

    @cached_property
    def influence(self) -> Influence:
        """The influence of the run's training samples on its queries."""
        self._check_traces()
        posteriors = [node for node in self.draws.subtree if "distance_sq" in node.data_vars]
        if len(posteriors) != 1:
            raise ValueError(
                f"{self.path} holds {len(posteriors)} posteriors; influence is of one."
            )
        return influence(posteriors[0], query=QUERY, train=TRAIN, kind=self.kind)

    def answers(
        self, queries: Sequence[int] | None = None, k: int = 5, *, fdr: float = FDR
    ) -> list[dict[str, Any]]:
        """The most helpful and most harmful training samples of each query, as plain values.

        Args:
            queries: positions in the query data; None for all.
            k: how many of each side.
            fdr: rate of false discoveries of `significant`.

        Returns:
            A record a query: query, text, helpful and harmful (each a list of train, text, bif,
            bif_se, z, rank, significant), ok, reasons, notes. Text is null where there is none.
        """
        units: list[Unit] = [
            *(self.influence.query.samples.tolist() if queries is None else queries)
        ]
        top = self.influence.top(units, k, fdr=fdr)
        return [self._answer(top.isel(query=index)) for index in range(len(units))]

    def records(self) -> list[dict[str, Any]]:
        """The answers to every query."""
        return self.answers()

    def report(
        self, answers: Sequence[Mapping[str, Any]] | None = None, *, fdr: float = FDR
    ) -> ResponseReport:
        """Everything the report of this run shows.

        Args:
            answers: what to show; the answers to the first queries if not given.
            fdr: the rate that was asked for with them.
        """
        from creode.viewer import ResponseReport

        total = len(self.influence.query.samples)
        asked = answers
        if asked is None:
            asked = self.answers(self.influence.query.samples[:MOST_QUERIES].tolist(), fdr=fdr)
        notes = [f"The text of {probe} samples is not shown: {why}" for probe, why in
                 self.texts_missing.items()]  # fmt: skip
        if len(asked) < total:
            notes.append(
                f"{len(asked)} of {total:,} queries are in this page; `creode attribute --from "
                f"{self.path} --query-id N` answers any."
            )
        trusted = self.influence.trusted
        return ResponseReport(
            queries=[_query(answer) for answer in asked],
            influence_kind=self.kind,
            influence_fdr=fdr,
            llc=self.verdict.assign(trusted),
            traces=self.traces(),
            warnings=notes,
            **self.heading(),
        )

    @property
    def texts_missing(self) -> Mapping[str, str]:
        """Why a probe's text cannot be shown, by probe; empty where it can."""
        return self._texts.missing

    def _check_traces(self) -> None:
        traces = self.config.get("study", {}).get("schedule", {}).get("traces", ())
        if not {TRAIN, QUERY} <= set(traces):
            raise ValueError(
                f"{self.path} holds no full traces of training samples and queries; make a run "
                "with `creode attribute MODEL --train … --query … --out DIR`."
            )

    @cached_property
    def _texts(self) -> Texts:
        return texts_of(self.study, self.config["fingerprints"]["probes"], (TRAIN, QUERY))

    def _words(self, probe: str, sample: int) -> str | None:
        text = self._texts.found.get(probe)
        return None if text is None else text.of(sample)

    def _answer(self, top: xr.Dataset) -> dict[str, Any]:
        query = int(top["query"])
        return {
            "query": query,
            "text": self._words(QUERY, query),
            **{str(side): self._side(top.sel(side=side)) for side in top["side"].values},
            "ok": bool(top["ok"]),
            "reasons": top["reasons"].item(),
            "notes": top["notes"].item(),
        }

    def _side(self, top: xr.Dataset) -> list[dict[str, Any]]:
        found = []
        for rank in top["rank"].values:
            entry = top.sel(rank=rank)
            train = int(entry["train"])
            if train >= 0:
                found.append(
                    {
                        "train": train,
                        "text": self._words(TRAIN, train),
                        **{name: _number(float(entry[name])) for name in NUMBERS},
                        "rank": int(rank),
                        "significant": bool(entry["significant"]),
                    }
                )
        return found


def _query(answer: Mapping[str, Any]) -> InfluenceQuery:
    """An answer as the page shows it."""
    from creode.viewer import InfluenceQuery

    name = f"query {answer['query']}"

    def side(entries: Sequence[Mapping[str, Any]]) -> xr.Dataset:
        def column(name: str) -> list[float]:
            return [math.nan if entry[name] is None else entry[name] for entry in entries]

        return xr.Dataset(
            {
                "influence": ("rank", column("bif")),
                "influence_se": ("rank", column("bif_se")),
                "significant": ("rank", [entry["significant"] for entry in entries]),
                "name": ("rank", [f"training sample {entry['train']}" for entry in entries]),
                "text": ("rank", [entry["text"] or "" for entry in entries]),
            }
        )

    return InfluenceQuery(
        text=answer["text"] or name,
        label=f"{name}: {' '.join((answer['text'] or '').split())[:_LABEL]}".rstrip(": "),
        helpful=side(answer["helpful"]),
        harmful=side(answer["harmful"]),
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
