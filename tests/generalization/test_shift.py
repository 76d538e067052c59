"""Predicted changes against the exact ones of quadratic losses under reweighted data."""

import numpy as np
import pytest
from quadratic_losses import SOME, Quadratics, derivatives

from creode.generalization import shift


@pytest.mark.parametrize("by_unit", [False, True])
def test_orders_are_the_exact_derivatives(by_unit):
    q = Quadratics()
    to = {"all": SOME} if by_unit else {"some": 1.0}
    out = shift(q.tree(traces=by_unit), to).isel(component=0)
    found = dict(zip(("first", "second", "third"), derivatives(q, SOME), strict=True))
    assert out["observable"].values.tolist() == ["loss", "some"]
    for name, exact in found.items():
        error = out[f"{name}_se"].values
        assert (abs(out[name].values - exact) < 4 * error).all(), (name, out[name].values, exact)
        assert (error < 0.2 * abs(exact)).all(), (name, error, exact)
    assert (out["p"] < 1e-3).all()
    assert out.attrs["to"] == ("all: by unit" if by_unit else "some: 1")


def test_moving_weight_between_samples_needs_no_loss_of_the_data():
    q = Quadratics()
    move = np.zeros(12)
    move[[0, 5]] = 0.5, -0.5
    out = shift(q.tree(traces=True), {"all": move}, observables=["some"]).isel(component=0)
    first = (q.means(1 + 12e-3 * move) - q.means(1 - 12e-3 * move))[1] / 2e-3
    assert abs(float(out["first"][0]) - first) < 4 * float(out["first_se"][0])
    assert float(out["first_se"][0]) < 0.2 * abs(first)


def range_and_truth(seed):
    """Low and high of the stated range, and where first order and truth part."""
    q = Quadratics(seed)
    out = shift(q.tree(5000, seed), {"some": 1.0}, observables=["some"])
    out = out.isel(component=0, observable=0)
    sizes = np.linspace(0.01, 3, 1500)
    change = np.array([q.exact(h, SOME)[1] for h in sizes]) - q.exact(0, SOME)[1]
    off = abs(change - float(out["first"]) * sizes) > 0.2 * abs(change)
    low, high = float(out["valid_to_low"]), float(out["valid_to_high"])
    assert low <= float(out["valid_to"]) <= high
    return low, high, sizes[off.argmax()] if off.any() else np.inf


def test_the_stated_range_holds_the_step_at_which_first_order_and_truth_part():
    found = [range_and_truth(seed) for seed in range(20)]
    held = sum(low <= parted <= high for low, high, parted in found)
    assert held >= 18, found
    assert np.median([high / low for low, high, _ in found]) < 4


@pytest.mark.parametrize("seed", [4, 16, 42])
def test_where_orders_do_not_converge_the_range_begins_where_they_surely_do(seed):
    """Second and third order both put the parting at twice the truth and more."""
    low, high, parted = range_and_truth(seed)
    assert 0.1 < low <= parted <= high


def test_what_is_not_resolved_has_no_range():
    q = Quadratics()
    out = shift(q.tree(draws=40), {"some": 1.0}).isel(component=0)
    assert bool((abs(out["first"]) < 3 * out["first_se"])[0])
    assert np.isnan(out["valid_to"][0])


def test_units_without_traces_have_no_second_order():
    out = shift(Quadratics().tree(), {"all": SOME})
    assert out["first"].notnull().all()
    assert out["second"].isnull().all()
    assert out["valid_to"].isnull().all()


def test_combinations_are_linear():
    q = Quadratics()
    tree = q.tree(draws=200)
    both = shift(tree, {"some": 1.0}).isel(component=0)
    one = shift(tree, {"some": 1.0}, observables={"gap": {"loss": 1.0, "some": -2.0}})
    for name in ("first", "second", "third"):
        expected = both[name].sel(observable="loss") - 2 * both[name].sel(observable="some")
        np.testing.assert_allclose(one[name].values.ravel(), [float(expected)], rtol=1e-8)


def test_wrong_input_is_told():
    tree = Quadratics().tree(draws=40)
    with pytest.raises(ValueError, match="names no probe"):
        shift(tree, {})
    with pytest.raises(ValueError, match="not a probe"):
        shift(tree, {"prose": 1.0})
    with pytest.raises(ValueError, match="was not recorded"):
        shift(tree, {"some": 1.0}, observables=["code"])
    with pytest.raises(ValueError, match="shape"):
        shift(tree, {"some": np.ones(3)})
