import itertools
import sys

import numpy as np
import pytest
import xarray as xr
from planted import noisy

from creode.structure import clusters, modes
from creode.structure.clusters import adjusted_rand

QUICK = {"fewest": 12, "neighbours": 10, "splits": 8}


@pytest.fixture(params=["hdbscan", "conductance"])
def method(request):
    if request.param == "hdbscan":
        pytest.importorskip("sklearn", reason="the extra [map] is not installed")
    return request.param


def grouped_rows(rng, sizes, components=8, distance=8.0):
    """Rows around centres that lie apart, and the group of each."""
    centres = distance * np.linalg.qr(rng.standard_normal((components, len(sizes))))[0].T
    group = np.repeat(np.arange(len(sizes)), sizes)
    return centres[group] + rng.standard_normal((len(group), components)) * 0.7, group


@pytest.fixture
def planted():
    rng = np.random.default_rng(0)
    truth, group = grouped_rows(rng, [60, 40, 30, 20])
    return noisy(rng, truth, replicates=12, error=0.3), group


def test_planted_clusters_are_found_and_stable(planted, method):
    replicates, group = planted
    out = clusters(replicates, method=method, **QUICK)
    assert out.sizes["cluster"] == 4
    assert out["stable"].all()
    assert float(out["agreement"]) > 0.8
    np.testing.assert_allclose(out["size"], [60, 40, 30, 20], atol=5)
    for c in range(4):
        assert (group[out["label"] == c] == c).mean() > 0.95  # the largest is cluster 0
    assert (out["conductance"] < 0.1).all()
    assert str(out["notes"].item()) == ""
    assert out.attrs["method"] == method


def stable_clusters_of_noise(method, repetitions, common):
    rng = np.random.default_rng(1)
    alarms = 0
    for seed in range(repetitions):
        noise = noisy(rng, np.zeros((150, 4)), replicates=12, error=1.0, common=common)
        out = clusters(noise, method=method, seed=seed, **QUICK)
        alarms += bool(out["stable"].any())
        if not out["stable"].any():
            assert str(out["notes"].item())
            assert not float(out["stability"].max() if out.sizes["cluster"] else 0) >= 0.5
    return alarms


@pytest.mark.parametrize("common", [0, 4])
def test_clusters_of_noise_are_not_stable(method, common):
    assert stable_clusters_of_noise(method, 8, common) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("common", [0, 4])
def test_clusters_of_noise_are_not_stable_in_95_of_100(method, common):
    assert stable_clusters_of_noise(method, 100, common) <= 11  # 0.05 and 3 standard deviations


def test_noise_makes_clusters_that_halves_do_not_share():
    rng = np.random.default_rng(2)
    out = clusters(
        noisy(rng, np.zeros((150, 4)), replicates=12, error=1.0), method="conductance", **QUICK
    )
    assert out.sizes["cluster"] > 0  # something is found, and said to be nothing
    assert not out["stable"].any()
    assert abs(float(out["agreement"])) < 0.1
    assert "none of the" in str(out["notes"].item())


def test_a_planted_cluster_beside_noise_is_the_stable_one():
    rng = np.random.default_rng(3)
    truth = np.zeros((160, 6))
    truth[:40] = [6, -6, 6, -6, 6, -6]
    out = clusters(noisy(rng, truth, replicates=12, error=0.7), method="conductance", **QUICK)
    of_planted = int(np.bincount(out["label"][:40].values + 1).argmax() - 1)
    assert of_planted >= 0
    assert bool(out["stable"].sel(cluster=of_planted))
    others = out["stability"].drop_sel(cluster=of_planted)
    assert (others < out["stability"].sel(cluster=of_planted)).all()


@pytest.mark.parametrize("dim", ["replicate", "row", "component"])
def test_order_does_not_matter(method, dim):
    rng = np.random.default_rng(8)
    truth, _ = grouped_rows(rng, [60, 40, 30, 20], distance=4.0)
    replicates = noisy(rng, truth, replicates=12, error=0.5)  # stability between 0 and 1
    order = np.random.default_rng(4).permutation(replicates.sizes[dim])
    one = clusters(replicates, method=method, **QUICK)
    other = clusters(replicates.isel({dim: order}), method=method, **QUICK)
    np.testing.assert_array_equal(other["label"].sortby("row"), one["label"])
    for name in ("size", "conductance", "stability", "agreement"):
        np.testing.assert_allclose(other[name], one[name], rtol=1e-9, err_msg=name)


def test_scores_on_modes_leave_noise_out(method):
    rng = np.random.default_rng(5)
    axis = np.zeros(20)
    axis[:2] = [1, -1]
    truth = np.repeat([-4.0, 4.0], 60)[:, None] * axis
    replicates = noisy(rng, truth, replicates=12, error=1.0)
    found = modes(replicates, num_modes=3, resamples=99)
    kept = found["loading"].isel(mode=slice(int(found["num_resolved"])))
    assert kept.sizes["mode"] == 1
    out = clusters(replicates, loadings=kept, method=method, **QUICK)
    assert out.attrs["num_modes"] == 1
    assert int(out["num_stable"]) >= 2
    label = out["label"].values
    assert set(np.unique(label[:60])) & set(np.unique(label[60:])) <= {-1}


