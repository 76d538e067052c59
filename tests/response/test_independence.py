"""Errors of covariances where draws forget slowly: right over repeated runs, with few freedoms.

Seeds from 9000 on; the rule was chosen on others.
"""

import numpy as np
import pytest
import xarray as xr
from response_cases import H, exact_chi, quadratic_losses, sigma, tree_of
from scipy import stats
from traced_draws import Losses, saved

import creode
from creode.generalization.shift import _further
from creode.patterning.effects import effects
from creode.patterning.mode_targets import component_effects
from creode.response import significant, susceptibility
from creode.response.covariance import Blocks
from creode.response.independence import (
    autocorrelation_time,
    independent_blocks,
    join_blocks,
    shortest_block,
)
from creode.response.mixture import mixture_susceptibility
from creode.response.replicates import blocks_of, replicates
from creode.response.uncertainty import estimate
from saved_draws import ar1

G, A = quadratic_losses(num_samples=8)
SLOW = 0.93  # φ = L, a sum of squares, forgets in about 14 draws: 4 × 100 are worth 30


def walk(seed, memory=SLOW, draws=100, chains=4):
    """Weights (C, D, P) of the exact posterior with this autocorrelation."""
    x = np.moveaxis(ar1((chains, len(H), draws), memory, seed), 1, 2)
    return x * np.sqrt(np.diag(sigma()))


def deviates(z, dof):
    """Normal deviates of Student's; their root mean square is 1 where errors are right."""
    return stats.norm.isf(stats.t.sf(np.abs(z), dof))


def test_the_autocorrelation_time_is_that_of_an_ar1_and_knows_of_chains_apart():
    for memory in (0.0, 0.5, 0.9):
        x = xr.DataArray(ar1((4, 20_000), memory, seed=9000), dims=("chain", "draw"))
        apart = x + xr.DataArray([0.0, 9.0, 5.0, -3.0], dims="chain")
        exact = (1 + memory) / (1 - memory)
        assert float(autocorrelation_time(x)) == pytest.approx(exact, rel=0.1)
        assert float(autocorrelation_time(apart)) > 20 * exact
    still = x * xr.DataArray([0.0, 1.0, 1.0, 1.0], dims="chain")
    assert autocorrelation_time(still).isnull()


