"""Moves of the sampler against evidences computed with whole covariances."""

import numpy as np
import pytest
from scipy.stats import multivariate_t

from creode.development.atoms import KINK, Atoms
from creode.development.background import background, trends
from creode.development.curve_prior import Prior
from creode.development.slots import Slots

NUM = 20
PRIOR = Prior(places=8, lengths=2, most=4, alike=0.7, one_way=0.3)
WAYS = (0.0, 0.7)


@pytest.fixture
def chain():
    rng = np.random.default_rng(0)
    u = np.linspace(0, 1, NUM)
    sigma = 0.1 * rng.uniform(0.5, 1.5, NUM)
    y = 0.5 * (u > 0.4) + 0.4 * (u > 0.7) - 0.4 + sigma * rng.standard_normal(NUM)
    atoms = Atoms.of(u, PRIOR, rng)
    coarse = np.linspace(0, 1, 5)
    backgrounds = [background(u, y, sigma, atoms.values, PRIOR, t, coarse) for t in trends(PRIOR)]
    slots = Slots(backgrounds, atoms, PRIOR, NUM, rng)
    steps, kinks = np.flatnonzero(atoms.shape != KINK), np.flatnonzero(atoms.shape == KINK)
    slots._slots[:3] = [steps[3], kinks[2], steps[20]]

    def evidence(active, trend, alike):
        away = u[:, None] - u
        noise = np.diag(sigma**2) + PRIOR.line**2
        noise += trend.slope**2 * np.outer(u - 0.5, u - 0.5)
        noise += trend.amplitude**2 * np.exp(-0.5 * (away / trend.scale) ** 2)
        step = atoms.shape[active] != KINK
        heights = np.where(np.outer(step, step), alike, 0.0)
        np.fill_diagonal(heights, 1.0)
        z = atoms.values[:, active]
        return multivariate_t.logpdf(y, np.zeros(NUM), noise + z @ heights @ z.T, df=PRIOR.trust)

    return slots, backgrounds, atoms, evidence


def weights_of(slots, move):
    seen = []
    slots._categorical = lambda log_p: seen.append(log_p.copy()) or 0
    move()
    return seen


@pytest.mark.parametrize(("number", "alike"), [(0, 0.0), (0, 0.7), (4, 0.7), (1, 0.0)])
def test_an_atom_has_the_weight_of_its_evidence_and_its_prior(chain, number, alike):
    slots, backgrounds, atoms, evidence = chain
    slots._now, slots._alike = backgrounds[number], alike
    log_p = slots._log_p()
    trend = trends(PRIOR)[number]
    odds = np.log(PRIOR.another * 4 / (4 - 3))
    exact = [
        evidence(np.append(slots.active, a), trend, alike) + atoms.log_prior[a] + odds
        for a in range(len(atoms.place))
    ]
    exact.append(evidence(slots.active, trend, alike))
    np.testing.assert_allclose(log_p - log_p[-1], np.array(exact) - exact[-1], atol=1e-8)


def test_a_trend_and_a_way_have_the_weight_of_their_evidence_and_their_prior(chain):
    slots, _, _, evidence = chain
    log_p = slots._log_prior + slots._log_evidence()
    exact = np.array(
        [
            [
                evidence(slots.active, trend, alike) + np.log(trend.probability * share)
                for alike, share in zip(WAYS, (0.7, 0.3), strict=True)
            ]
            for trend in trends(PRIOR)
        ]
    )
    np.testing.assert_allclose(log_p - log_p[0, 0], exact - exact[0, 0], atol=1e-8)


def test_heights_have_the_mean_and_covariance_of_their_posterior(chain):
    slots, backgrounds, atoms, _ = chain
    slots._now, slots._alike = backgrounds[1], 0.7
    z, y = backgrounds[1].atoms[:, slots.active], backgrounds[1].y
    step = atoms.shape[slots.active] != KINK
    heights = np.where(np.outer(step, step), 0.7, 0.0)
    np.fill_diagonal(heights, 1.0)
    covariance = np.linalg.inv(z.T @ z + np.linalg.inv(heights))
    mean = covariance @ z.T @ y
    left = y @ y - mean @ np.linalg.solve(covariance, mean)
    spread = covariance * (PRIOR.trust + left) / (PRIOR.trust + NUM - 2)
    draws = np.array([slots.draw_curve()[1] for _ in range(20000)])
    error = np.sqrt(np.diag(spread))
    np.testing.assert_allclose(draws.mean(0) / error, mean / error, atol=0.03)
    np.testing.assert_allclose(
        np.cov(draws.T) / np.outer(error, error), spread / np.outer(error, error), atol=0.05
    )


def test_a_constant_without_atoms_is_likelier_by_nothing(chain):
    slots, backgrounds, atoms, evidence = chain
    slots._slots[:] = -1
    slots._now, slots._alike = backgrounds[0], 0.0
    constant = trends(PRIOR)[0]
    log_p = slots._log_p()
    exact = evidence(np.array([3]), constant, 0.0) + atoms.log_prior[3]
    exact += np.log(PRIOR.another / PRIOR.most / PRIOR.nothing)
    empty = np.empty(0, np.int64)
    assert log_p[3] - log_p[-1] == pytest.approx(exact - evidence(empty, constant, 0.0))
    slots._now = backgrounds[1]
    log_p = slots._log_p()
    line = trends(PRIOR)[1]
    exact = evidence(np.array([3]), line, 0.0) + atoms.log_prior[3]
    exact += np.log(PRIOR.another / PRIOR.most) - evidence(empty, line, 0.0)
    assert log_p[3] - log_p[-1] == pytest.approx(exact)


def test_with_no_atoms_a_constant_is_as_likely_as_its_evidence_and_nothing_say(chain):
    slots, _, _, evidence = chain
    slots._slots[:] = -1
    seen = weights_of(slots, slots.without_atoms)[-1].reshape(-1, 2)
    empty = np.empty(0, np.int64)
    exact = np.array([evidence(empty, t, 0.0) + np.log(t.probability) for t in trends(PRIOR)])
    exact[0] += np.log(PRIOR.nothing)
    np.testing.assert_allclose(seen[:, 0] - seen[0, 0], exact - exact[0], atol=1e-8)


def test_a_number_of_atoms_that_is_favoured_is_kept_and_odds_are_told_without_favour(chain):
    slots, backgrounds, _, _ = chain
    slots._now = backgrounds[0]
    log_odds = []
    own = slots._log_p

    def seen():
        log_p = own()
        log_odds.append(np.logaddexp.reduce(log_p[:-1]) - log_p[-1])
        return log_p

    slots._log_p = seen
    favour = np.where(np.arange(PRIOR.most + 1) == 2, 0.0, -1e9)
    for _ in range(5):
        slots.sweep(favour)
    assert len(slots.active) == 2
    told = [odds for ways in slots.odds for one in ways for odds in one]
    np.testing.assert_allclose(np.sort(told), np.sort(log_odds))
    assert len(slots.odds[1][1])  # a filled slot, one of two
    assert len(slots.odds[2][0])  # an empty one beside both
    assert not slots.odds[2][1][1:]  # of the three at first
    assert not slots.odds[1][0]