def test_chains_are_not_cut():
    rng = np.random.default_rng(9)
    truth, _ = grouped_rows(rng, [60, 40, 30, 20], distance=4.0)
    replicates = noisy(rng, truth, replicates=12, error=0.5)
    doubled = xr.concat([replicates, replicates], "replicate").assign_coords(
        chain=("replicate", np.tile(np.arange(12), 2))
    )
    one = clusters(replicates, method="conductance", **QUICK)
    other = clusters(doubled, by="chain", method="conductance", **QUICK)
    np.testing.assert_allclose(other["stability"], one["stability"])
    assert other.attrs["by"] == "chain"


def test_coordinates_of_rows_stay(planted):
    replicates, _ = planted
    rows = replicates.sizes["row"]
    placed = replicates.assign_coords(sample=("row", np.arange(rows) // 10))
    out = clusters(placed, method="conductance", **QUICK)
    np.testing.assert_array_equal(out["sample"], placed["sample"])
    assert out["label"].dims == ("row",)


def test_a_failed_replicate_is_told_and_nothing_is_found(planted):
    replicates, _ = planted
    broken = replicates.copy()
    broken[2, 0, 0] = np.inf
    out = clusters(broken, method="conductance", **QUICK)
    assert not bool(out["ok"])
    assert "the first is number 2" in str(out["reasons"].item())
    assert (out["label"] == -1).all()
    assert out.sizes["cluster"] == 0
    assert np.isnan(out["agreement"])
    whole = clusters(replicates, method="conductance", **QUICK)
    assert set(out.data_vars) == set(whole.data_vars)
    assert all(out[name].dims == whole[name].dims for name in whole.data_vars)


def test_halves_share_no_replicate_and_keep_a_part_of_the_rows(monkeypatch):
    seen = []

    def record(points, method, fewest, neighbours, graph=None):
        if graph is None:
            seen.append(points)
        return np.arange(len(points)) % 2

    monkeypatch.setattr(sys.modules["creode.structure.clusters"], "_found", record)
    rng = np.random.default_rng(7)
    replicates = noisy(rng, np.zeros((100, 4)), replicates=6, error=1.0)
    clusters(replicates, method="conductance", **QUICK)
    assert len(seen) == 2 * QUICK["splits"]
    assert {len(points) for points in seen} == {70}
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert not np.isclose(first[:, None, 0], second[:, 0]).any()
    norms = {round(float(np.linalg.norm(points)), 6) for points in seen}
    assert len(norms) == len(seen)  # each split and half chooses anew


def slow_adjusted_rand(first, second):
    """By counting pairs of rows."""
    pairs = list(itertools.combinations(range(len(first)), 2))
    one = np.array([first[i] == first[j] for i, j in pairs])
    two = np.array([second[i] == second[j] for i, j in pairs])
    chance = one.mean() * two.mean()
    return ((one & two).mean() - chance) / ((one.mean() + two.mean()) / 2 - chance)


def test_the_adjusted_rand_index_is_that_of_pairs():
    rng = np.random.default_rng(6)
    first = rng.integers(-1, 3, 40)
    second = np.where(rng.random(40) < 0.5, first, rng.integers(-1, 3, 40))
    assert adjusted_rand(first, second) == pytest.approx(slow_adjusted_rand(first, second))
    assert adjusted_rand(first, (first + 5) * 2) == pytest.approx(1)
    assert adjusted_rand(np.zeros(9, int), np.zeros(9, int)) == 1
    chance = [adjusted_rand(rng.integers(3, size=60), rng.integers(3, size=60)) for _ in range(200)]
    assert abs(np.mean(chance)) < 4 * np.std(chance) / np.sqrt(200)


def test_without_scikit_learn_the_error_names_the_extra(planted, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ImportError, match=r'pip install "creode\[map\]", or use method="conduct'):
        clusters(planted[0], **QUICK)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "kmeans"}, "'hdbscan' or 'conductance', got 'kmeans'"),
        ({"fewest": 3}, "fewest must be at least 5, got 3"),
        ({"splits": 1}, "splits must be at least 2, got 1"),
        ({"fewest": 60}, "150 rows are too few for clusters of at least 60"),
        (
            {"loadings": xr.DataArray(np.zeros((0, 8)), dims=("mode", "component"))},
            "give at least one mode, or None",
        ),
    ],
)
def test_settings_that_cannot_serve_are_refused(planted, settings, message):
    with pytest.raises(ValueError, match=message):
        clusters(planted[0], **({"method": "conductance"} | QUICK | settings))
