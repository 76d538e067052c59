"""Heat of the directions that a loss resolves: against closed forms, and in the verdict."""

import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import creode
from creode.diagnostics import heat
from creode.diagnostics.evidence import Evidence
from creode.diagnostics.verdict import HEAT_TOLERANCE, heated
from creode.sampling import BADODAB, BAOAB, SGLD, RMSPropSGLD
from creode.testbeds import quadratic
from sampling_cases import EIGENVALUES, draw, evenly_noisy_quadratic

NBETA, GAMMA = 50.0, 10.0
LONG = {"chains": 4, "draws": 500, "burnin": 200, "steps_per_draw": 8, "mode": "vectorised"}
FLAT = (4.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # the virial of all directions hides what is in two


def test_the_heat_of_sgld_is_that_of_the_discretised_chain():
    step = 4e-3
    reading = creode.llc(
        draw(quadratic(FLAT, num_samples=4), sampler=SGLD(step_size=step), batch_size=4, **LONG)
    )
    h = np.array(FLAT)
    a = NBETA * h + GAMMA
    variance = 1 / (a * (1 - step * a / 4))
    exact = step / 4 * ((NBETA * h) ** 2 * variance).sum() / (NBETA * h * variance).sum()
    assert abs(float(reading.heat) - exact) < 4 * float(reading.heat_se)
    assert float(reading.heat_se) < 0.02 * exact
    without = (NBETA * h / a).sum() / 2
    assert float(reading.llc) / without - 1 == pytest.approx(exact / (1 - exact), rel=0.2)
    assert exact > HEAT_TOLERANCE
    assert "add" in str(reading.reasons.item())
    assert "virial" not in str(reading.reasons.item())  # which is within its tolerance


def test_a_frozen_metric_heats_each_direction_by_its_own_step():
    """At a large floor the metric is ε/s everywhere, and the chain is SGLD."""
    step, floor = 4e-3, 1e3
    plain, scaled = (
        creode.llc(draw(quadratic(FLAT, num_samples=4), sampler=sampler, batch_size=4, **LONG))
        for sampler in (SGLD(step_size=step), RMSPropSGLD(step_size=step * floor, floor=floor))
    )
    assert float(scaled.heat) == pytest.approx(float(plain.heat), rel=0.03)


def test_gradient_noise_heats_underdamped_chains_and_a_thermostat_takes_it_up():
    step, friction, force_variance = 0.01, 3.0, 400.0
    testbed = evenly_noisy_quadratic(force_variance / NBETA**2 / ((24 - 8) / (23 * 8)))
    options = LONG | {"batch_size": 8, "steps_per_draw": 20}
    hot = creode.llc(draw(testbed, sampler=BAOAB(step_size=step, friction=friction), **options))
    added = len(EIGENVALUES) * step * force_variance / (2 * friction)  # d (T − 1)
    a = NBETA * np.array(EIGENVALUES) + GAMMA
    spread = 1 + step * force_variance / (2 * friction)
    exact = added / ((1 - GAMMA / a) * spread).sum()
    assert abs(float(hot.heat) - exact) < 4 * float(hot.heat_se) + 0.03 * exact  # O(h²)
    assert float(hot.heat_se) < 0.1 * exact
    kernel = BADODAB(step_size=step, friction=friction)
    cool = creode.llc(draw(testbed, sampler=kernel, **options))
    assert abs(float(cool.heat)) < 4 * float(cool.heat_se)


def test_exact_draws_have_none():
    kernel = BAOAB(step_size=0.1, friction=8.0)
    reading = creode.llc(draw(quadratic(FLAT, num_samples=4), sampler=kernel, batch_size=4, **LONG))
    assert abs(float(reading.heat)) < 4 * float(reading.heat_se)
    assert bool(reading.ok), str(reading.reasons.item())


def test_there_is_no_share_of_nothing():
    added = xr.DataArray(np.ones((2, 50)), dims=("chain", "draw"))
    found = heat(added, -added)
    assert np.isnan(float(found["heat"]))
    assert np.isnan(float(found["heat_se"]))


def test_the_verdict_counts_it_beyond_its_error():
    healthy = Evidence(num_chains=4, num_draws=200, heat=0.3, heat_se=0.11)
    assert heated(healthy) is None
    assert "30% ± 9%" in heated(replace(healthy, heat_se=0.09))
    assert heated(replace(healthy, heat=math.nan)) is None
