"""Stages of trajectories that are known."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import expit

from creode.development import Effort, Prior, stages

QUICK = {
    "prior": Prior(places=100, lengths=6),
    "effort": Effort(chains=2, burnin=30, sweeps=60, particles=100),
}
FIRST, LAST = 10.0, 1e5


def trajectory(curve, num=40, error=0.03, seed=0, told=1.0):
    """At steps evenly in log step; `curve` is of log time from 0 to 1."""
    rng = np.random.default_rng(seed)
    u = np.linspace(0, 1, num)
    se = error * rng.uniform(0.5, 1.5, num)
    value = curve(u) + se * rng.standard_normal(num)
    return xr.Dataset(
        {"llc": ("checkpoint", value), "llc_se": ("checkpoint", told * se)},
        {"checkpoint": FIRST * (LAST / FIRST) ** u},
    )


def staircase(u):
    return expit((u - 0.3) / 0.015) + 0.6 * expit((u - 0.7) / 0.015)


def place(steps):
    return np.log(np.asarray(steps) / FIRST) / np.log(LAST / FIRST)


def test_a_staircase_is_read_with_its_edges_and_what_moved():
    readings = trajectory(staircase)
    u = place(readings["checkpoint"])
    readings["loss"] = ("checkpoint", 3 - staircase(u))
    head = np.stack([staircase(u), 0 * u, expit((u - 0.7) / 0.015)], 1)
    noise = 0.02 * np.random.default_rng(1).standard_normal(head.shape)
    readings["head"] = (("checkpoint", "component"), head + noise)
    readings["head_se"] = xr.full_like(readings["head"], 0.02)
    out = stages(readings)
    assert out["stage_kind"].values.tolist() == ["plateau", "rise", "plateau", "rise", "plateau"]
    assert out["boundary_kind"].values.tolist() == ["onset", "end", "onset", "end"]
    assert (out["boundary_probability"] > 0.9).all()
    half = 1.763 * 0.015
    edges = [0.3 - half, 0.3 + half, 0.7 - half, 0.7 + half]
    np.testing.assert_allclose(place(out["boundary_step"]), edges, atol=0.02)
    assert (out["boundary_low"] < out["boundary_step"]).all()
    assert (out["boundary_step"] < out["boundary_high"]).all()
    middle = out["stage_midpoint"].values[[1, 3]]
    np.testing.assert_allclose(place(middle), [0.3, 0.7], atol=0.015)
    assert (place(out["stage_midpoint_low"].values[[1, 3]]) < [0.3, 0.7]).all()
    assert (place(out["stage_midpoint_high"].values[[1, 3]]) > [0.3, 0.7]).all()
    assert np.isnan(out["stage_midpoint"].values[::2]).all()
    np.testing.assert_allclose(out["stage_start"], [FIRST, *out["boundary_step"]])
    np.testing.assert_allclose(out["stage_end"], [*out["boundary_step"], LAST])
    assert out["stage_type"].values.tolist() == ["still", "A", "still", "A", "still"]
    delta, error = out["llc_delta"].values, out["llc_delta_se"].values
    for i in (1, 3):  # a move has half of its length of the plateaus beside it
        start, end = place([out["stage_start"][i], out["stage_end"][i]])
        exact = np.diff(staircase(np.array([1.5 * start - 0.5 * end, 1.5 * end - 0.5 * start])))
        assert abs(delta[i] - exact) < 4 * error[i]
    assert (error > 0).all()
    assert (error < 0.05).all()
    assert int(out["head_rank"].isel(stage=1).values.argmin()) == 0
    assert set(np.flatnonzero(out["head_significant"].isel(stage=3))) == {0, 2}
    assert float(out["probability"].sel(num_stages=5)) > 0.6
    assert float(out["probability"].sum()) == pytest.approx(1)
    assert float(out["kind_probability"].sel(curve_kind="staircase")) > 0.8
    assert float(out["kind_probability"].sum()) == pytest.approx(1)
    at = place(out["step"].values[1:-1])
    off = out["curve"].values[1:-1] - staircase(at)
    assert np.abs(off).mean() < 0.02
    # on a plateau one error of the mean is that of all places: judged against whom knows the shape
    error = readings["llc_se"].values

    def shapes(x):
        return np.stack([np.ones_like(x), expit((x - 0.3) / 0.015), expit((x - 0.7) / 0.015)], 1)

    weighted = shapes(u) / error[:, None]
    fitted = shapes(at) @ np.linalg.lstsq(weighted, readings["llc"].values / error, rcond=None)[0]
    known = np.sqrt(
        np.einsum("gi,ij,gj->g", shapes(at), np.linalg.inv(weighted.T @ weighted), shapes(at))
    )
    se = out["curve_se"].values[1:-1]
    assert (np.abs(out["curve"].values[1:-1] - fitted) < 3 * se).mean() > 0.9
    assert (se > 0.7 * known).all()


def test_a_rise_and_a_fall_turn_once_and_a_loss_that_falls_with_it_is_type_b():
    readings = trajectory(lambda u: 1 - 4 * (u - 0.45) ** 2)
    readings["loss"] = ("checkpoint", np.linspace(3, 1, 40))
    out = stages(readings)
    assert out["boundary_kind"].values.tolist() == ["maximum"]
    assert float(place(out["boundary_low"])[0]) <= 0.45 <= float(place(out["boundary_high"])[0])
    assert out["stage_kind"].values.tolist() == ["rise", "fall"]
    assert out["stage_type"].values.tolist() == ["A", "B"]


def test_a_midpoint_is_where_a_stage_is_steepest_and_not_its_middle():
    out = stages(
        trajectory(lambda u: expit((u - 0.25) / 0.02) - 0.5 * np.maximum(u - 0.25, 0) ** 2),
        **QUICK,
    )
    assert out["boundary_kind"].values.tolist() == ["onset", "maximum"]
    start, end = place(out["boundary_step"])
    assert (start + end) / 2 > 0.27
    assert float(place(out["stage_midpoint"])[1]) == pytest.approx(0.25, abs=0.015)


def alarms(seeds):
    """Of constants and lines whose errors are told wrongly."""
    count = 0
    for seed in seeds:
        for slope in (0.0, 1.0):
            told = (0.75, 1.3)[seed % 2]
            out = stages(trajectory(lambda u, a=slope: a * u, 30, 0.05, seed, told), **QUICK)
            count += out.sizes["boundary"] > 0
    return count


def test_noise_and_a_line_have_no_boundary():
    assert alarms(range(100, 102)) == 0


@pytest.mark.slow
def test_noise_and_lines_seldom_have_a_boundary():
    assert alarms(range(200, 250)) <= 10  # 5 of 100 allowed: 10 or fewer with probability 99 %


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    inside, half = [], 1.763 * 0.02
    for seed in range(40):
        told = (0.75, 1.3)[seed % 2]
        rng = np.random.default_rng(1000 + seed)
        true = rng.uniform(0.3, 0.7)
        out = stages(trajectory(lambda u, c=true: expit((u - c) / 0.02), 40, 0.06, seed, told))
        assert out.sizes["boundary"] == 2
        low, high = place(out["boundary_low"]), place(out["boundary_high"])
        edges = np.array([true - half, true + half])
        inside += [*((low <= edges) & (edges <= high))]
        ends = [out[f"stage_midpoint{end}"].values[1] for end in ("_low", "_high")]
        inside.append(place(ends[0]) <= true <= place(ends[1]))
        assert np.ptp(place(ends)) < 0.1
    assert np.mean(inside) >= 0.87


def test_readings_that_are_not_ok_are_left_out_and_counted_whatever_their_order():
    readings = trajectory(staircase)
    ok = np.ones(40, bool)
    ok[[4, 20]] = False
    kept = stages(readings.isel(checkpoint=np.flatnonzero(ok)), **QUICK)
    spoilt = readings.copy(deep=True)
    spoilt["llc"][4] = np.nan
    spoilt["llc"][20] = 50.0
    spoilt["llc_ok"] = ("checkpoint", np.arange(40) != 20)
    out = stages(spoilt.isel(checkpoint=slice(None, None, -1)), **QUICK)
    assert (int(out["used"]), int(out["left_out"])) == (38, 2)
    assert (int(kept["used"]), int(kept["left_out"])) == (38, 0)
    for name in ("boundary_step", "curve", "boundary_probability"):
        np.testing.assert_array_equal(out[name], kept[name])


def test_units_do_not_matter():
    readings = trajectory(staircase)
    scaled = readings.assign(llc=5 + 40 * readings["llc"], llc_se=40 * readings["llc_se"])
    scaled["checkpoint"] = scaled["checkpoint"] * 7
    one, other = stages(readings, **QUICK), stages(scaled, **QUICK)
    np.testing.assert_allclose(other["boundary_step"], 7 * one["boundary_step"], rtol=1e-6)
    np.testing.assert_allclose(other["curve"], 5 + 40 * one["curve"], rtol=1e-6)
    np.testing.assert_allclose(other["llc_delta_se"], 40 * one["llc_delta_se"], rtol=1e-6)


def test_step_0_has_a_place():
    readings = trajectory(staircase)
    readings["checkpoint"] = np.concatenate([[0.0], readings["checkpoint"][:-1]])
    out = stages(readings, **QUICK)
    assert out.attrs["offset"] == FIRST
    assert float(out["stage_start"][0]) == 0.0
    assert out.sizes["stage"] == 5
    assert np.isfinite(out["rate"]).all()


def test_errors_that_are_too_small_are_noticed():
    out = stages(trajectory(staircase, num=60, told=0.6), **QUICK)
    assert float(out["error_scale"]) == pytest.approx(1 / 0.6, abs=0.35)
    assert float(out["error_scale"]) > 1.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.isel(checkpoint=slice(5)), "'llc' has 5 usable readings of 5 .* at least 6"),
        (lambda r: r.drop_vars("llc_se"), "no variable 'llc_se'"),
        (lambda r: r.rename(checkpoint="time"), "need the dimension and coordinate checkpoint"),
        (lambda r: r.assign(llc_se=0 * r["llc_se"]), "llc_se is 0 everywhere"),
        (lambda r: r.expand_dims(component=2), r"'llc' has dimensions .*use change_points\(\)"),
        (lambda r: r.assign_coords(checkpoint=[10.0, 10.0, *range(11, 49)]), "same checkpoint"),
        (lambda r: r.assign_coords(checkpoint=np.arange(40) - 1.0), "not negative"),
    ],
)
def test_what_has_no_stages_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        stages(change(trajectory(staircase)))


def test_settings_are_checked():
    readings = trajectory(staircase)
    with pytest.raises(ValueError, match="least must be in"):
        stages(readings, least=1.0)
    with pytest.raises(ValueError, match=r"needs step \+ offset > 0"):
        stages(readings, offset=-20.0)
    with pytest.raises(TypeError, match="must be an xarray Dataset, got dict"):
        stages({})
