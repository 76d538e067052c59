"""Observables: traces and covariances at the draw's own weights, and what is refused."""

import numpy as np
import pytest
import torch

import creode
from sampling_cases import assert_same, draw, noisy_quadratic


def norm(model):
    return sum(parameter.square().sum() for parameter in model.parameters())


def covariances(tree, probe, observable):
    node = tree[f"probes/{probe}"]
    return node["cov"].mean("block").isel(observable=observable).values


@pytest.mark.parametrize("mode", ["sequential", "vectorised"])
@pytest.mark.parametrize("component", ["full", {"second": torch.tensor([True, False, True])}])
def test_covariances_are_those_of_what_was_seen_at_each_draw(mode, component):
    testbed = noisy_quadratic()
    some, other = (testbed.data.select(torch.arange(*span)) for span in ((5,), (3, 9)))
    before = float(norm(testbed.model).detach())
    tree = draw(
        testbed, mode=mode, component=component, probes={"some": some, "other": other},
        observables={"norm": norm, "others": "other"}, traces=("some",), draws=12,
    )  # fmt: skip
    assert tree["observable"].values.tolist() == ["loss", "norm", "others"]
    others = tree["probes/other/loss"] - tree["observed_init"][2]
    np.testing.assert_allclose(tree["observed"][..., 2], others, atol=1e-12)
    assert float(tree["observed_init"][1]) == pytest.approx(before, rel=1e-12)
    losses = tree["probes/some/unit_loss"].values.astype(float)
    for k in range(3):
        seen = covariances(tree, "some", k)
        for c, s in np.ndindex(2, 5):
            exact = np.cov(tree["observed"][c, :, k], losses[c, :, s])[0, 1]
            np.testing.assert_allclose(seen[c, s], exact, rtol=1e-4, atol=1e-6)


def test_functions_of_the_weights_see_the_weights_of_their_chain():
    """‖w − w*‖² as an observable is the distance that is recorded anyway."""
    testbed = noisy_quadratic()
    for mode in ("sequential", "vectorised"):
        tree = draw(
            testbed, mode=mode, observables={"far": lambda m: m.displacement().square().sum()}
        )
        np.testing.assert_allclose(tree["observed"][..., 1], tree["distance_sq"], rtol=1e-9)
        assert "probes" not in tree.children


def test_the_loss_is_that_of_the_draws_own_minibatch():
    """With one step a draw the window is that minibatch; on full batches it is the exact loss."""
    testbed = noisy_quadratic()
    probes = {"all": testbed.data}
    tree = draw(testbed, probes=probes, steps_per_draw=1)
    np.testing.assert_allclose(
        tree["observed"][..., 0], tree["loss"] - tree["init_loss"], atol=1e-12
    )
    tree = draw(testbed, probes=probes, steps_per_draw=3, batch_size=24)
    init = float(tree["probes/all/unit_init_loss"].mean())
    np.testing.assert_allclose(tree["observed"][..., 0], tree["probes/all/loss"] - init, atol=1e-12)
    assert float(abs(tree["observed"][..., 0] - tree["loss"] + tree["init_loss"]).min()) > 1e-6


def test_where_a_probe_stands_for_the_data_it_is_the_loss():
    testbed = creode.testbeds.quadratic([1.0] * 6, num_samples=4000, gradient_scale=1.0, seed=5)
    tree = draw(testbed, chains=2, draws=6, batch_size=40, steps_per_draw=1)
    assert tree.attrs["loss_from"] == "probe"
    np.testing.assert_allclose(
        tree["observed"][..., 0], tree["loss"] - tree["init_loss"], atol=1e-12
    )


def test_watching_changes_no_bit_of_the_chain():
    testbed = noisy_quadratic()
    plain = draw(testbed)
    watched = draw(testbed, probes={"all": testbed.data}, observables={"norm": norm})
    assert "observed" not in plain
    names = list(plain.data_vars)
    assert watched.to_dataset()[names].identical(plain.to_dataset())


def test_scoring_in_batches_of_another_size_changes_nothing():
    testbed = noisy_quadratic()
    execution = creode.Execution(mode="sequential", microbatch=3)
    trees = [
        draw(testbed, probes={"all": testbed.data}, observables=("all",), execution=how)
        for how in (execution, creode.Execution(mode="sequential"))
    ]
    assert_same(*trees, rtol=1e-8)


def test_another_observable_in_the_directory_is_refused(tmp_path):
    draw(noisy_quadratic(), observables={"norm": norm}, out=tmp_path)
    with pytest.raises(ValueError, match=r"another config .*observables\.norm"):
        draw(noisy_quadratic(), observables={"norm": lambda m: 2 * norm(m)}, out=tmp_path)


@pytest.mark.parametrize(
    ("observables", "error", "message"),
    [
        (("code",), ValueError, r"mean loss of a probe 'code', and the probes are \['some'\]"),
        ("code", ValueError, r"mean loss of a probe 'code'"),
        ({"loss": "some"}, ValueError, "an observable cannot be named 'loss'"),
        ({"x": 3}, TypeError, "observable 'x' is a int; give a function"),
        ({"x": lambda m: 3.0}, TypeError, "observable 'x' returned a float"),
        ({"x": lambda m: m.center}, ValueError, r"returned a tensor of shape \(7,\)"),
        ({"x": lambda m: m.center.sum() / 0}, ValueError, "observable 'x' is -?inf at the anchor"),
    ],
)
def test_what_cannot_be_observed_is_refused_before_the_first_step(observables, error, message):
    testbed = noisy_quadratic()
    with pytest.raises(error, match=message):
        draw(testbed, probes={"some": testbed.data}, observables=observables)
