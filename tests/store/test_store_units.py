from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from store_cases import tree_of

from creode.store.units import EMPTY_GROUP, GROUP_FILE, _chunks, serialise


def node(reverse: bool) -> xr.DataTree:
    """The same tree with everything in one order or the other."""
    order = slice(None, None, -1) if reverse else slice(None)
    data = {"loss": (("chain", "draw"), np.ones((2, 3))), "x": (("chain",), np.arange(2))}
    for index, name in enumerate(["label", "rank", "step", "kind"]):
        data[name] = (("chain",), np.arange(2) + index)
    attrs = {"nbeta": 1.0, "seed": 3, "component": "l0"}
    dataset = xr.Dataset(
        dict(list(data.items())[order]), attrs=dict(list(attrs.items())[order])
    ).set_coords(["label", "rank", "step", "kind"][order])
    dataset["loss"].attrs = dict([("units", "nats"), ("long_name", "mean loss")][order])
    children = {"/": dataset, "/probes/a": dataset[["x"]], "/probes/b": dataset[["loss"]]}
    return xr.DataTree.from_dict(dict(list(children.items())[order]))


def test_the_bytes_depend_on_names_and_values_alone():
    first = serialise(node(reverse=False))
    assert first == serialise(node(reverse=True))
    assert list(first)[-1] == GROUP_FILE  # what makes the unit visible comes last
    reread = xr.open_datatree(
        zarr.storage.MemoryStore(
            {name: zarr.core.buffer.cpu.Buffer.from_bytes(data) for name, data in first.items()}
        ),
        engine="zarr",
        consolidated=False,
    )
    assert serialise(reread.load()) == first  # whatever encoding the values carry


def test_the_tree_that_was_written_is_left_as_it_was():
    tree = node(reverse=True)
    tree["loss"].encoding = {"chunks": (1, 1)}
    before = tree.copy(deep=True)
    serialise(tree)
    xr.testing.assert_identical(tree, before)
    assert list(tree.attrs) == list(before.attrs)
    assert tree["loss"].encoding == {"chunks": (1, 1)}


def test_a_subtree_is_written_with_the_coordinates_it_inherits():
    parent = xr.Dataset(coords={"chain": [4, 5]})
    child = xr.Dataset({"loss": (("chain",), [1.0, 2.0])})
    whole = xr.DataTree.from_dict({"/": parent, "/unit": child})
    alone = xr.DataTree(whole["unit"].to_dataset(inherit=True))
    assert serialise(whole["unit"]) == serialise(alone)
    assert any(name.startswith("chain/c") for name in serialise(whole["unit"]))


def test_strings_are_stored_in_a_type_that_zarr_specifies():
    files = serialise(xr.DataTree(xr.Dataset({"name": (("x",), ["l0", "l0h1"])})))
    assert json.loads(files["name/zarr.json"])["data_type"] == "string"


def test_a_group_between_units_is_what_zarr_writes():
    store: dict[str, object] = {}
    zarr.create_group(zarr.storage.MemoryStore(store), zarr_format=3)
    assert store[GROUP_FILE].to_bytes() == EMPTY_GROUP  # type: ignore[attr-defined]


@settings(deadline=None)
@given(st.lists(st.integers(0, 5000), max_size=4), st.sampled_from([1, 8]))
def test_chunks_fit_and_are_not_needlessly_small(shape: list[int], itemsize: int):
    chunks = _chunks(tuple(shape), itemsize)
    limit = 16 * 2**20
    assert len(chunks) == len(shape)
    assert all(1 <= chunk <= max(length, 1) for chunk, length in zip(chunks, shape, strict=True))
    assert math.prod(chunks) * itemsize <= limit
    if math.prod(max(length, 1) for length in shape) * itemsize > limit:
        assert math.prod(chunks) * itemsize >= limit / 2 - limit / 10
    else:
        assert chunks == tuple(max(length, 1) for length in shape)


def test_a_large_array_is_cut_along_its_longest_dimension():
    assert _chunks((1, 200, 10_000, 128), 4) == (1, 200, 157, 128)


def test_a_small_unit_is_one_chunk_a_variable():
    names = [name for name in serialise(tree_of(torch.zeros(8).double())) if "/c/" in name]
    assert sorted(names) == ["failed_at/c/0", "loss/c/0/0", "probes/code/mean/c/0"]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -0.0])
def test_every_float_comes_back(value: float):
    files = serialise(xr.DataTree(xr.Dataset({"x": (("i",), [value, 1.0])})))
    buffers = {name: zarr.core.buffer.cpu.Buffer.from_bytes(data) for name, data in files.items()}
    store = zarr.storage.MemoryStore(buffers)
    found = xr.open_datatree(store, engine="zarr", consolidated=False)["x"].values
    assert found.tobytes() == np.array([value, 1.0]).tobytes()
