"""Groups of curves whose shapes are known."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import expit

from creode.development import shapes
from creode.development.shapes import silhouettes

STEPS = np.geomspace(10, 1e4, 16)
PLACE = np.linspace(0, 1, 16)
EARLY, LATE = expit((PLACE - 0.3) / 0.05), expit((PLACE - 0.7) / 0.05)
HUMP = np.exp(-0.5 * ((PLACE - 0.5) / 0.12) ** 2)


def readings(curves, error=0.03, seed=0):
    """Curves (part, checkpoint) and noise, by parts of different levels and scales."""
    rng = np.random.default_rng(seed)
    curves = np.asarray(curves)
    scale = rng.uniform(1, 20, (len(curves), 1))
    noisy = curves + error * rng.standard_normal(curves.shape)
    return xr.Dataset(
        {
            "component_llc": (("component", "checkpoint"), 5 + scale * noisy),
            "component_llc_se": (
                ("component", "checkpoint"),
                scale * np.full(curves.shape, error),
            ),
        },
        {"checkpoint": STEPS, "component": [f"h{i}" for i in range(len(curves))]},
    )


def test_three_shapes_are_three_groups_whatever_their_scale():
    out = shapes(readings([LATE, EARLY, LATE, HUMP, EARLY, HUMP, LATE]), num_noise=50)
    assert out["label"].values.tolist() == [1, 2, 1, 3, 2, 3, 1]
    assert out["size"].values.tolist() == [3, 2, 2]
    assert out["stable"].all()
    assert float(out["separation"]) > 0.9
    standard = [(c - c.mean()) / c.std() for c in (LATE, EARLY, HUMP)]
    off = out["shape"].values - standard
    assert np.abs(off).max() < 0.25
    assert 0.8 < (off**2 / out["shape_se"].values ** 2).mean() ** 0.5 < 1.5


def test_a_curve_upside_down_is_another_shape():
    out = shapes(readings([EARLY, -EARLY, EARLY, -EARLY]), num_noise=10)
    assert out["label"].values.tolist() == [1, 2, 1, 2]
    assert float(out["correlation"][0, 1]) < -0.95


def test_one_shape_is_one_group():
    for seed, error in enumerate([0.02, 0.05, 0.1, 0.2] * 10):
        out = shapes(readings([EARLY] * 6, error=error, seed=seed), num_noise=1)
        assert out["label"].values.tolist() == [1] * 6
        assert (out["silhouette"] == 0).all()


def test_what_does_not_move_is_in_no_group():
    out = shapes(readings([EARLY, 0 * EARLY, LATE, EARLY, LATE]), num_noise=10)
    assert out["label"].values.tolist() == [1, 0, 2, 1, 2]
    assert float(out["moved_p"][1]) > 0.01
    assert np.isnan(out["correlation"].values[1]).all()
    assert np.isfinite(out["silhouette"].values[[0, 2, 3, 4]]).all()


def test_nothing_moves_as_often_as_it_says():
    still = shapes(readings(np.zeros((2000, 16))), num_noise=1)
    assert 5 <= int((still["label"] != 0).sum()) <= 38  # 20 ± 4 standard deviations


def test_correlations_are_those_without_noise():
    """Of the same two curves, once nearly exact and many times with much noise."""
    curves = np.array([EARLY, LATE])
    exact = float(np.corrcoef(curves)[0, 1])
    found = [
        float(shapes(readings(curves, error=0.15, seed=s), num_noise=1)["correlation"][0, 1])
        for s in range(200)
    ]
    error = np.std(found, ddof=1) / len(found) ** 0.5
    assert abs(np.mean(found) - exact) < 3 * error + 0.01
    assert exact * 0.92 < np.mean(found)  # with the noise left in it is 0.88 of the truth


def test_groups_that_noise_would_undo_are_not_stable_and_then_none():
    near = expit((PLACE - 0.36) / 0.05)
    labels, stable = [], []
    for error in (0.01, 0.03, 0.05):
        out = shapes(readings([EARLY, near] * 3, error=error), num_noise=50)
        labels.append(out["label"].values.tolist())
        stable.append(out["stable"].values.tolist())
    assert labels == [[1, 2] * 3, [1, 2] * 3, [1] * 6]
    assert stable == [[True, True], [False, False], [True]]


def test_a_part_between_two_groups_costs_both_the_same():
    """It is now in one, now in the other: of {1, 2, 3} and {4, 5} two thirds are found again."""
    between = [expit((PLACE - c) / 0.05) for c in (0.3, 0.3, 0.45, 0.6, 0.6)]
    out = shapes(readings(between, error=0.06), num_noise=60)
    assert out["label"].values.tolist() == [1, 1, 1, 2, 2]
    assert 0.75 < float(out["stability"][0]) < 0.97
    assert float(out["stability"][1]) == pytest.approx(float(out["stability"][0]), abs=0.01)


def test_a_chain_of_shapes_is_cut_in_its_middle():
    """By average linkage; single linkage would not."""
    chain = [expit((PLACE - c) / 0.05) for c in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)]
    out = shapes(readings(chain, error=0.01), num_noise=1)
    assert out["label"].values.tolist() == [1, 1, 1, 2, 2, 2]


def test_readings_that_are_not_ok_are_left_out():
    given = readings([EARLY, LATE, EARLY, LATE])
    ok = np.ones((4, 16), bool)
    ok[0, 4] = ok[3, 10] = False
    spoilt = given.copy(deep=True)
    spoilt["component_llc"][0, 4] = 1e6
    spoilt["component_llc"][3, 10] = np.nan
    spoilt["component_llc_ok"] = (("component", "checkpoint"), ok)
    out = shapes(spoilt.transpose("checkpoint", "component"), num_noise=10)
    assert out["label"].values.tolist() == [1, 2, 1, 2]
    kept = given.where(xr.DataArray(ok, dims=("component", "checkpoint")))
    xr.testing.assert_identical(out, shapes(kept, num_noise=10))
    pair = kept["component_llc"].isel(component=[0, 3]).dropna("checkpoint")
    exact = np.corrcoef(pair.values)[0, 1]
    assert float(out["correlation"][0, 3]) == pytest.approx(exact, abs=0.01)


def test_silhouettes_are_those_by_hand():
    distance = np.array([[0, 1, 4, 5], [1, 0, 3, 6], [4, 3, 0, 2], [5, 6, 2, 0.0]])
    by_hand = [1 - 1 / 4.5, 1 - 1 / 4.5, 1 - 2 / 3.5, 1 - 2 / 5.5]
    np.testing.assert_allclose(silhouettes(distance, np.array([1, 1, 2, 2])), by_hand)
    alone = silhouettes(distance, np.array([1, 1, 1, 2]))
    assert alone[3] == 0
    assert alone[2] == pytest.approx((2 - 3.5) / 3.5)
    assert (silhouettes(distance, np.ones(4, np.int64)) == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.isel(component=0), "both need checkpoint and one more"),
        (lambda r: r.isel(checkpoint=slice(5)), "share 5 usable readings .* at least 6"),
        (lambda r: r.drop_vars("component_llc_se"), "no variable 'component_llc_se'"),
    ],
)
def test_what_has_no_shapes_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        shapes(change(readings([EARLY, LATE])))


def test_noise_must_be_added_at_least_once():
    with pytest.raises(ValueError, match="num_noise must be at least 1, got 0"):
        shapes(readings([EARLY, LATE]), num_noise=0)