@pytest.mark.parametrize("blocks", [1, 3, 5, 8])
def test_blocks_are_as_many_as_last_long_enough(blocks):
    counts = [independent_blocks(time, 200, blocks) for time in (0.7, 1.0, 2, 5, 10, 20, 400)]
    assert counts[:2] == [blocks, blocks]
    assert counts[-1] == 1
    assert sorted(counts, reverse=True) == counts
    assert independent_blocks(float("nan"), 200, blocks) == blocks
    for time, count in zip((2, 5, 10), counts[2:], strict=False):
        shortest = (blocks // count) * 200 / blocks  # the least that a group lasts
        assert count == 1 or shortest >= shortest_block(time)
    assert shortest_block(2.0) == 12.0


@pytest.mark.parametrize("groups", [1, 2, 5])
def test_joined_blocks_keep_the_mean_and_its_error(groups):
    rng = np.random.default_rng(9001)
    each = xr.DataArray(rng.normal(3.0, 1.0, (4, 5, 4000)), dims=("chain", "block", "unit"))
    joined = join_blocks(each, groups)
    assert joined.dims == each.dims
    assert joined.sizes["block"] == groups
    xr.testing.assert_allclose(joined.mean("block"), each.mean("block"))
    xr.testing.assert_allclose(join_blocks(2 * each, groups), 2 * joined)
    told = joined.var(("chain", "block"), ddof=1).mean() / (4 * groups)
    assert float(told) == pytest.approx(1 / 20, rel=0.06)  # of 20 independent ones, however joined


def over_runs(repetitions=60):
    """Normal deviates of χ, told and of all blocks, and the degrees of freedom that are told."""
    exact, told, fixed, dof = exact_chi(G, A, sigma()), [], [], []
    for seed in range(9100, 9100 + repetitions):
        tree = tree_of(walk(seed), G, A)
        for blocks, into in ((None, told), (5, fixed)):
            found = replicates(tree, "all", blocks=blocks)
            out = estimate(-(found.units - found.data))
            z = ((out["chi"] - exact) / out["chi_se"]).values
            into.append(deviates(z, out["chi_dof"].values))
            if blocks is None:
                dof.append(float(out["chi_dof"].mean()))
    return np.array(told), np.array(fixed), np.mean(dof)


def test_errors_of_chi_are_right_where_all_blocks_together_are_too_sure():
    told, fixed, dof = over_runs()
    assert np.sqrt(np.square(told).mean()) == pytest.approx(1.0, abs=0.15)
    assert np.sqrt(np.square(fixed).mean()) > 1.25
    assert 3 <= dof < 7


def test_errors_of_influence_are_right_where_fixed_blocks_are_too_sure():
    losses = Losses(num=6, dim=10)
    pairs = np.triu_indices(6, 1)
    told, fixed = [], []
    for seed in range(9250, 9290):
        tree = saved({"all": losses.draws(draws=100, rho=0.92, seed=seed)})
        bif = creode.influence(tree, query="all", train="all")
        out, dof = bif.block(), int(bif.attrs["blocks"]) - 1
        z = ((-out["bif"] - losses.covariance) / out["bif_se"]).values[pairs]
        told.append(deviates(z, dof))
        x = bif.train.columns(np.arange(6))
        value, error = Blocks(4, 100).covariance(x, x)
        fixed.append(deviates(((value - losses.covariance) / error)[pairs], 31))
        assert dof < 31
    assert np.sqrt(np.square(told).mean()) == pytest.approx(1.0, abs=0.2)
    assert np.sqrt(np.square(fixed).mean()) > 1.35


def test_slow_draws_without_a_signal_find_nothing_beyond_the_rate():
    """All samples have the same Hessian: χ is 0 in truth. All blocks together find too much."""
    g, a = quadratic_losses(num_samples=40, spread=0.0, slope=0.3)
    runs, rate = 40, 0.05
    told, fixed = 0, 0
    for seed in range(9300, 9300 + runs):
        tree = tree_of(walk(seed, 0.97), g, a)
        told += bool(significant(susceptibility(tree)["p"], rate).any())
        found = replicates(tree, "all", blocks=5)
        out = estimate(found.units - found.data)
        p = 2 * stats.t.sf(abs(out["chi"] / out["chi_se"]), out["chi_dof"])
        fixed += bool(significant(xr.DataArray(p), rate).any())
    assert told <= stats.binom.ppf(0.99, runs, rate) < fixed


def test_degrees_of_freedom_follow_the_memory_and_are_used_throughout():
    fast, slow = tree_of(walk(9400, 0.1), G, A), tree_of(walk(9401), G, A)
    assert blocks_of(fast) == 5
    assert blocks_of(slow) == 1
    parts = {"fast": fast, "slow": slow}
    chi = susceptibility(parts, standardise="both", keep_replicates=True)
    by_part = susceptibility(parts, standardise="columns")
    assert set(by_part["chi_dof"].sel(component="fast").values.ravel()) <= {19.0, 3.0}
    for name in ("chi_dof", "chi_standard_dof"):
        assert (by_part[name].sel(component="slow") == 3).all()
    t = abs(by_part["chi_standard"] / by_part["chi_standard_se"])
    np.testing.assert_allclose(
        by_part["p_standard"], 2 * stats.t.sf(t, by_part["chi_standard_dof"])
    )
    assert chi["chi_replicates"].sizes["block"] == 1  # as the slower allows
    whole = chi["chi_replicates"].mean(("chain", "block"))
    np.testing.assert_allclose(whole, chi["chi"], rtol=1e-5, atol=1e-9)
    both = chi["chi_standard_dof"]  # of a difference of two, each of its own
    assert (both >= np.minimum(*by_part["chi_standard_dof"]) - 1e-9).all()
    assert (both <= by_part["chi_standard_dof"].sum("component") + 1e-9).all()
    error_sq = by_part["chi_standard_se"] ** 2 / 4
    exact = error_sq.sum("component") ** 2 / (error_sq**2 / by_part["chi_standard_dof"]).sum(
        "component"
    )
    np.testing.assert_allclose(both.sel(component="fast"), exact)
    np.testing.assert_allclose(both.sel(component="slow"), exact)


def test_one_slow_chain_tells_no_error_and_says_so():
    slow = susceptibility(tree_of(walk(9500, chains=1), G, A))
    assert slow["chi"].notnull().all()
    assert slow["chi_se"].isnull().all()
    assert slow["p"].isnull().all()
    assert not slow["ok"].any()
    assert str(slow["reasons"].values[0]).endswith("keep more steps between draws")
    assert "single block" in str(slow["reasons"].values[0])
    mixed = mixture_susceptibility(tree_of(walk(9500, chains=1), G, A), {"all": 1.0})
    assert "single block" in str(mixed["reasons"].values[0])
    with pytest.raises(ValueError, match="one independent block of one chain"):
        effects(tree_of(walk(9500, chains=1), G, A), "all", {"loss": "loss"})
    fast = susceptibility(tree_of(walk(9501, 0.1, chains=1), G, A))
    assert fast["chi_se"].notnull().all()
    assert "single block" not in str(fast["reasons"].values[0])


def test_effects_of_several_have_as_many_blocks_as_the_slowest():
    quick = np.random.default_rng(9600).normal(size=(4, 100))
    tree = tree_of(walk(9601), G, A, quick=quick)
    alone = effects(tree, "all", {"quick": "quick"})
    assert alone.replicates.shape[:2] == (4, 5)
    both = effects(tree, "all", {"quick": "quick", "loss": "loss"})
    assert both.replicates.shape[:2] == (4, 1)
    np.testing.assert_allclose(both.mean[0], alone.mean[0])
    parts = {"fast": tree_of(walk(9602, 0.1), G, A), "slow": tree_of(walk(9603), G, A)}
    found = component_effects(parts, "all", {"sum": {"fast": 1.0, "slow": 1.0}})
    assert found.replicates.shape[:2] == (4, 1)


def test_what_centring_leaves_out_is_in_the_error_of_a_covariance():
    x = np.random.default_rng(9650).normal(size=(4, 100, 3))
    x -= x.mean(1, keepdims=True)
    some, more = (Blocks(4, 100, time) for time in (51.0, 81.0))  # each chain is one block
    assert some.count == more.count == 4
    value, error = some.covariance(x, x)
    _, wider = more.covariance(x, x)
    np.testing.assert_allclose(wider**2 - error**2, (0.8**2 - 0.5**2) * value**2, atol=1e-12)


@pytest.mark.parametrize(("memory", "count"), [(0.0, 32), (0.97, 4)])
def test_errors_of_higher_orders_know_of_memory(memory, count):
    x = np.stack([ar1((4, 104), memory, 9700 + k) for k in range(2)])
    x -= x.mean(2, keepdims=True)
    (second, error), _ = _further(x[0], x[1], 1.0)
    each = (x[0] * x[1] ** 2).reshape(count, -1)  # chains after each other, in equal blocks
    assert second == pytest.approx(each.mean())
    assert error == pytest.approx(each.mean(1).std(ddof=1) / count**0.5)
