"""Arrays that are read when they are used, and remember how much was."""

import numpy as np
import xarray as xr
from xarray.core import indexing


class Watched(xr.backends.BackendArray):
    """Values that count how many of them were read."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.read = values, values.shape, values.dtype, 0

    def __getitem__(self, key):
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self._take)

    def variable(self, dims):
        return xr.Variable(dims, indexing.LazilyIndexedArray(self))

    def _take(self, key):
        found = self.values
        for at in key:
            # a dimension that stays goes to the back; one that is picked by a number goes away
            found = (
                found[at]
                if np.ndim(at) == 0 and not isinstance(at, slice)
                else np.moveaxis(found[at], 0, -1)
            )
        self.read += found.size
        return found
