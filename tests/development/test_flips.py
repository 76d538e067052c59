"""Flips of sign, peaks, and what of them meets boundaries, where the truth is made up."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from creode.development.flips import sign_flips
from creode.development.meetings import meetings
from creode.development.peaks import peaks

STEPS = np.unique(np.geomspace(10, 1e4, 12).round().astype(int))
T = len(STEPS)
X = np.linspace(0, 1, T)


def seen(truth, error=1.0, seed=0):
    """Values (T, N) with errors, seen with normal noise."""
    truth = np.asarray(truth, float).reshape(T, -1)
    noise = np.random.default_rng(seed).standard_normal(truth.shape)
    return labelled(truth + error * noise), labelled(np.full(truth.shape, error))


def labelled(values):
    return xr.DataArray(np.asarray(values, float), {"checkpoint": STEPS}, ("checkpoint", "pair"))


def test_flips_are_found_between_the_steps_that_are_sure():
    up = np.where(X < 0.5, -8.0, 8.0)
    there_and_back = np.where(abs(X - 0.5) < 0.2, 8.0, -8.0)
    value, error = seen(np.stack([up, there_and_back, 8 + 0 * X, 0 * X], 1))
    found = sign_flips(value, error)
    assert found["flip"].values.tolist() == [True, True, False, False]
    assert found["num_flips"].values.tolist() == [1, 2, 0, 0]
    first = found.isel(pair=0)
    assert (int(first["flip_after"]), int(first["flip_before"])) == (STEPS[5], STEPS[6])
    np.testing.assert_array_equal(first["sign"], np.sign(up))
    assert (found["flip_after"][2:] == -1).all()
    assert not found["sign"][:, 2:].any()


def test_the_p_value_is_of_the_sign_with_less_evidence():
    z = np.full(T, 5.0)
    z[3] = -3.0
    found = sign_flips(labelled(z[:, None] * 2.0), labelled(np.full((T, 1), 2.0)), dof=31)
    assert found["flip_p"].item() == pytest.approx(T * stats.t.sf(3.0, 31))


def test_untrusted_readings_are_no_evidence_and_do_not_count():
    z = np.full((T, 1), 5.0)
    z[3], z[4:6] = -4.0, np.nan
    found = sign_flips(labelled(z), labelled(np.ones((T, 1))))
    assert found["flip_p"].item() == pytest.approx((T - 2) * stats.norm.sf(4.0))
    nothing = sign_flips(labelled(np.full((T, 1), np.nan)), labelled(np.ones((T, 1))))
    assert np.isnan(nothing["flip_p"].item())
    assert not nothing["flip"].item()


@pytest.mark.parametrize("sure", [0.0, 30.0])
def test_false_flips_are_rare_whether_one_sign_is_sure_or_none(sure):
    """At most the rate of flips is false: here none is true, so at most 5 % of tables have any."""
    tables = 200
    any_found = sum(
        bool(sign_flips(*seen(np.where(X < 0.5, sure, 0.0)[:, None] + np.zeros(40), seed=s))
             ["flip"].any()) for s in range(tables)
    )  # fmt: skip
    assert any_found <= stats.binom.ppf(0.999, tables, 0.05)


def test_among_true_flips_the_share_of_false_ones_is_held():
    true = np.where(X < 0.5, -5.0, 5.0)[:, None] + np.zeros(20)
    one_signed = np.where(X < 0.5, 5.0, 0.0)[:, None] + np.zeros(80)
    shares, power = [], []
    for seed in range(60):
        found = sign_flips(*seen(np.hstack([true, one_signed]), seed=seed))["flip"].values
        shares.append(found[20:].sum() / max(found.sum(), 1))
        power.append(found[:20].mean())
    assert np.mean(shares) <= 0.05
    assert np.mean(power) > 0.9


def test_a_peak_is_placed_with_an_interval_and_told_from_a_rise():
    bump = 12 * np.exp(-(((X - 0.4) / 0.15) ** 2))
    value, error = seen(np.stack([-bump, 10 * X, 0 * X + 3], 1))
    found = peaks(value, error)
    assert found["peak"].values.tolist() == [True, False, False]
    top = STEPS[bump.argmax()]
    first = found.isel(pair=0)
    assert int(first["peak_low"]) <= top <= int(first["peak_high"])
    assert STEPS[0] < int(first["peak_low"]) <= int(first["peak_high"]) < STEPS[-1]
    highest = value.sel(checkpoint=int(first["peak_step"]), pair=0)
    assert float(first["peak_value"]) == float(highest)
    assert float(first["peak_value"]) < -8
    assert (int(found["peak_low"][2]), int(found["peak_high"][2])) == (STEPS[0], STEPS[-1])


def test_peaks_are_of_what_was_read():
    value = np.tile(12 * np.exp(-(((X - 0.5) / 0.2) ** 2))[:, None], 4)
    value[:, 1], value[[0, -1], 2], value[5:7, 3] = np.nan, np.nan, np.nan
    found = peaks(labelled(value), labelled(np.ones(value.shape)))
    alone = peaks(
        labelled(value).isel(checkpoint=slice(1, -1), pair=[2]),
        labelled(np.ones(value.shape)).isel(checkpoint=slice(1, -1), pair=[2]),
    )
    xr.testing.assert_equal(found.isel(pair=[2]).drop_vars("peak"), alone.drop_vars("peak"))
    assert found["peak"].values.tolist() == [True, False, True, True]
    assert int(found["peak_step"][1]) == -1
    assert np.isnan(found["peak_value"][1])
    assert int(found["peak_step"][3]) in (STEPS[4], STEPS[7])
    assert int(found["peak_low"][3]) == STEPS[4]


def test_intervals_of_the_peak_hold_its_place():
    truth = -5 * np.exp(-(((X - 0.6) / 0.2) ** 2))
    found = peaks(*seen(truth[:, None] + np.zeros(400), seed=3))
    top = STEPS[abs(truth).argmax()]
    held = (found["peak_low"] <= top) & (found["peak_high"] >= top)
    assert held.mean() >= 0.95
    assert (found["peak_low"] > STEPS[0]).mean() > 0.5  # and they tell something


@pytest.mark.parametrize(("gap", "held"), [(3.15, True), (3.18, False)])
def test_a_checkpoint_is_held_while_it_is_not_surely_lower(gap, held):
    """2·2·P(z > gap/√2) is 0.0520 and 0.0491: Bonferroni over two others and both signs."""
    value = np.array([[-9.0], [9.0 - gap], [0.0]])
    steps = {"checkpoint": [1, 10, 100]}
    along = [xr.DataArray(v, steps, ("checkpoint", "pair")) for v in (value, np.ones((3, 1)))]
    found = peaks(*along)
    assert (int(found["peak_low"][0]), int(found["peak_high"][0])) == (1, 10 if held else 1)


def test_the_p_value_of_a_peak_is_of_its_better_checkpoint_and_higher_end():
    value = np.array([[1.0], [6.0], [-5.0], [0.0]])
    steps = {"checkpoint": [1, 10, 100, 1000]}
    along = [xr.DataArray(v, steps, ("checkpoint", "pair")) for v in (value, np.ones((4, 1)))]
    p = peaks(*along, dof=31)["peak_p"].item()
    assert p == pytest.approx(2 * 2 * stats.t.sf((6 - 1) / 2**0.5, 31))


@pytest.mark.parametrize("end", [0.0, 4.0])
def test_false_peaks_are_rare(end):
    falls = end * (1 - X)
    tables = 200
    any_found = sum(
        bool(peaks(*seen(falls[:, None] + np.zeros(40), seed=s))["peak"].any())
        for s in range(tables)
    )
    assert any_found <= stats.binom.ppf(0.999, tables, 0.05)


def test_meetings_are_counted_and_expected_by_their_length():
    axis = np.array([1.0, 10_000.0])
    low, high = np.array([10.0, 1.0, 2.0]), np.array([100.0, 10_000.0, 3.0])
    found = meetings(low, high, [(50.0, 50.0)], axis)
    assert found.each.tolist() == [True, True, False]
    # of an interval of a quarter of the axis, put anywhere in the other three quarters of starts
    at = np.log(50) / np.log(10_000)
    starts = (min(at, 0.75) - max(at - 0.25, 0)) / 0.75
    assert found.chance[0] == pytest.approx(starts, abs=2e-3)
    assert found.chance[1] == 1.0
    assert found.expected == pytest.approx(found.chance.sum())
    none = meetings(low, high, np.empty((0, 2)), axis)
    assert not none.each.any()
    assert none.expected == 0


def test_what_has_no_steps_or_no_errors_is_refused():
    value, error = seen(np.zeros(T))
    with pytest.raises(ValueError, match="need a dimension checkpoint with its steps"):
        sign_flips(value.drop_vars("checkpoint"), error)
    with pytest.raises(ValueError, match="each value needs its standard error"):
        peaks(value, error.isel(checkpoint=slice(3)))
