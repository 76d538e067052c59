import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest
import xarray as xr

from creode.structure import map_rows
from creode.structure.maps import kept_neighbours


@pytest.fixture
def groups():
    """Three groups of 30 rows apart in five dimensions."""
    rng = np.random.default_rng(0)
    centres = 12 * np.eye(5)[:3]
    points = np.repeat(centres, 30, axis=0) + rng.standard_normal((90, 5))
    return xr.DataArray(points, dims=("row", "component"), coords={"sample": ("row", range(90))})


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("umap", "tsne")]  # to import


@pytest.fixture(params=[*SLOW, "pca"])
def method(request):
    needs = {"umap": "umap", "tsne": "sklearn", "pca": "numpy"}[request.param]
    pytest.importorskip(needs, reason="the extra [map] is not installed")
    return request.param


def test_groups_apart_are_apart_in_the_map(groups, method):
    out = map_rows(groups, method=method, neighbours=10)
    assert out.attrs["method"] == method
    points = np.stack([out["x"], out["y"]], axis=1)
    near = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(near, np.inf)
    group = np.repeat([0, 1, 2], 30)
    assert (group[near.argmin(1)] == group).mean() > 0.98
    assert float(out["kept_neighbours"]) > 0.25  # 10 of 29 in the group by chance: 0.34
    np.testing.assert_array_equal(out["sample"], groups["sample"])


def test_a_seed_gives_the_map_again(groups, method):
    one, two = (map_rows(groups, method=method, neighbours=10, seed=3) for _ in range(2))
    xr.testing.assert_identical(one, two)


def test_principal_directions_are_those_of_largest_variance(groups):
    out = map_rows(groups, method="pca")
    centred = groups.values - groups.values.mean(0)
    variance = np.linalg.eigvalsh(centred.T @ centred)[::-1]
    assert float((out["x"] ** 2).sum()) == pytest.approx(variance[0])
    assert float((out["y"] ** 2).sum()) == pytest.approx(variance[1])
    assert float((out["x"] * out["y"]).sum()) == pytest.approx(0, abs=1e-8)
    order = np.random.default_rng(1).permutation(90)
    other = map_rows(groups[order, ::-1], method="pca")
    np.testing.assert_allclose(other["x"], out["x"][order], atol=1e-8)
    one = map_rows(groups[:, :1], method="pca")
    assert (one["y"] == 0).all()


def test_kept_neighbours_are_counted():
    line = np.arange(20.0)[:, None]
    assert kept_neighbours(line, np.hstack([line, 0 * line]), 2) == 1
    rng = np.random.default_rng(2)
    points = rng.standard_normal((400, 3))
    by_chance = kept_neighbours(points, rng.standard_normal((400, 2)), 20)
    assert by_chance == pytest.approx(20 / 399, rel=0.2)


def test_scores_of_modes_are_rows_too(groups):
    scores = groups.rename(component="mode").transpose("mode", "row")
    xr.testing.assert_allclose(map_rows(scores, method="pca"), map_rows(groups, method="pca"))


@pytest.mark.parametrize(
    ("installed", "chosen", "said"),
    [
        (["umap", "sklearn"], "umap", ""),
        (["sklearn"], "tsne", "not installed: umap (creode[map])"),
        ([], "pca", "not installed: umap, tsne (creode[map])"),
    ],
)
def test_auto_takes_what_is_installed_and_says_what_is_not(
    groups, monkeypatch, installed, chosen, said
):
    for name in ("umap", "sklearn"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module if name in installed else None)
    plane = np.stack([np.arange(90.0), np.zeros(90)], axis=1)
    for name in ("umap", "tsne"):
        monkeypatch.setattr(f"creode.structure.maps._{name}", lambda *_, p=plane: p)
    out = map_rows(groups, neighbours=10)
    assert out.attrs["method"] == chosen
    assert str(out["notes"].item()) == said
    assert ((out["x"] == plane[:, 0]).all()) == (chosen != "pca")
    if chosen != "pca":
        assert str(map_rows(groups, method=chosen)["notes"].item()) == ""


@pytest.mark.parametrize(("method", "module"), [("umap", "umap"), ("tsne", "sklearn")])
def test_a_method_that_is_not_installed_is_told(groups, monkeypatch, method, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'{method} needs {module}.*pip install "creode\[map\]"'):
        map_rows(groups, method=method)


def test_what_has_no_map_is_refused(groups):
    with pytest.raises(ValueError, match="auto, umap, tsne or pca, got 'mds'"):
        map_rows(groups, method="mds")
    with pytest.raises(ValueError, match=r"dimensions \('token', 'component'\); they need 'row'"):
        map_rows(groups.rename(row="token"))
    broken = groups.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="1 rows are not finite"):
        map_rows(broken)
    with pytest.raises(ValueError, match="12 rows are too few for a map with 15 neighbours"):
        map_rows(groups[:12])
