"""Questions to a run that kept full traces of training samples and queries.

Here: what such a run is, its influences, and answers with the text of the samples.
Not here: the estimator (response/influence.py), sampling (run.py), commands (cli/).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from creode.data import Samples, as_tokenizer
from creode.response import Influence, influence
from creode.response.factor import Unit
from creode.response.influence import FDR, Kind
from creode.store import Store
from creode.study.config import DataConfig, StudyConfig, own_tokenizer
from creode.study.run import open_draws

TRAIN, QUERY = "train", "query"  # the probes whose full traces are kept
NUMBERS = ("bif", "bif_se", "z")


def attribution_study(study: Mapping[str, Any], *, query: Mapping[str, Any]) -> StudyConfig:
    """A study of one model whose training samples (its data) and queries keep full traces.

    Args:
        study: the fields of a `StudyConfig`; its data are the training samples.
        query: the fields of a `DataConfig`.
    """
    fields = dict(study)
    fields["probes"] = {TRAIN: fields["data"], QUERY: query}
    fields["schedule"] = {**fields.get("schedule", {}), "traces": (TRAIN, QUERY)}
    return StudyConfig.model_validate(fields)


@dataclass(frozen=True)
class Attribution:
    """The influences of one run directory, read from it when they are asked for."""

    path: Path
    kind: Kind = "covariance"

    @cached_property
    def study(self) -> StudyConfig:
        """What the run was asked for."""
        self._check_traces()
        return StudyConfig.model_validate(self._config["study"])

    @cached_property
    def influence(self) -> Influence:
        """The influence of the run's training samples on its queries."""
        self._check_traces()
        tree = open_draws(self.path)
        posteriors = [node for node in tree.subtree if "distance_sq" in node.data_vars]
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

    def save(self, answers: Sequence[Mapping[str, Any]]) -> Path:
        """Write answers to `attribution.json` in the run directory."""
        target = self.path / "attribution.json"
        partial = target.with_suffix(".partial")
        partial.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
        return partial.replace(target)

    @cached_property
    def texts_missing(self) -> dict[str, str]:
        """Why a probe's text cannot be shown, by probe; empty where it can."""
        return {probe: why for probe, (_, why) in self._decoded.items() if why}

    @cached_property
    def _config(self) -> dict[str, Any]:
        with Store.open(self.path, mode="read") as store:
            return store.config

    def _check_traces(self) -> None:
        traces = self._config.get("study", {}).get("schedule", {}).get("traces", ())
        if not {TRAIN, QUERY} <= set(traces):
            raise ValueError(
                f"{self.path} holds no full traces of training samples and queries; make a run "
                "with `creode attribute MODEL --train … --query … --out DIR`."
            )

    @cached_property
    def _decoded(self) -> dict[str, tuple[_Text | None, str]]:
        return {probe: self._text_of(probe) for probe in (TRAIN, QUERY)}

    def _text_of(self, probe: str) -> tuple[_Text | None, str]:
        config = self.study.probes[probe]
        model = self._model()
        try:
            samples = config.load(model)
        except (ValueError, OSError, ImportError) as error:
            return None, str(error)
        if samples.fingerprint() != self._config["fingerprints"]["probes"][probe]:
            return None, f"{config.source} is not what it was when the run was made."
        if "input_ids" not in samples.columns:
            return None, f"{config.source} holds no text."
        return _Text(samples, as_tokenizer(_tokenizer(config, model))), ""

    def _model(self) -> Path | str:
        checkpoint = self.study.series()[0]
        return self.study.model if checkpoint is None else checkpoint.path

    def _words(self, probe: str, sample: int) -> str | None:
        text, _ = self._decoded[probe]
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


@dataclass(frozen=True)
class _Text:
    """Samples of tokens with what turns them into text."""

    samples: Samples
    tokenizer: Any

    def of(self, sample: int) -> str:
        columns = self.samples.columns
        ids = columns["input_ids"][sample]
        if "attention_mask" in columns:
            ids = ids[columns["attention_mask"][sample] != 0]
        text: str = self.tokenizer.decode(np.asarray(ids).tolist())
        return text


def _tokenizer(config: DataConfig, model: Path | str) -> str:
    return config.tokenizer or own_tokenizer(model)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
