"""Draws of curves against closed forms and enumeration."""

from itertools import combinations_with_replacement
from math import factorial

import numpy as np
import pytest
from scipy.stats import multivariate_t

from creode.development.atoms import Atoms
from creode.development.curve import Effort, sample_curves
from creode.development.curve_prior import Prior

TINY = 1e-12


def readings(num=20, error=0.1):
    rng = np.random.default_rng(3)
    u = np.linspace(0, 1, num)
    sigma = error * rng.uniform(0.5, 1.5, num)
    return u, sigma, rng


def test_without_atoms_the_curve_is_the_weighted_line():
    u, sigma, rng = readings(num=100)
    y = 0.2 + 0.7 * (u - 0.5) + sigma * rng.standard_normal(len(u))
    prior = Prior(another=TINY, flat=TINY, smooth=TINY, places=20, lengths=2)
    effort = Effort(chains=1, burnin=2, sweeps=2000)
    out = sample_curves(u, y, sigma, prior=prior, effort=effort, grid=11, seed=0).curves
    design = np.stack([np.ones_like(u), u], 1) / sigma[:, None]
    covariance = np.linalg.inv(design.T @ design)
    line = covariance @ design.T @ (y / sigma)
    at = np.stack([np.ones(11), out.grid], 1)
    error = np.sqrt(np.einsum("gi,ij,gj->g", at, covariance, at))
    left = np.square(y / sigma - design @ line).sum()
    s = np.sqrt((prior.trust + left) / (prior.trust + len(u) - 2))
    assert (out.num_atoms == 0).all()
    np.testing.assert_allclose(out.value.mean(0), at @ line, atol=0.1 * error.max())
    np.testing.assert_allclose(out.value.std(0), s * error, rtol=0.06)
    assert out.scale.mean() == pytest.approx(s, rel=0.02)
    np.testing.assert_allclose(out.rate, np.diff(out.value) * 10)


@pytest.mark.parametrize("height", [0.0, 0.15])
def test_one_slot_has_the_atoms_that_enumeration_gives(height):
    u, sigma, rng = readings()
    y = height * (u > 0.52) - height / 2 + sigma * rng.standard_normal(len(u))
    prior = Prior(
        most=1, flat=1 - 2 * TINY, smooth=TINY, places=6, lengths=3, another=0.8, nothing=2.0
    )
    sweeps = 3000
    effort = Effort(chains=1, burnin=10, sweeps=sweeps)
    out = sample_curves(u, y, sigma, prior=prior, effort=effort, grid=5, seed=4).curves
    again = np.random.default_rng(np.random.SeedSequence(4).spawn(1)[0])
    words = Atoms.of(u, prior, again)
    noise = np.diag(sigma**2) + prior.line**2

    def evidence(atom):
        shape = noise + (0 if atom is None else np.outer(atom, atom))
        return multivariate_t.logpdf(y, np.zeros(len(u)), shape, df=prior.trust)

    with_atom = [evidence(z) + p for z, p in zip(words.values.T, words.log_prior, strict=True)]
    weight = prior.another / prior.nothing * np.exp(np.array(with_atom) - evidence(None)).sum()
    exact = weight / (1 + weight)
    share = (out.num_atoms == 1).mean()
    assert 0.02 < exact < 0.98
    assert abs(share - exact) < 4 * np.sqrt(exact * (1 - exact) / sweeps)


def test_the_height_of_a_step_has_the_error_that_enumeration_gives():
    u, sigma, rng = readings()
    y = 1.0 * (u > 0.52) - 0.5 + 2.5 * sigma * rng.standard_normal(len(u))  # errors too small
    prior = Prior(
        most=1,
        flat=1 - 2 * TINY,
        smooth=TINY,
        places=6,
        lengths=2,
        shares=(0.5, 0.5, 0),
        another=100.0,
    )
    effort = Effort(chains=1, burnin=10, sweeps=3000)
    out = sample_curves(u, y, sigma, prior=prior, effort=effort, grid=5, seed=4).curves
    words = Atoms.of(u, prior, np.random.default_rng(np.random.SeedSequence(4).spawn(1)[0]))
    moves = np.diff(words.at(np.array([0.0, 1.0])), axis=0)[0]
    each = []
    for z, log_prior, move in zip(words.values.T, words.log_prior, moves, strict=True):
        design = np.stack([np.full_like(u, prior.line), z], 1) / sigma[:, None]
        covariance = np.linalg.inv(design.T @ design + np.eye(2))
        mean = covariance @ design.T @ (y / sigma)
        misfit = np.square(y / sigma).sum() - (y / sigma) @ design @ mean
        scale_sq = (prior.trust + misfit) / (prior.trust + len(u) - 2)
        log_evidence = 0.5 * np.linalg.slogdet(covariance)[1] - (prior.trust + len(u)) / 2 * np.log(
            prior.trust + misfit
        )
        each.append(
            [log_prior + log_evidence, move * mean[1], move**2 * scale_sq * covariance[1, 1]]
        )
    log_weight, mean, variance = np.array(each).T
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    exact = weight @ mean
    error = np.sqrt(weight @ (variance + mean**2) - exact**2)
    moved = out.value[:, -1] - out.value[:, 0]
    assert (out.num_atoms == 1).mean() > 0.99
    assert abs(moved.mean() - exact) < 0.1 * error
    assert moved.std() == pytest.approx(error, rel=0.05)


