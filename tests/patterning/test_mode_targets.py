"""Components and modes as targets, against exact posteriors of quadratic losses by component."""

import numpy as np
import pytest
import xarray as xr

from creode.patterning import MinimumNorm, mode_response, pattern
from creode.patterning.mode_targets import (
    by_component,
    component_effects,
    named_combinations,
)
from creode.response import susceptibility
from creode.structure import modes, response_matrix
from patterning_cases import PARTS, Quadratics
from saved_draws import study

SPREAD = {"dim": 8, "slope": 0.05, "spread": 1.0}  # losses whose curvatures differ much
CONTRAST = {"a": 0.5, "b": -0.3, "c": 0.2}


def read_modes(trees, **settings):
    chi = susceptibility(trees, on="train", keep_replicates=True)
    return modes(response_matrix(chi["chi_replicates"]), **settings)


def test_effects_on_components_are_those_of_their_exact_posteriors():
    q = Quadratics(**SPREAD)
    parts = by_component(q.component_trees(draws=4000))
    named = named_combinations(parts, {"a": "a", "b": "b", "contrast": CONTRAST})
    found = component_effects(parts, "train", named)
    a, b, c = q.component_effects()
    exact = np.array([a, b, 0.5 * a - 0.3 * b + 0.2 * c])
    error = found.replicates.reshape(20, 3, -1).std(0, ddof=1) / 20**0.5
    z = (found.mean - exact) / error
    assert found.names == ("a", "b", "contrast")
    assert (abs(z) < 5).all(), abs(z).max()
    assert 0.6 < np.sqrt((z**2).mean()) < 1.4  # of samples that vary together
    assert (error < 0.2 * abs(exact).max(1, keepdims=True)).all()


def test_weights_move_a_component_as_its_reweighted_posterior_says():
    """Raised and lowered, with another kept; the truth is exact in the weights."""
    q = Quadratics(**SPREAD)
    trees = q.component_trees(draws=4000)
    for wish in (-2e-5, 2e-5):
        made = pattern(trees, {"b": wish}, keep=["a"])
        rho = made.weights.values
        assert q.component_change("b", rho) == pytest.approx(wish, rel=0.15)
        assert abs(q.component_change("a", rho)) < 0.15 * abs(wish)
        watched = made.effect.sel(observable="c")
        assert abs(float(watched["predicted"]) - q.component_change("c", rho)) < max(
            4 * float(watched["predicted_se"]), 0.1 * abs(wish)
        )
        assert np.isnan(watched["wanted"])
    assert made.effect.attrs["component"] == "a, b, c"
    assert made.effect.attrs["nbeta"] == q.nbeta


@pytest.mark.parametrize("centre", [True, False])
def test_a_modes_response_rises_with_the_weight_of_samples_of_positive_score(centre):
    trees = Quadratics(**SPREAD).component_trees(draws=400)
    found = read_modes(trees, centre=centre)
    for mode in found["mode"].values[found["resolved"].values]:
        given = mode_response(found, mode)
        assert sum(map(abs, given.values())) == pytest.approx(1.0)
        parts = by_component(trees)
        effect = component_effects(parts, "train", {"mode": given}).mean[0]
        slope, _ = np.polyfit(found["score"].sel(mode=mode), effect, 1)
        assert slope > 0
        assert np.corrcoef(found["score"].sel(mode=mode), effect)[0, 1] > 1 - 1e-6
    assert found["num_resolved"] >= 2


def test_opposite_wishes_for_a_mode_are_fulfilled_and_are_opposite_weights():
    q = Quadratics(**SPREAD)
    trees = q.component_trees(draws=4000)
    given = mode_response(read_modes(trees), 1)
    exact = sum(a * e for a, e in zip(given.values(), q.component_effects(), strict=True))
    changes = []
    for wish in (-5e-5, 5e-5):
        made = pattern(trees, {"mode": wish}, MinimumNorm(ridge=0.0), observables={"mode": given})
        changes.append(made.weights.values - 1)
        one = made.effect.sel(observable="mode")
        assert exact @ changes[-1] == pytest.approx(wish, rel=0.15)
        assert abs(float(one["predicted"]) - exact @ changes[-1]) < 4 * float(one["predicted_se"])
        assert float(one["predicted_se"]) < 0.15 * abs(wish)
    np.testing.assert_allclose(changes[0], -changes[1], rtol=1e-6, atol=1e-12)


