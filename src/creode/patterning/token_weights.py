"""Weights on the tokens of one data set, a file of them, and weights of either kind from a file.

Here: ρ (N, T), NaN where a token does not count; a row a token that counts in the file.
Not here: weights on samples and what both share (weights.py), choosing them (pattern.py).
Positions are those of the task's losses: of next-token prediction, the token that predicts.
Dimensions: N samples, T tokens of a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from creode.patterning.weights import Array, SampleWeights, Weights, read_file


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenWeights(Weights):
    """ρ (N, T) of mean 1 over the tokens that count, NaN elsewhere, and which data they are for."""

    unit: ClassVar[str] = "token"

    ids: tuple[str, ...] | None = None  # (N,) names of samples; None: their positions
    groups: tuple[str, ...] | None = None  # of the tokens that count, in order: who weigh alike

    def __post_init__(self) -> None:
        values = np.asarray(self.values, np.float64)
        object.__setattr__(self, "values", values)
        if values.ndim != 2:
            raise ValueError(f"weights must be finite, one a token; got shape {values.shape}.")
        self._check()
        for name, count in (("ids", len(values)), ("groups", self.flat.size)):
            labels = getattr(self, name)
            if labels is not None and len(labels) != count:
                raise ValueError(f"{count} {name} are needed, got {len(labels)}.")

    @property
    def flat(self) -> Array:
        """ρ of the tokens that count, in the order of the samples."""
        return self.values[~np.isnan(self.values)]

    def with_values(self, flat: Array) -> TokenWeights:
        """Other weights on the tokens that count, without their groups."""
        values = np.full(self.values.shape, np.nan)
        values[~np.isnan(self.values)] = flat
        return TokenWeights(values=values, fingerprint=self.fingerprint, ids=self.ids)

    def columns(self) -> dict[str, Any]:
        """sample and token (positions), id and group where there are, weight; a row a token."""
        sample, token = np.nonzero(~np.isnan(self.values))
        columns: dict[str, Any] = {"sample": sample, "token": token}
        columns |= {"id": np.array(self.ids)[sample].tolist()} if self.ids is not None else {}
        columns |= {"group": list(self.groups)} if self.groups is not None else {}
        return columns | {"weight": self.flat}

    def _about(self) -> dict[str, Any]:
        return {"shape": list(self.values.shape), "ids": self.ids}

    @classmethod
    def load(cls, path: str | Path) -> TokenWeights:
        """Read what `save` wrote.

        Raises:
            ValueError: it is no such file, or one of weights on samples.
            ImportError: pyarrow is not installed.
        """
        columns, about = read_file(path)
        if "token" not in columns:
            raise ValueError(
                f"{path} holds weights on samples; read it with creode.patterning.load_weights."
            )
        values = np.full(about["shape"], np.nan)
        values[columns["sample"], columns["token"]] = columns["weight"]
        return cls(
            values=values,
            fingerprint=about["data_fingerprint"],
            ids=None if about["ids"] is None else tuple(about["ids"]),
            groups=tuple(columns["group"].tolist()) if "group" in columns else None,
        )


def load_weights(path: str | Path) -> SampleWeights | TokenWeights:
    """The weights in a file, on samples or on tokens.

    Raises:
        ValueError: it is no file of weights.
        ImportError: pyarrow is not installed.
    """
    columns, _ = read_file(path)
    return TokenWeights.load(path) if "token" in columns else SampleWeights.load(path)
