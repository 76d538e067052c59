"""Variables end to end: the same values as if joined, and only those that are asked for read."""

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr

from creode.store.stacking import stacked
from lazy_arrays import Watched

VALUES = np.random.default_rng(0).normal(size=(7, 5, 4)).astype(np.float32)
DIMS = ("chain", "draw", "sample")


def parts(*sizes):
    edges = np.cumsum([0, *sizes])
    watched = [Watched(VALUES[a:b]) for a, b in pairwise(edges)]
    return watched, [w.variable(DIMS) for w in watched]


@pytest.mark.parametrize("sizes", [(7,), (1, 1, 1, 1, 1, 1, 1), (3, 4), (1, 5, 1)])
@pytest.mark.parametrize(
    "where",
    [
        {},
        {"sample": 2},
        {"chain": 3},
        {"chain": -1, "draw": 0},
        {"chain": slice(2, 6, 2), "sample": np.array([3, 0])},
        {"chain": np.array([6, 0, 3, 3]), "draw": slice(None, None, -1)},
        {"chain": slice(0, 0)},
        {"chain": slice(0, 0), "sample": 1},
    ],
)
def test_any_part_of_the_stack_is_that_part(sizes, where):
    found = stacked(parts(*sizes)[1]).isel(where)
    expected = xr.Variable(DIMS, VALUES).isel(where)
    xr.testing.assert_identical(found.copy(data=found.values), expected)


def test_nothing_is_read_before_and_nothing_beside():
    watched, variables = parts(3, 4)
    dataset = xr.Dataset({"x": stacked(variables)})
    tree = xr.DataTree.from_dict({"/a": dataset})
    assert [w.read for w in watched] == [0, 0]
    column = tree["a"]["x"].isel(sample=1)
    assert [w.read for w in watched] == [0, 0]
    column.values  # noqa: B018 - reads
    assert [w.read for w in watched] == [15, 20]
    tree["a"]["x"].isel(chain=slice(0, 2), draw=0).values  # noqa: B018
    assert [w.read for w in watched] == [15 + 8, 20]


def test_parts_that_differ_are_not_stacked():
    whole = xr.Variable(DIMS, VALUES)
    with pytest.raises(ValueError, match=r"only 'chain' may differ"):
        stacked([whole, whole.isel(draw=slice(0, 3))])
    with pytest.raises(ValueError, match=r"float64.*float32"):
        stacked([whole, whole.astype(np.float64)])


def test_rows_may_come_in_any_order_and_more_than_once():
    lazy = stacked(parts(3, 4)[1])._data.array
    rows = np.array([6, 0, 3, 3, 2])
    found = lazy._read((rows, slice(None), np.array([1])))
    np.testing.assert_array_equal(found, VALUES[rows][:, :, [1]])
