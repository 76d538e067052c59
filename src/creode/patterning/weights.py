"""Weights on the samples of one data set, and the forms in which training takes them.

Here: what weights on samples and on tokens share: their spread, the check of the data, their file
(Parquet); of samples, a row a sample, and what other tools take: a sampler, a tensor of loss
weights, shares of domains.
Not here: weights on tokens (token_weights.py), choosing them (pattern.py), training (training/).
The file knows the fingerprint of the data in their order: weights for other data are refused.
Symbols: ρ (N,), of mean 1.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creode.data import as_samples

if TYPE_CHECKING:
    from torch.utils.data import WeightedRandomSampler

Array = NDArray[np.float64]

ABOUT = b"creode"  # the key in the file's schema


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights(ABC):
    """ρ of mean 1 on the units of one data set."""

    unit: ClassVar[str]

    values: Array
    fingerprint: str  # of the samples, as of `Samples.fingerprint`

    @property
    @abstractmethod
    def flat(self) -> Array:
        """ρ of the units that have a weight, (units,)."""

    @abstractmethod
    def with_values(self, flat: Array) -> Self:
        """Other weights (units,) on the same units, without their groups."""

    def __len__(self) -> int:
        """Samples in the data."""
        return len(self.values)

    @property
    def effective_share(self) -> float:
        """(Σρ)²/(N Σρ²): the share of units that count; 1 where all weigh alike."""
        return float(self.flat.sum() ** 2 / (len(self.flat) * (self.flat**2).sum()))

    @property
    def divergence(self) -> float:
        """KL from the uniform weights, mean of ρ log ρ, nats; NaN with negative weights."""
        if self.flat.min() < 0:
            return float("nan")
        logs = np.log(np.where(self.flat > 0, self.flat, 1.0))
        return float((self.flat * logs).mean())

    def tensor(self) -> Tensor:
        """ρ float64: loss weights, as `creode.training.train(weights=...)` takes them."""
        return torch.from_numpy(self.values.copy())

    def permuted(self, seed: int) -> Self:
        """The same weights on other units, drawn at random: the control of `verify`."""
        order = np.random.default_rng(seed).permutation(len(self.flat))
        return self.with_values(self.flat[order])

    def check_data(self, data: Any) -> None:
        """Refuse data they were not made for.

        Raises:
            ValueError: other samples, another order, or another tokenizer.
        """
        samples = as_samples(data)
        if len(samples) != len(self):
            raise ValueError(
                f"these are weights of {len(self)} samples; {samples.source} has {len(samples)}."
            )
        if samples.fingerprint() != self.fingerprint:
            raise ValueError(
                f"these weights were made for other samples than those of {samples.source} (their "
                "fingerprints differ): the text, its order, the length or the tokenizer has "
                "changed. Make the weights again from draws on these."
            )

    @abstractmethod
    def columns(self) -> dict[str, Any]:
        """The file's columns, a row a unit, the last of them the weights."""

    def save(self, path: str | Path) -> Path:
        """Write a Parquet table, a row a unit: its position, what else is known of it, weight."""
        pa, pq = _parquet()
        about = json.dumps({"data_fingerprint": self.fingerprint} | self._about())
        table = pa.table(self.columns()).replace_schema_metadata({ABOUT: about.encode()})
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name}.part")
        pq.write_table(table, partial)
        partial.replace(place)
        return place

    def _about(self) -> dict[str, Any]:
        """What the file says besides the fingerprint and its columns."""
        return {}

    def _check(self) -> None:
        """Refuse weights that are none."""
        if not self.flat.size or not np.isfinite(self.flat).all():
            raise ValueError(
                f"weights must be finite, one a {self.unit}; got shape {self.values.shape}."
            )
        if abs(self.flat.mean() - 1) > 1e-6:
            raise ValueError(f"weights must have mean 1, got {self.flat.mean():.6g}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleWeights(Weights):
    """ρ (N,) of mean 1, and which data they are for."""

    unit: ClassVar[str] = "sample"

    ids: tuple[str, ...] | None = None  # (N,) names of samples; None: their positions
    groups: tuple[str, ...] | None = None  # (N,) labels of those that weigh alike

    def __post_init__(self) -> None:
        values = np.asarray(self.values, np.float64)
        object.__setattr__(self, "values", values)
        if values.ndim != 1:
            raise ValueError(f"weights must be finite, one a sample; got shape {values.shape}.")
        self._check()
        for name in ("ids", "groups"):
            labels = getattr(self, name)
            if labels is not None and len(labels) != len(values):
                raise ValueError(f"{len(values)} weights need as many {name}, got {len(labels)}.")
        if self.ids is not None and len(set(self.ids)) < len(self.ids):
            raise ValueError("sample ids must differ from each other.")

    @property
    def flat(self) -> Array:
        """ρ (N,)."""
        return self.values

    def with_values(self, flat: Array) -> SampleWeights:
        """Other weights (N,) on the same samples, without their groups."""
        return SampleWeights(values=flat, fingerprint=self.fingerprint, ids=self.ids)

    def sampler(self, num_samples: int | None = None, *, seed: int = 0) -> WeightedRandomSampler:
        """Samples with probability ρ/N, with replacement, N of them unless told.

        Raises:
            ValueError: some weights are negative.
        """
        from torch.utils.data import WeightedRandomSampler

        self._refuse_negative("no sample can be drawn")
        generator = torch.Generator().manual_seed(seed)
        return WeightedRandomSampler(
            self.values.tolist(), num_samples or len(self), generator=generator
        )

    def probabilities(self, domains: list[str] | None = None) -> dict[str, float]:
        """The share of each group's samples in all, as `datasets.interleave_datasets` takes them.

        Args:
            domains: groups in the wanted order; sorted if not given.

        Raises:
            ValueError: the weights have no groups, others than asked for, or negative ones.
        """
        if self.groups is None:
            raise ValueError("these weights are by sample; make them with groups= for shares.")
        self._refuse_negative("no group can have such a share")
        labels = np.array(self.groups)
        known = sorted(set(self.groups))
        if domains is not None and sorted(domains) != known:
            raise ValueError(f"the groups are {known}, asked for were {sorted(domains)}.")
        total = self.values.sum()
        return {name: float(self.values[labels == name].sum() / total) for name in domains or known}

    def columns(self) -> dict[str, Any]:
        """sample (position), id and group where there are, weight; a row a sample."""
        columns: dict[str, Any] = {"sample": np.arange(len(self), dtype=np.int64)}
        columns |= {"id": list(self.ids)} if self.ids is not None else {}
        columns |= {"group": list(self.groups)} if self.groups is not None else {}
        return columns | {"weight": self.values}

    @classmethod
    def load(cls, path: str | Path) -> SampleWeights:
        """Read what `save` wrote.

        Raises:
            ValueError: it is no such file, or one of weights on tokens.
            ImportError: pyarrow is not installed.
        """
        columns, about = read_file(path)
        if "token" in columns:
            raise ValueError(
                f"{path} holds weights on tokens; read it with creode.patterning.load_weights."
            )
        return cls(
            values=columns["weight"],
            fingerprint=about["data_fingerprint"],
            ids=tuple(columns["id"].tolist()) if "id" in columns else None,
            groups=tuple(columns["group"].tolist()) if "group" in columns else None,
        )

    def _refuse_negative(self, why: str) -> None:
        negative = int((self.values < 0).sum())
        if negative:
            raise ValueError(
                f"{negative} of {len(self)} weights are negative, down to "
                f"{self.values.min():.3g}: {why}. Make them with the constraint Convex()."
            )


def read_file(path: str | Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The columns of a file of weights, and what it says of itself.

    Raises:
        ValueError: it is no such file.
        ImportError: pyarrow is not installed.
    """
    pa, pq = _parquet()
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet file of weights: {error}.") from error
    about = (table.schema.metadata or {}).get(ABOUT)
    if about is None or "weight" not in table.column_names:
        raise ValueError(
            f"{path} has the columns {table.column_names} and no fingerprint of the data: it "
            "was not written by creode."
        )
    columns = {
        name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names
    }
    return columns, json.loads(about)


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError("files of weights need pyarrow: pip install 'creode[hf]'.") from error
    return pa, pq
