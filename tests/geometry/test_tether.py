import numpy as np
import pytest
import xarray as xr

from creode.geometry.tether import untether

H = np.geomspace(1, 100, 40)
NBETA = 50.0


def quadratic_llc(gamma):
    """½ Σ h/(h + γ/nβ), of the tethered posterior of ½ Σ h w²."""
    return 0.5 * float((H / (H + gamma / NBETA)).sum())


def values(*numbers):
    return [xr.DataArray(float(number)) for number in numbers]


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_a_quadratic_is_freed_of_its_tether_to_first_order(gamma):
    out = untether(*values(quadratic_llc(gamma), 1e-6, quadratic_llc(2 * gamma), 1e-6))
    bias, left = len(H) / 2 - quadratic_llc(gamma), len(H) / 2 - float(out.llc)
    second_order = (gamma / NBETA) ** 2 * float((1 / H**2).sum())  # of ½ Σ 1/(1 + γ/(nβ h))
    assert left == pytest.approx(second_order, rel=0.1)
    assert abs(left) < float(out.llc_se)
    assert abs(left) < 0.1 * bias
    assert float(out.llc_tethered) == quadratic_llc(gamma)
    assert float(out.tether_shift) == pytest.approx(quadratic_llc(gamma) - quadratic_llc(2 * gamma))


def test_what_chance_can_explain_is_not_extrapolated():
    out = untether(*values(10.0, 0.3, 9.6, 0.4))  # a shift of 0.4 ± 0.5
    assert float(out.llc) == 10.0
    unseen = 2 * 0.5  # a shift of so much could be there
    assert float(out.llc_se) == pytest.approx((0.3**2 + unseen**2) ** 0.5)
    assert float(untether(*values(10.0, 0.3, 11.0, 0.4)).llc) == 10.0  # it only ever rises


def test_a_clear_shift_is_taken_nearly_whole():
    out = untether(*values(10.0, 0.03, 9.0, 0.04))
    kept = 1 - 0.05**2
    assert float(out.llc) == pytest.approx(10 + kept)
    monte_carlo_sq = (0.03 * (1 + kept)) ** 2 + (0.04 * kept) ** 2
    assert float(out.llc_se) == pytest.approx((monte_carlo_sq + 1.0) ** 0.5)


@pytest.mark.parametrize("power", [0.6, 1.0, 2.0])
def test_the_interval_covers_what_powers_of_the_tether_leave(power):
    """A bias of γ^p, over which λ̂ at γ and 2γ scatter as their errors say."""
    rng = np.random.default_rng(int(10 * power))
    bias, error = 1.5, 0.1
    found = [
        untether(
            *values(20 - bias + error * rng.standard_normal(), error),
            *values(20 - bias * 2**power + error * rng.standard_normal(), error),
        )
        for _ in range(300)
    ]
    covered = [abs(float(one.llc) - 20) < 1.96 * float(one.llc_se) for one in found]
    assert np.mean(covered) > 0.9
    assert np.mean([float(one.llc_se) for one in found]) < 4 * bias  # and it can miss


def test_a_chain_that_failed_at_either_tether_leaves_no_reading():
    for numbers in ((np.nan, 0.1, 9.0, 0.1), (10.0, 0.1, np.nan, np.nan)):
        assert np.isnan(untether(*values(*numbers)).llc)