def test_the_evidence_of_one_slot_is_that_of_enumeration():
    u, sigma, rng = readings()
    y = 0.3 * (u > 0.52) - 0.15 + sigma * rng.standard_normal(len(u))
    prior = Prior(most=1, flat=1 - 2 * TINY, smooth=TINY, places=6, lengths=3, another=0.8)
    effort = Effort(chains=1, burnin=200, sweeps=400)
    out = sample_curves(u, y, sigma, prior=prior, effort=effort, grid=5, seed=4)
    words = Atoms.of(u, prior, np.random.default_rng(np.random.SeedSequence(4).spawn(1)[0]))
    noise = np.diag(sigma**2) + prior.line**2

    def evidence(atom):
        shape = noise + (0 if atom is None else np.outer(atom, atom))
        return multivariate_t.logpdf(y, np.zeros(len(u)), shape, df=prior.trust)

    each = [evidence(z) + p for z, p in zip(words.values.T, words.log_prior, strict=True)]
    none, one = evidence(None) + np.log(prior.nothing), np.logaddexp.reduce(each)
    exact = np.logaddexp(none, np.log(prior.another) + one) - np.log(1 + prior.another)
    assert exact - none > 1
    assert out.log_evidence - out.log_trend == pytest.approx(exact - none, abs=0.15)
    assert (out.trends.num_atoms == 0).all()
    assert len(out.trends.scale) == 400


def test_the_evidence_of_three_slots_is_that_of_enumeration():
    u, sigma, rng = readings()
    y = 0.5 * (u > 0.3) + 0.5 * (u > 0.7) - 0.5 + 0.5 * sigma * rng.standard_normal(len(u))
    prior = Prior(
        most=3, flat=1 - 2 * TINY, smooth=TINY, one_way=TINY, places=4, lengths=1, another=0.8
    )
    effort = Effort(chains=1, burnin=300, sweeps=200)
    out = sample_curves(u, y, sigma, prior=prior, effort=effort, grid=5, seed=4)
    words = Atoms.of(u, prior, np.random.default_rng(np.random.SeedSequence(4).spawn(1)[0]))
    noise = np.diag(sigma**2) + prior.line**2

    def evidence(some):
        z = words.values[:, some]
        value = multivariate_t.logpdf(y, np.zeros(len(u)), noise + z @ z.T, df=prior.trust)
        arrangements = factorial(len(some)) / np.prod([factorial(some.count(a)) for a in set(some)])
        return value + sum(words.log_prior[a] for a in some) + np.log(arrangements)

    atoms = range(len(words.place))
    each = [
        np.logaddexp.reduce(
            [evidence(list(some)) for some in combinations_with_replacement(atoms, k)]
        )
        for k in range(4)
    ]
    each[0] += np.log(prior.nothing)
    log_number = np.arange(4) * np.log(0.8)
    exact = np.logaddexp.reduce(each + log_number - np.logaddexp.reduce(log_number))
    assert exact - each[0] > 3
    assert out.log_evidence - out.log_trend == pytest.approx(exact - each[0], abs=0.3)


def test_the_prior_of_atoms_sums_to_one_and_places_are_inside():
    u, _, rng = readings()
    words = Atoms.of(u, Prior(), rng)
    assert np.exp(words.log_prior).sum() == pytest.approx(1)
    assert words.place.min() >= u[1]
    assert words.place.max() <= u[-2]


def test_draws_replay_and_differ_by_seed():
    u, sigma, rng = readings()
    y = np.tanh(8 * (u - 0.5)) / 2 + sigma * rng.standard_normal(len(u))
    settings = {"prior": Prior(places=30, lengths=3), "effort": Effort(sweeps=5), "grid": 9}
    one, same, other = (
        sample_curves(u, y, sigma, seed=seed, **settings).curves.value for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flat": 0.8, "smooth": 0.3}, "flat and smooth .* got 0.8 and 0.3"),
        ({"shares": (0.5, 0.2, 0.2)}, "sum to 1"),
        ({"most": 0}, "places, lengths and most must be at least 1, got 240, 8 and 0"),
        ({"trust": 0.0}, "must be positive, got Prior"),
    ],
)
def test_a_prior_checks_itself(settings, message):
    with pytest.raises(ValueError, match=message):
        Prior(**settings)


def test_an_effort_checks_itself():
    with pytest.raises(
        ValueError,
        match=r"at least 1, burnin at least 0 and .* got Effort\(chains=4, burnin=48, sweeps=0",
    ):
        Effort(sweeps=0)
