import numpy as np
import pytest
import xarray as xr

from creode.structure import response_matrix
from creode.structure.matrix import grouped

RESPONSES = xr.DataArray(
    np.arange(2 * 3 * 4 * 2 * 5, dtype=float).reshape(2, 3, 4, 2, 5),
    dims=("chain", "block", "component", "sample", "token"),
    coords={"component": ["l0h0", "l0h1", "l1h0", "l1h1"]},
)


def test_every_response_is_found_at_its_labels():
    matrix = response_matrix(RESPONSES)
    assert matrix.dims == ("replicate", "row", "component")
    assert dict(matrix.sizes) == {"replicate": 6, "row": 10, "component": 4}
    for r in range(6):
        for n in range(10):
            here = matrix[r, n]
            where = {dim: int(here[dim]) for dim in ("chain", "block", "sample", "token")}
            np.testing.assert_array_equal(here, RESPONSES.isel(where))


def test_rows_that_the_mask_leaves_out_are_left_out():
    mask = xr.DataArray(np.ones((2, 5), bool), dims=("sample", "token"))
    mask[1, 3:] = False
    matrix = response_matrix(RESPONSES, mask)
    kept = list(zip(matrix["sample"].values, matrix["token"].values, strict=True))
    assert kept == [(0, t) for t in range(5)] + [(1, 0), (1, 1), (1, 2)]
    of_sample = response_matrix(RESPONSES, xr.DataArray([True, False], dims="sample"))
    assert set(of_sample["sample"].values) == {0}
    with pytest.raises(ValueError, match="the mask leaves no row"):
        response_matrix(RESPONSES, xr.zeros_like(mask))


def test_data_sets_are_rows_and_blocks_alone_are_replicates():
    of_sets = RESPONSES.isel(chain=0, token=0).rename(sample="dataset")
    matrix = response_matrix(of_sets.assign_coords(dataset=["code", "prose"]))
    assert dict(matrix.sizes) == {"replicate": 3, "row": 2, "component": 4}
    assert list(matrix["dataset"].values) == ["code", "prose"]


@pytest.mark.parametrize("dropped", ["component", "sample"])
def test_a_missing_dimension_is_named(dropped):
    responses = RESPONSES.isel(token=0).isel({dropped: 0})
    with pytest.raises(ValueError, match="they need 'component', 'chain' or 'block', and at least"):
        response_matrix(responses)


def test_groups_are_averaged_and_must_be_of_one_size():
    matrix = response_matrix(RESPONSES)
    by_chain = grouped(matrix, "chain")
    np.testing.assert_allclose(by_chain.mean("replicate"), matrix.mean("replicate"))
    assert by_chain.sizes["replicate"] == 2
    with pytest.raises(ValueError, match="groups of 'chain' have 2 to 3 replicates"):
        grouped(matrix.isel(replicate=slice(5)), "chain")
    with pytest.raises(ValueError, match=r"known: \['chain', 'block'\]"):
        grouped(matrix, "seed")
