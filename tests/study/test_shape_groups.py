"""Parts of a development in groups of one shape."""

import numpy as np
import pytest
import xarray as xr

from creode.study.shape_groups import group_records, shapes_of

STEPS = np.geomspace(1, 1e4, 25)


def trajectory(parts, error=0.1):
    """Parts that rise and stay, rise and fall back, or do nothing, with noise of their errors."""
    at = np.log(STEPS / STEPS[0]) / np.log(STEPS[-1] / STEPS[0])
    curves = {"rise": 4 * at, "return": 4 * np.sin(np.pi * at), "still": 0 * at}
    value = np.stack([curves[kind] for kind in parts.values()], 1)
    value = value + error * np.random.default_rng(0).standard_normal(value.shape)
    dims = ("checkpoint", "component")
    return xr.Dataset(
        {
            "component_llc": (dims, value),
            "component_llc_se": (dims, np.full(value.shape, error)),
            "component_llc_ok": (dims, np.ones(value.shape, bool)),
        },
        {"checkpoint": STEPS, "component": list(parts)},
    )


def test_parts_are_named_by_group_and_those_that_do_not_move_come_last():
    heads = {"l0h0": "rise", "l0h1": "rise", "l1h0": "return", "l1h1": "return", "l1h2": "still"}
    records = group_records(shapes_of(trajectory(heads)))
    assert [record["parts"] for record in records] == [["l0h0", "l0h1"], ["l1h0", "l1h1"], ["l1h2"]]
    assert [record["group"] for record in records] == [1, 2, None]
    assert all(record["stable"] for record in records)
    assert records[0]["stability"] > 0.9
    assert records[2]["stability"] is None


@pytest.mark.parametrize("parts", [{}, {"l0h0": "rise", "l0h1": "rise"}])
def test_two_parts_make_no_groups(parts):
    found = trajectory(parts) if parts else xr.Dataset(coords={"checkpoint": STEPS})
    assert shapes_of(found) == "fewer than 3 parts were read along checkpoints"


def test_readings_that_are_not_ok_give_the_reason():
    found = trajectory({"a": "rise", "b": "rise", "c": "return"})
    found["component_llc_ok"][5:] = False
    assert "usable readings" in shapes_of(found)
