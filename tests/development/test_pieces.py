"""Sequential Monte Carlo against sums over a grid."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import multivariate_t

from creode.development.atoms import HALF
from creode.development.pieces import Readings, Sampler
from creode.development.segments import SegmentPrior, Segments
from creode.development.staircases import Staircase, StaircasePrior

TRUST = 12.0


def readings(curve, num=24, error=0.12):
    rng = np.random.default_rng(5)
    u = np.linspace(0, 1, num)
    sigma = error * rng.uniform(0.5, 1.5, num)
    return Readings(u, curve(u) + sigma * rng.standard_normal(num), sigma, TRUST)


def evidence(given, columns, spread):
    """log p(y) given heights ~ N(0, spread)."""
    shape = np.diag(given.sigma**2) + columns @ spread @ columns.T
    return multivariate_t.logpdf(given.y, np.zeros(len(given.u)), shape, df=TRUST)


def middles(low, high, num):
    """Of equal cells."""
    return low + (np.arange(num) + 0.5) * (high - low) / num


def mean_evidence(given, pieces, num):
    """log of the mean of eight estimates, which are unbiased, and its error."""
    runs = [
        Sampler(given, pieces, num, np.random.default_rng(seed)).run(300, 8).log_evidence
        for seed in range(8)
    ]
    weight = np.exp(np.array(runs) - max(runs))
    error = weight.std(ddof=1) / weight.mean() / 8**0.5
    return max(runs) + np.log(weight.mean()), error


def segment_columns(u, places):
    ends = [0.0, *places, 1.0]
    ramps = [np.clip(u, a, b) - a for a, b in pairwise(ends)]
    return np.stack([np.ones_like(u), *ramps], 1)


def test_segments_have_the_evidence_the_places_and_the_curve_of_a_sum_over_all_places():
    given = readings(lambda u: np.interp(u, [0, 0.4, 0.7, 1], [0, 0.1, 1, 0.9]))
    prior = SegmentPrior(apart=0.2)
    sampler = Sampler(given, Segments(given.u, 2, prior), 2, np.random.default_rng(0))
    theta, _ = sampler.run(1000, 8)
    log_evidence, error = mean_evidence(given, Segments(given.u, 2, prior), 2)
    assert error < 0.1
    spread = np.diag([prior.level**2] + [prior.rate**2] * 3)
    # one and two kinks with as much room: uniform over both places at least 0.2 apart
    low, high = given.u[1], given.u[-2]
    grid = middles(low, high, 60)
    pairs = np.array([(a, b) for a in grid for b in grid if b - a > 0.2])
    log_p = np.array([evidence(given, segment_columns(given.u, pair), spread) for pair in pairs])
    exact = np.logaddexp.reduce(log_p) - np.log(len(pairs))
    constant = evidence(given, np.ones((len(given.u), 1)), np.eye(1) * prior.level**2)
    # both leave out the same constant of a t density
    zero = Sampler(given, Segments(given.u, 1, prior), 1, np.random.default_rng(0))
    one_kink = zero.log_likelihood(np.full((1, 1, 1), 0.5))[0]
    known = evidence(given, segment_columns(given.u, [0.5]), spread[:3, :3])
    assert abs(log_evidence - one_kink - (exact - known)) < 4 * error
    assert exact - constant > 3
    weight = np.exp(log_p - np.logaddexp.reduce(log_p))
    mean = weight @ pairs
    spread = np.sqrt(weight @ (pairs - mean) ** 2)
    np.testing.assert_allclose(theta[..., 0].mean(0) / spread, mean / spread, atol=0.15)
    np.testing.assert_allclose(theta[..., 0].std(0), spread, rtol=0.15)
    value, s = sampler.curves(theta, given.u)
    assert (np.abs(value.mean(0) - given.y) < 4 * given.sigma).all()
    assert 0.7 < s.mean() < 1.3


def test_a_step_has_the_evidence_and_the_height_of_a_sum_over_places_and_lengths():
    given = readings(lambda u: (u > 0.55) - 0.5)
    prior = StaircasePrior(shortest=1.0, longest=0.3)
    pieces = Staircase(given.u, 1, prior)
    sampler = Sampler(given, pieces, 1, np.random.default_rng(1))
    theta, _ = sampler.run(1000, 8)
    log_evidence, error = mean_evidence(given, pieces, 1)
    assert error < 0.1
    (low, high), (short, long) = pieces.ranges
    spread = np.diag([prior.level**2, prior.height**2])
    log_p, moved, u = [], [], given.u
    for c in middles(low, high, 120):
        for length in np.exp(middles(short, long, 12)):
            step = 1 / (1 + np.exp(-HALF * (u - c) / length))
            columns = np.stack([np.ones_like(u), step], 1)
            log_p.append(evidence(given, columns, spread))
            precision = columns.T / given.sigma**2 @ columns + np.linalg.inv(spread)
            moved.append(np.linalg.solve(precision, columns.T / given.sigma**2 @ given.y)[1])
    exact = np.logaddexp.reduce(log_p) - np.log(len(log_p))
    at = np.array([[[0.3, np.log(0.1)]]])
    columns = np.stack([np.ones_like(u), 1 / (1 + np.exp(-HALF * (u - 0.3) / 0.1))], 1)
    apart = sampler.log_likelihood(at)[0] - evidence(given, columns, spread)
    assert abs(log_evidence - apart - exact) < 4 * error
    weight = np.exp(np.array(log_p) - np.logaddexp.reduce(log_p))
    value, _ = sampler.curves(theta, np.array([-9.0, 9.0]))
    assert np.diff(value).mean() == pytest.approx(weight @ moved, abs=0.02)


def test_steps_keep_apart_and_rise_from_left_to_right():
    given = readings(lambda u: u)
    prior = StaircasePrior(longest=0.1)
    pieces = Staircase(given.u, 3, prior)
    theta, _ = Sampler(given, pieces, 3, np.random.default_rng(2)).run(200, 8)
    place, length = theta[..., 0], np.exp(theta[..., 1])
    least = np.maximum(length[:, 1:] + length[:, :-1], 2 * given.u[1])
    assert (np.diff(place, axis=1) > least).all()
    assert place.min() > given.u[1]
    assert place.max() < given.u[-2]
    assert length.max() < 0.1


def test_readings_that_tell_nothing_leave_the_prior():
    u = np.linspace(0, 1, 20)
    given = Readings(u, np.zeros(20), np.full(20, 1e4), TRUST)
    prior = StaircasePrior(longest=0.6, shortest=1.0)
    pieces = Staircase(u, 2, prior)
    sampler = Sampler(given, pieces, 2, np.random.default_rng(0))
    theta, log_evidence = sampler.run(4000, 12)
    (low, high), (short, long) = pieces.ranges
    log_length = np.random.default_rng(1).uniform(short, long, (100_000, 2))
    room = np.maximum(np.exp(log_length).sum(1), 2 * u[1])
    fits = room < high - low
    assert 0.6 < fits.mean() < 0.97
    level = sampler.log_likelihood(theta[:1])[0]
    assert log_evidence - level == pytest.approx(np.log(fits.mean()), abs=0.01)
    exact = log_length[fits]
    error = exact.std() / 4000**0.5
    np.testing.assert_allclose(theta[..., 1].mean(0), exact.mean(), atol=4 * error)
    share = (theta[:, 0, 0] - low) / (
        high - low - np.maximum(np.exp(theta[..., 1]).sum(1), 2 * u[1])
    )
    assert share.mean() == pytest.approx(1 / 3, abs=4 * 0.24 / 4000**0.5)  # the lower of two


def test_heights_of_steps_are_alike_and_smaller_where_there_are_more():
    prior = StaircasePrior(height=1.2, alike=0.8, level=2.0)
    spread = np.linalg.inv(Staircase(np.linspace(0, 1, 20), 3, prior).precision)
    exact = np.full((4, 4), 0.8 * 0.4**2)
    exact[0] = exact[:, 0] = 0
    np.fill_diagonal(exact, [4.0, 0.16, 0.16, 0.16])
    np.testing.assert_allclose(spread, exact, atol=1e-12)


@pytest.mark.parametrize(
    ("prior", "settings", "message"),
    [
        (StaircasePrior, {"alike": 1.0}, r"a staircase needs .* alike in \[0, 1\) .* alike=1.0"),
        (StaircasePrior, {"longest": 0.0}, r"all else above 0, got .*longest=0.0"),
        (SegmentPrior, {"most": 0}, r"segments need most at least 1 .* got SegmentPrior\(most=0"),
    ],
)
def test_priors_check_themselves(prior, settings, message):
    with pytest.raises(ValueError, match=message):
        prior(**settings)


def test_pieces_without_room_have_no_evidence():
    given = readings(lambda u: u, num=8)
    prior = StaircasePrior(resolved=4.0)
    theta, log_evidence = Sampler(
        given, Staircase(given.u, 4, prior), 4, np.random.default_rng(0)
    ).run(50, 4)
    assert len(theta) == 0
    assert log_evidence == -np.inf
