"""Controls: with the loss switched off nothing is found beyond the rate asked for."""

import numpy as np
import pytest
import xarray as xr
from response_cases import exact_chi, quadratic_losses, sigma, tree_of, weights

from creode.response import significant, subtract_baseline, susceptibility

G, A = quadratic_losses(num_samples=40)
PARTS = {"left": [0, 1], "right": [2, 3, 4]}


def run(seed, nbeta, draws=1000):
    return susceptibility(
        {
            name: tree_of(
                weights(chosen, draws=draws, seed=seed + number, nbeta=nbeta), G, A,
                component=name, nbeta=nbeta,
            )
            for number, (name, chosen) in enumerate(PARTS.items())
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def off():
    return run(20, 0.0), run(30, 0.0)


def test_with_the_loss_off_nothing_is_left_after_the_baseline(off):
    difference = subtract_baseline(*off)
    assert not significant(difference["p"], 0.05).any()
    assert float((difference["p"] < 0.05).mean()) < 0.2
    assert significant(off[0]["p"], 0.05).any()  # the tether alone has a signal: the baseline
    assert difference.attrs["baseline_nbeta"] == 0.0


@pytest.mark.parametrize(("nbeta", "draws"), [(0.0, 4000), (50.0, 1000)])
def test_where_there_is_no_signal_a_run_finds_one_at_most_at_the_rate(nbeta, draws):
    """All samples have the same Hessian, and random slopes: χ is 0 in truth, for any nβ."""
    g, a = quadratic_losses(num_samples=40, spread=0.0, slope=0.3)
    assert abs(exact_chi(g, a, sigma(nbeta=nbeta))).max() < 1e-12
    runs, rate = 20, 0.05
    p = [
        susceptibility(tree_of(weights(draws=draws, seed=s, nbeta=nbeta), g, a, nbeta=nbeta))["p"]
        for s in range(runs)
    ]
    assert sum(bool(significant(run, rate).any()) for run in p) <= 4  # 5 or more: 1 in 400
    assert 0.01 < np.mean([(run < 0.05).mean() for run in p]) < 0.1  # and p values are not all 1


def test_the_difference_is_right_within_its_error():
    on, long = run(40, 50.0, draws=4000), run(50, 0.0, draws=8000)
    difference = subtract_baseline(on, long)
    for name, chosen in PARTS.items():
        part = difference.sel(component=name)
        exact = exact_chi(G, A, sigma(chosen)) - exact_chi(G, A, sigma(chosen, 0.0))
        assert (abs(part["chi"] - exact) < 4 * part["chi_se"]).all()
        assert float(part["chi_se"].max()) < np.sqrt(np.mean(exact**2))
    expected = (on["chi_se"] ** 2 + long["chi_se"] ** 2) ** 0.5
    xr.testing.assert_allclose(difference["chi_se"], expected)
    least = np.minimum(on["chi_dof"], long["chi_dof"])
    assert (difference["chi_dof"] >= least - 1e-9).all()
    assert (difference["chi_dof"] <= on["chi_dof"] + long["chi_dof"] + 1e-9).all()


def test_reasons_of_both_are_kept_and_either_makes_it_doubtful(off):
    doubtful = off[1].copy()
    doubtful["ok"] = doubtful["ok"] & False
    doubtful["reasons"] = ("component", ["one", ""])
    out = subtract_baseline(off[0], doubtful)
    assert out["ok"].values.tolist() == [False, False]
    assert str(out["reasons"][0].values).endswith("baseline: one")


def test_runs_that_do_not_match_are_refused(off):
    one, other = off
    with pytest.raises(ValueError, match="observable is 'loss' and 'code' in the baseline"):
        subtract_baseline(one, other.assign_attrs(observable="code"))
    with pytest.raises(ValueError, match="other components or units"):
        subtract_baseline(one, other.isel(component=[0]))
    with pytest.raises(ValueError, match="other components or units"):
        subtract_baseline(one, other.isel(sample=slice(3)))
