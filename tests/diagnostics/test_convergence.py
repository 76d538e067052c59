import numpy as np
import pytest
import xarray as xr

from creode.diagnostics import convergence, ess, excess_loss, rhat
from saved_draws import ar1, healthy_excess, tree


def examined(draws):
    return convergence(draws, excess_loss(draws)["excess"])


def test_healthy_chains_have_every_number_and_no_flag():
    draws = tree(healthy_excess())
    out = examined(draws)
    excess = excess_loss(draws)["excess"]
    assert float(out.ess) == float(ess(excess))
    assert float(out.rhat) == float(rhat(excess))
    assert float(out.rhat_distance) == float(rhat(draws["distance_sq"]))
    assert float(out.virial) == pytest.approx(float(draws["virial"].mean()))
    assert int(out.num_draws) == 200
    assert not (out.failed | out.still | out.flat).any()
    assert (out.failed_draw == -1).all()


def test_a_failed_chain_takes_every_number_with_it():
    excess = healthy_excess()
    excess[2, 150:] = np.nan
    out = examined(tree(excess, failed_at=np.array([-1, -1, 1601, -1])))
    assert out.failed.values.tolist() == [False, False, True, False]
    assert out.failed_draw.values.tolist() == [-1, -1, 150, -1]
    assert all(np.isnan(out[name]) for name in ("ess", "rhat", "rhat_distance", "virial"))


def test_a_chain_marked_as_failed_after_its_last_draw_counts_as_failed():
    out = examined(tree(healthy_excess(), failed_at=np.array([-1, 2001, -1, -1])))
    assert out.failed.values.tolist() == [False, True, False, False]
    assert np.isnan(out.virial)


@pytest.mark.parametrize("name", ["distance_sq", "virial", "loss_virial"])
def test_a_number_that_is_not_finite_anywhere_fails_its_chain(name):
    values = tree(healthy_excess())[name].values.copy()
    values[1, 7] = np.inf
    out = examined(tree(healthy_excess(), **{name: values}))
    assert out.failed.values.tolist() == [False, True, False, False]
    assert int(out.failed_draw[1]) == 7


def test_momentum_that_was_not_recorded_fails_nothing():
    assert not examined(tree(healthy_excess(), temperature=np.full((4, 200), np.nan))).failed.any()


def test_a_chain_that_never_moved_is_seen_through_minibatch_noise():
    distance_sq = tree(healthy_excess())["distance_sq"].values.copy()
    distance_sq[3] = 0.0
    out = examined(tree(healthy_excess(), distance_sq=distance_sq))  # the loss still varies
    assert out.still.values.tolist() == [False, False, False, True]
    assert not out.failed.any()
    assert np.isnan(out.rhat_distance)


def test_a_loss_that_no_weight_reaches_is_flat():
    out = examined(tree(np.zeros((4, 200))))
    assert out.flat.all()
    assert not out.still.any()
    assert np.isnan(out.ess)


def test_the_order_of_chains_does_not_matter():
    draws = tree(healthy_excess())
    turned = xr.DataTree(draws.to_dataset().isel(chain=[3, 1, 0, 2]))
    first, second = examined(draws), examined(turned)
    for name in ("ess", "rhat", "rhat_distance", "virial", "virial_se"):
        assert float(first[name]) == pytest.approx(float(second[name]), rel=1e-9), name


def test_what_burnin_left_of_the_start_follows_from_its_length_in_draws():
    excess = ar1((4, 20_000), 0.8, 5)
    assert float(examined(tree(excess)).memory) == pytest.approx(0.8**10, rel=0.15)
    assert float(examined(tree(excess, steps_per_draw=50)).memory) == pytest.approx(0.64, rel=0.1)
    assert float(examined(tree(excess, burnin=0)).memory) == 1.0
    assert np.isnan(examined(tree(excess, burnin=None)).memory)  # draws of unknown origin
