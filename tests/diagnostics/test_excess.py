import numpy as np
import pytest
import xarray as xr

from creode.diagnostics import excess_loss
from saved_draws import healthy_excess, probe, study, tree, with_probe

RNG = np.random.default_rng(0)
INIT = RNG.gamma(2.0, size=(6, 5))
MASK = np.arange(5) < RNG.integers(1, 6, size=6)[:, None]
LOSSES = INIT + RNG.gamma(1.0, size=(4, 200, 6, 5))
DRAWS = with_probe(tree(healthy_excess()), "code", probe(LOSSES, INIT, MASK))


def test_the_posteriors_own_loss_is_the_recorded_pair():
    noise = RNG.normal(size=(4, 200))  # of the minibatch, in both terms
    excess = healthy_excess()
    out = excess_loss(tree(excess, loss=2 + noise + excess, init_loss=2 + noise, excess_sq=noise))
    np.testing.assert_allclose(out["excess"], excess, atol=1e-12)
    np.testing.assert_array_equal(out["excess_sq"], noise)  # as recorded, not recomputed


def test_a_probes_excess_is_the_mean_over_its_counted_units():
    out = excess_loss(DRAWS, "code")
    slow = np.array([[(w - INIT)[MASK].mean() for w in chain] for chain in LOSSES])
    np.testing.assert_allclose(out["excess"], slow, rtol=1e-12)
    np.testing.assert_allclose(out["excess_sq"], slow**2, rtol=1e-12)
    np.testing.assert_allclose(out["init_loss"], INIT[MASK].mean())


def test_the_probe_named_data_stands_for_the_data_only_where_the_draws_say_so():
    record = probe(LOSSES, INIT, MASK)
    from_batches = with_probe(tree(healthy_excess()), "data", record)
    from_probe = with_probe(tree(healthy_excess(), loss_from="probe"), "data", record)
    own = tree(healthy_excess())["loss"] - tree(healthy_excess())["init_loss"]
    np.testing.assert_allclose(excess_loss(from_batches)["excess"], own)
    np.testing.assert_array_equal(
        excess_loss(from_probe)["excess"], excess_loss(DRAWS, "code")["excess"]
    )


def test_an_unknown_probe_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"on='prose' is not a probe.*\['data', 'code'\]"):
        excess_loss(DRAWS, "prose")


def test_what_is_not_one_posteriors_tree_is_refused():
    with pytest.raises(TypeError, match=r"must be an xarray.DataTree.*got Dataset"):
        excess_loss(tree(healthy_excess()).to_dataset())
    several = study({"/a/full": tree(healthy_excess())})
    with pytest.raises(ValueError, match=r"several posteriors \(a study\).*'a'"):
        excess_loss(several)
    bare = tree(healthy_excess()).to_dataset().drop_vars(["virial", "failed_at"])
    with pytest.raises(ValueError, match=r"lack\(s\) the variables \['virial', 'failed_at'\]"):
        excess_loss(xr.DataTree(bare))
