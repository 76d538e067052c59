"""Averages over kinds of curves."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from creode.development.curve import Effort, sample_curves
from creode.development.curve_prior import Prior
from creode.development.kinds import KINDS, averaged_curves

PRIOR = Prior(places=40, lengths=4)
EFFORT = Effort(chains=2, burnin=32, sweeps=40, particles=150)


def read(curve, prior=PRIOR, error=0.05, num=40, seed=0):
    rng = np.random.default_rng(seed)
    u = np.linspace(0, 1, num)
    y = curve(u) + error * rng.standard_normal(num)
    sigma = np.full(num, error)
    settings = {"effort": EFFORT, "grid": 101, "seed": seed}
    curves, p = averaged_curves(u, y - y.mean(), sigma, prior=prior, **settings)
    return curves, dict(zip(KINDS, p, strict=True)), (u, y - y.mean(), sigma, settings)


def staircase(u):
    return expit((u[:, None] - np.array([0.15, 0.4, 0.6, 0.85])) / 0.012).sum(1) / 4


def test_a_staircase_of_many_low_steps_is_one():
    curves, probability, _ = read(staircase)
    assert probability["staircase"] > 0.8
    assert sum(probability.values()) == pytest.approx(1)
    assert len(curves.scale) == len(curves.kinks) == len(curves.rate) == 80
    assert (
        np.abs(curves.value.mean(0) - curves.value.mean() - staircase(curves.grid) + 0.5).mean()
        < 0.04
    )


def test_a_bent_line_is_segments_with_its_kink_and_a_straight_one_a_trend():
    curves, probability, _ = read(lambda u: np.interp(u, [0, 0.4, 1], [0, 0.1, 1]), error=0.03)
    assert probability["segments"] == max(probability.values())
    kinks = [kinks for kinks, num in zip(curves.kinks, curves.num_atoms, strict=True) if num == 1]
    assert np.median(np.concatenate(kinks)) == pytest.approx(0.4, abs=0.06)
    _, probability, _ = read(lambda u: u)
    assert probability["trend"] == max(probability.values())


def test_a_kind_is_as_likely_as_its_prior_says():
    _, one, _ = read(staircase, error=0.15)
    _, other, _ = read(staircase, replace(PRIOR, kinds=(0.6, 0.2, 0.1, 0.1)), error=0.15)
    for kind, factor in zip(KINDS, (2.0, 0.5, 1.0, 0.5), strict=True):
        ratio = other[kind] / other["segments"] / (one[kind] / one["segments"])
        assert ratio == pytest.approx(factor)


def test_what_is_impossible_is_not_drawn():
    curves, probability, (u, y, sigma, settings) = read(
        staircase, replace(PRIOR, kinds=(0.0, 0.0, 0.0, 1.0))
    )
    assert list(probability.values()) == [0, 0, 0, 1]
    same = sample_curves(u, y, sigma, prior=PRIOR, **settings).curves
    np.testing.assert_array_equal(np.sort(curves.value[:, 50]), np.sort(same.value[:, 50]))


def test_kinds_must_be_shares():
    with pytest.raises(ValueError, match=r"kinds must be four shares, .* got \(0.5, 0.5, 0.5, 0\)"):
        Prior(kinds=(0.5, 0.5, 0.5, 0))
