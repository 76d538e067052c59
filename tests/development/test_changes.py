"""Differences over stages."""

import numpy as np
import pytest
import xarray as xr

from creode.development import changes
from creode.development.changes import types

STEPS = [0, 10, 20, 40, 80, 160, 320]


@pytest.fixture
def readings():
    rng = np.random.default_rng(0)
    loss = np.array([3.0, 2.9, 2.5, 1.5, 1.2, 1.1, 1.0])
    chi = 0.1 * rng.standard_normal((7, 40))
    chi[3:, 4] += 2.0
    chi[3:, 9] -= 1.0
    dims = ("checkpoint", "component")
    return xr.Dataset(
        {
            "loss": ("checkpoint", loss),
            "chi": (dims, chi),
            "chi_se": (dims, np.full(chi.shape, 0.1)),
            "bare": (dims, chi),
        },
        {"checkpoint": STEPS},
    )


def test_differences_are_of_the_nearest_checkpoints_or_of_those_around(readings):
    out = changes(readings, [0, 12, 22, 320], [15, 70, 25, 320])
    np.testing.assert_allclose(out["loss_delta"][:3], [2.5 - 3.0, 1.2 - 2.9, 1.5 - 2.5])
    assert np.isnan(out["loss_delta"][3])
    np.testing.assert_array_equal(out["loss_delta_se"][:3], 0)
    np.testing.assert_allclose(out["chi_delta"][1], readings["chi"][4] - readings["chi"][1])
    np.testing.assert_allclose(out["chi_delta_se"][:2], 0.1 * 2**0.5)
    assert not any(str(name).startswith("bare") for name in out)


def test_what_moved_most_comes_first_and_noise_is_seldom_significant(readings):
    out = changes(readings, [0, 20], [20, 40])
    moved = out.isel(stage=1)
    assert moved["chi_rank"].values.argmin() == 4
    assert sorted(moved["chi_rank"].values) == list(range(1, 41))
    assert int(moved["chi_rank"][9]) == 2
    assert set(np.flatnonzero(moved["chi_significant"])) == {4, 9}
    assert not out["chi_significant"][0].any()


def test_readings_that_are_not_ok_are_passed_over(readings):
    ok = np.array([1, 1, 0, 1, 1, 1, 1], bool)
    spoilt = readings.assign(ok=("checkpoint", ok)).copy(deep=True)
    spoilt["chi"][3, 0] = np.nan
    out = changes(spoilt, [0], [30])
    np.testing.assert_allclose(out["loss_delta"], [1.5 - 3.0])
    assert np.isnan(out["chi_delta"][0, 0])
    assert int(out["chi_rank"][0, 0]) == 0


def test_a_part_in_doubt_is_not_told_to_have_moved_and_the_others_are(readings):
    ok = np.ones((7, 40), bool)
    ok[3, 4] = False
    out = changes(readings.assign(chi_ok=(("checkpoint", "component"), ok)), [20], [40])
    assert set(np.flatnonzero(out["chi_significant"][0])) == {9}
    assert np.isnan(out["chi_delta"][0, 4])
    assert "chi_ok_delta" not in out


def test_types_are_those_of_loss_and_complexity():
    loss = xr.DataArray([-1.0, -1.0, -1.0, 0.1, 0.1, 0.0, 1.0], dims="stage")
    llc = xr.DataArray([2.0, -2.0, 0.1, 2.0, -2.0, 0.1, 2.0], dims="stage")
    error = xr.full_like(loss, 0.1)
    expected = ["A", "B", "loss alone", "silent", "silent", "still", "loss rises"]
    assert types(loss, error, llc, error).values.tolist() == expected
    assert types(loss, error, llc, 20 * error)[0] == "loss alone"
