"""Evidence for a change: the closed form, what it must not depend on, and its stated rate."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from creode.development.evidence import Change, find_change

STEPS = np.unique(np.geomspace(10, 10_000, 40).round().astype(int))


def marginal(y: np.ndarray, X: np.ndarray, C: np.ndarray) -> float:
    """log ∫ N(y; Xb, σ²C) db dσ/σ, but for what depends on n and p alone."""
    inverse = np.linalg.inv(C)
    information = X.T @ inverse @ X
    b = np.linalg.solve(information, X.T @ inverse @ y)
    rest = (y - X @ b) @ inverse @ (y - X @ b)
    dof = len(y) - X.shape[1]
    log_dets = np.linalg.slogdet(C)[1] + np.linalg.slogdet(information)[1]
    return float(-0.5 * log_dets - dof / 2 * np.log(rest))


def slow_evidence(y, e, steps, places, change) -> float:
    """The mixture as its definition has it, by the densities of whole series."""
    unit = np.median(e)
    y, e, places = np.asarray(y) / unit, np.asarray(e) / unit, np.asarray(places)
    X = np.stack([np.log1p(steps) ** k for k in range(change.drift + 1)], axis=1)
    gap = np.abs(places[:, None] - places)
    totals = []
    for q in change.wander:
        walk = np.minimum(places[:, None], places) - places[0]
        C = np.outer(e, e) * change.autocorrelation**gap + q * walk
        terms = []
        for j, tau in enumerate(range(change.reference, len(y) - change.confirm + 1), start=1):
            since = places - places[tau] + 1
            for shape, kappas in ((since > 0, change.steps), (since.clip(0), change.ramps)):
                for kappa in kappas:
                    moved = C + kappa**2 * np.outer(shape, shape)
                    ratio = marginal(y, X, moved) - marginal(y, X, C)
                    terms.append(ratio - np.log(j * (j + 1) * 2 * len(kappas)))
        totals.append(logsumexp(terms))
    return float(min(totals))


@pytest.mark.parametrize(
    "change",
    [
        Change(reference=6, drift=0, wander=(0.0,)),
        Change(reference=7, drift=1, wander=(0.0, 0.3), autocorrelation=0.4, confirm=3),
        Change(reference=8, drift=2, wander=(0.2,), steps=(1.0, 5.0), ramps=(0.3, 3.0)),
    ],
)
def test_evidence_is_the_ratio_of_marginal_likelihoods(change: Change) -> None:
    rng = np.random.default_rng(3)
    places = [0, 1, 2, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15]
    e = rng.uniform(0.5, 2.0, len(places))
    y = 40 + e * rng.standard_normal(len(places)) + 3.0 * (np.arange(len(places)) > 8)
    steps = STEPS[places]
    found = find_change(y, e, steps, places, change)
    assert found is not None
    slow = slow_evidence(y, e, steps, places, change)
    assert found.log_evidence == pytest.approx(slow, abs=1e-6)


def test_level_drift_and_size_of_the_errors_do_not_matter() -> None:
    rng = np.random.default_rng(4)
    y, e = rng.standard_normal(20) + 2.0 * (np.arange(20) > 12), rng.uniform(0.5, 2.0, 20)
    steps, places, change = STEPS[:20], list(range(20)), Change(reference=8)
    found = find_change(y, e, steps, places, change)
    moved = find_change(3.0 * y - 70 + 9.0 * np.log1p(steps), e * 3.0, steps, places, change)
    mistaken = find_change(y, e * 1.3, steps, places, change)
    assert found is not None and moved is not None and mistaken is not None  # noqa: PT018
    assert moved.log_evidence == pytest.approx(found.log_evidence, abs=1e-9)
    assert (moved.first, moved.low, moved.high) == (found.first, found.low, found.high)
    assert (moved.size, moved.size_se) == pytest.approx((3 * found.size, 3 * found.size_se))
    assert mistaken.log_evidence == pytest.approx(found.log_evidence, abs=1e-9)
    assert (mistaken.size, mistaken.size_se) == pytest.approx((found.size, found.size_se))
    assert mistaken.noise == pytest.approx(found.noise / 1.3)


def test_the_size_of_a_step_is_within_its_error() -> None:
    pulls, errors, noises = [], [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y = 5 + 2.0 * rng.standard_normal(30) + 40.0 * (np.arange(30) >= 20)
        change = Change(reference=8, drift=0, wander=(0.0,))
        found = find_change(y, np.full(30, 1.6), STEPS[:30], range(30), change)
        assert found is not None
        assert found.low <= found.first == 20 <= found.high
        pulls.append((found.size - 40.0) / found.size_se)
        errors.append(found.size_se)
        noises.append(found.noise)
        assert abs(found.level - 5) < 4 * 2.0 / 20**0.5
        assert found.drift == pytest.approx(0.0, abs=1e-9)
    assert abs(np.mean(pulls)) < 4 / 60**0.5
    assert 0.75 < np.std(pulls) < 1.3
    assert np.mean(errors) == pytest.approx(2.0 * (1 / 20 + 1 / 10) ** 0.5, rel=0.1)
    assert np.mean(noises) == pytest.approx(2.0 / 1.6, rel=0.1)


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_runs_without_a_change_seldom_pass_whatever_the_errors_say(factor: float) -> None:
    change, rate, runs = Change(reference=6, drift=0, wander=(0.0,)), 0.3, 150
    passed = 0
    for seed in range(runs):
        y = np.random.default_rng([5, seed]).standard_normal(24)
        looks = (
            find_change(y[:n], np.full(n, factor), STEPS[:n], range(n), change)
            for n in range(8, 25)
        )
        passed += any(look.log_evidence > math.log(1 / rate) for look in looks if look)
    assert passed / runs < rate + 3 * (rate * (1 - rate) / runs) ** 0.5
    assert passed > 0  # able to pass at all


def test_too_few_readings_or_equal_ones_are_no_change() -> None:
    y, change = np.random.default_rng(1).standard_normal(12), Change(reference=8, drift=0)
    assert find_change(y[:9], np.ones(9), STEPS[:9], range(9), change) is None
    assert find_change(y[:10], np.ones(10), STEPS[:10], range(10), change) is not None
    same = find_change(np.full(12, 3.0), np.ones(12), STEPS[:12], range(12), change)
    assert same is not None
    assert same.log_evidence < 0
