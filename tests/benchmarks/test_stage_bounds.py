"""The posterior of a staircase that knows how it was made."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.special import expit, logsumexp

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import stage_bounds as benchmark
from stages import FIRST, LAST, case


def test_the_posterior_of_one_step_is_that_of_weighted_draws_from_the_prior():
    given = case("1 step", 5, 1)
    assert given.error > 0.05
    u = np.log(given.readings["checkpoint"].values / FIRST) / np.log(LAST / FIRST)
    y, se = given.readings["llc"].values, given.readings["llc_se"].values
    rng = np.random.default_rng(0)
    ends = ((0.1, 0.9), (0.005, 0.03), (0.4, 1.0), (0.7, 1.3))
    c, w, h, t = (rng.uniform(low, high, 100_000) for low, high in ends)
    misfit = (h[:, None] * expit((u - c[:, None]) / w[:, None]) - y) / se
    level = -0.5 * (misfit**2).sum(1) * t**2 + len(u) * np.log(t)
    weight = np.exp(level - logsumexp(level))
    drawn, log_z = benchmark.posterior(given, 1, np.random.default_rng(1))
    assert abs(log_z - (logsumexp(level) - np.log(len(level)))) < 0.3
    for values, exact in ((drawn.place[:, 0], c), (drawn.height[:, 0], h), (drawn.told, t)):
        mean = weight @ exact
        spread = np.sqrt(weight @ (exact - mean) ** 2)
        assert abs(values.mean() - mean) < 0.25 * spread
        assert 0.8 < values.std() / spread < 1.25


def test_particles_stay_within_the_prior():
    drawn, _ = benchmark.posterior(case("3 steps", 5, 0), 3, np.random.default_rng(0))
    assert drawn.possible().all()
    np.testing.assert_array_equal(np.sort(drawn.place, 1), drawn.place)
    assert len(np.unique(drawn.place[:, 0])) > benchmark.PARTICLES / 4


def test_the_places_told_hold_most_steps():
    drawn = np.array([[0.3, 0.7]] * 5 + [[0.3, 0.5]] * 3 + [[0.2, 0.5]] * 1)
    np.testing.assert_allclose(sorted(benchmark.told_places(drawn)), [0.3, 0.7], atol=0.05)
