"""A finite, indexable set of samples: what a posterior's loss is a mean over.

Here: samples held as columns of tensors, with named domains and a fingerprint.
Not here: what a user's objects become (coerce.py), reading files and the hub (loading.py), mixing
domains (mixing.py).
Dimensions: N samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

CHUNK = 1 << 24  # bytes hashed at a time, so that a strided column is never copied whole


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """N samples held as columns: every tensor has N rows."""

    columns: Mapping[str, Tensor]  # each (N, ...)
    source: str = "tensors"  # where they came from, for people
    domain: Tensor | None = None  # (N,) int64, index into domain_names
    domain_names: tuple[str, ...] = field(default=())
    excluded: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # rows left out, by why

    def __post_init__(self) -> None:
        if not self.columns:
            raise ValueError(f"{self.source}: no columns; give at least one tensor.")
        for name, column in self.columns.items():
            if not isinstance(column, Tensor) or column.ndim == 0:
                got = type(column).__name__ if not isinstance(column, Tensor) else "a scalar tensor"
                raise TypeError(
                    f"{self.source}: column {name!r} is {got}; give a tensor with one row a sample."
                )
        rows = {name: len(column) for name, column in self.columns.items()}
        if len(set(rows.values())) != 1:
            raise ValueError(f"{self.source}: columns differ in their number of rows: {rows}.")
        if not len(self):
            raise ValueError(f"{self.source}: the data set is empty; give at least one sample.")
        self._check_domain()

    def _check_domain(self) -> None:
        if self.domain is None:
            if self.domain_names:
                raise ValueError(
                    f"{self.source}: domain_names {self.domain_names} without a domain; "
                    "give the index of its name for each sample."
                )
            return
        if self.domain.shape != (len(self),) or self.domain.dtype != torch.int64:
            raise ValueError(
                f"{self.source}: domain has shape {tuple(self.domain.shape)} and dtype "
                f"{self.domain.dtype}; give one int64 per sample, shape ({len(self)},)."
            )
        low, high = int(self.domain.min()), int(self.domain.max())
        if low < 0 or high >= len(self.domain_names):
            raise ValueError(
                f"{self.source}: domain holds indices {low}..{high} for "
                f"{len(self.domain_names)} domain_names; each must be the index of a name."
            )

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def batch(self, index: Tensor) -> dict[str, Tensor]:
        """The samples at `index`: every column has the shape of `index`, then its own."""
        flat = index.flatten()
        return {
            name: column.index_select(0, flat.to(column.device)).view(
                *index.shape, *column.shape[1:]
            )
            for name, column in self.columns.items()
        }

    def select(self, index: Tensor) -> Samples:
        """The samples at `index` (n,) as a set of their own."""
        domain = None if self.domain is None else self.domain[index]
        return Samples(
            columns=self.batch(index),
            source=self.source,
            domain=domain,
            domain_names=self.domain_names,
        )

    def to(self, device: torch.device) -> Samples:
        """The samples on a device; themselves if they are there."""
        if all(column.device == device for column in self.columns.values()):
            return self
        columns = {name: column.to(device) for name, column in self.columns.items()}
        return replace(self, columns=columns)

    def by_domain(self) -> dict[str, Samples]:
        """The samples of each domain that has any, in their order, by the domain's name.

        Raises:
            ValueError: the samples carry no domains.
        """
        if self.domain is None:
            raise ValueError(
                f"{self.source}: the samples carry no domains; make them with "
                "creode.data.mixture or creode.data.load_corpus."
            )
        index = {
            name: (self.domain == i).nonzero().flatten() for i, name in enumerate(self.domain_names)
        }
        return {name: self.select(rows) for name, rows in index.items() if len(rows)}

    def fingerprint(self) -> str:
        """SHA-256 over names, dtypes, shapes and bytes of every column; domains do not enter."""
        digest = hashlib.sha256()
        for name in sorted(self.columns):
            column = self.columns[name].detach()
            digest.update(f"{name}:{column.dtype}:{tuple(column.shape)};".encode())
            if not column.numel():
                continue
            rows = max(1, CHUNK // (column[0].numel() * column.element_size()))
            for chunk in torch.split(column, rows):
                flat = chunk.cpu().contiguous().flatten()
                digest.update(flat.view(torch.uint8).numpy().data)
        return digest.hexdigest()
