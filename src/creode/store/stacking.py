"""Variables of several units seen as one, read where and when they are used.

xarray joins arrays by reading them. Full traces of losses are too large for that, and most
questions need a few of their columns.

Here: arrays end to end along their first dimension, as one lazy variable.
Not here: which units belong together (study/), files (units.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing


def stacked(parts: Sequence[xr.Variable]) -> xr.Variable:
    """The parts end to end along their first dimension, nothing read yet.

    Raises:
        ValueError: the parts differ in dimensions, other sizes or dtype.
    """
    first = parts[0]
    for part in parts[1:]:
        if (part.dims, part.shape[1:], part.dtype) != (first.dims, first.shape[1:], first.dtype):
            raise ValueError(
                f"cannot stack {part.dtype} {dict(part.sizes)} on {first.dtype} "
                f"{dict(first.sizes)}; only {first.dims[0]!r} may differ."
            )
    lazy = indexing.LazilyIndexedArray(_Stacked(parts))
    return xr.Variable(first.dims, lazy, attrs=first.attrs)


class _Stacked(BackendArray):
    """An array whose parts are asked only for what is wanted of them."""

    def __init__(self, parts: Sequence[xr.Variable]) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *(part.shape[0] for part in parts)])
        self.shape = (int(self._starts[-1]), *parts[0].shape[1:])
        self.dtype = parts[0].dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray[Any, Any]:
        wanted = np.arange(self.shape[0])[key[0]]
        rows = np.atleast_1d(wanted)
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        first, *others = self._parts[0].dims
        rest = dict(zip(others, key[1:], strict=True))
        found = np.empty((len(rows), *self._parts[0].isel(rest).shape[1:]), self.dtype)
        for part in np.unique(owner).tolist():
            mine = owner == part
            wanted_of_it = {first: rows[mine] - self._starts[part], **rest}
            found[mine] = self._parts[part].isel(wanted_of_it).values
        return found[0] if wanted.ndim == 0 else found