def test_a_study_is_as_its_trees_and_their_order_does_not_matter():
    trees = Quadratics(**SPREAD).component_trees(draws=400)
    for name, tree in trees.items():
        tree.attrs |= {"component": name, "checkpoint": 100}
    of_study = study({f"step_100/{name}": tree for name, tree in trees.items()})
    wish = {"b": -5e-5}
    first = pattern(trees, wish, keep=["a"])
    second = pattern(of_study, wish, keep=["a"])
    third = pattern(dict(reversed(trees.items())), wish, keep=["a"])
    for other in (second, third):
        np.testing.assert_allclose(other.weights.values, first.weights.values, rtol=1e-6)
    assert second.effect.attrs["checkpoint"] == 100


def test_another_observable_may_be_the_response():
    trees = Quadratics(**SPREAD).component_trees(draws=400)
    parts = by_component(trees)
    only = named_combinations(parts, ["b"])
    code, loss = (component_effects(parts, "train", only, of).mean[0] for of in ("code", "loss"))
    assert not np.allclose(code, loss)
    made = pattern(trees, {"b": 5e-5}, MinimumNorm(ridge=0.0), observables=["b"], of="code")
    assert float(made.effect["fitted"].sel(observable="b")) == pytest.approx(5e-5)
    assert code @ (made.weights.values - 1) == pytest.approx(5e-5)


def test_draws_that_cannot_be_trusted_name_the_component():
    trees = Quadratics(**SPREAD).component_trees(draws=400)
    assert pattern(trees, {"b": -5e-5}).effect["ok"]
    trees["c"]["virial"] = 3 * trees["c"]["virial"]
    made = pattern(trees, {"b": -5e-5})
    assert not made.effect["ok"]
    assert str(made.effect["reasons"].item()).startswith("c: ")
    assert pattern(trees, {"b": -5e-5}, observables=["a", "b"]).effect["ok"]  # it has no part


def test_wrong_input_is_told():
    q = Quadratics(**SPREAD)
    trees = q.component_trees(draws=50)
    with pytest.raises(ValueError, match=r"no observables of these draws.*combinations of comp"):
        pattern(trees, {"d": -1.0})
    with pytest.raises(ValueError, match=r"made of \['d'\]; there are draws of \['a', 'b', 'c'\]"):
        pattern(trees, {"mode": -1.0}, observables={"mode": {"a": 1.0, "d": 1.0}})
    with pytest.raises(ValueError, match="component 'a': observable"):
        pattern(trees, {"a": -1.0}, of="poems")
    with pytest.raises(ValueError, match="for draws by component"):
        pattern(q.tree(draws=50), {"code": -1.0}, of="code")
    with pytest.raises(ValueError, match="'b' have other chains and blocks"):
        pattern(trees | {"b": q.component_trees(draws=50, chains=3)["b"]}, {"a": -1.0})
    steps = study({f"step_{n}": trees["a"] for n in (100, 200)})
    with pytest.raises(ValueError, match="several posteriors of"):
        pattern(steps, {"a": -1.0})
    with pytest.raises(ValueError, match="holds no posterior"):
        pattern(xr.DataTree(), {"a": -1.0})
    with pytest.raises(TypeError, match="draws must be a DataTree"):
        pattern([trees["a"]], {"a": -1.0})


def test_components_of_another_model_or_other_samples_are_refused():
    trees = Quadratics(**SPREAD).component_trees(draws=50)
    for name, tree in trees.items():
        tree.attrs["model_fingerprint"] = "other" if name == "c" else "one"
    with pytest.raises(ValueError, match="'c' have other model"):
        pattern(trees, {"a": -1.0})
    trees["c"].attrs["model_fingerprint"] = "one"
    trees["b"]["probes/train"].attrs["data_fingerprint"] = "others"
    with pytest.raises(ValueError, match="'b' have other samples"):
        pattern(trees, {"a": -1.0})


def test_a_mode_of_noise_is_no_target():
    noise = np.random.default_rng(0).normal(size=(8, 30, 3))
    dims = ("replicate", "row", "component")
    found = modes(xr.DataArray(noise, dims=dims, coords={"component": list(PARTS)}))
    with pytest.raises(ValueError, match="mode 1 is not told from noise"):
        mode_response(found, 1)
    with pytest.raises(ValueError, match="no mode 7"):
        mode_response(found, 7)
