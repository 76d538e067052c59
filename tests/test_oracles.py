"""Each closed form against a computation that shares nothing with it."""

import numpy as np
import pytest
from scipy import integrate, linalg, stats

import oracles


def spd(d: int, rng: np.random.Generator) -> np.ndarray:
    root = rng.normal(size=(d, d))
    return root @ root.T / d + 0.3 * np.eye(d)


def symmetric(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    raw = rng.normal(size=shape)
    return (raw + np.swapaxes(raw, -1, -2)) / 2


def lyapunov(step: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Stationary covariance of x' = step x + N(0, noise), by doubling the number of steps."""
    total, power = noise, step
    for _ in range(60):
        total = total + power @ total @ power.T
        power = power @ power
    return total


def quadrature(n: int, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n², 2) and weights of Gauss-Hermite quadrature for N(0, covariance) in the plane."""
    x, w = np.polynomial.hermite_e.hermegauss(n)
    nodes = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
    return nodes @ np.linalg.cholesky(covariance).T, np.outer(w, w).ravel() / (2 * np.pi)


def test_gaussian_moments_match_quadrature():
    rng = np.random.default_rng(1)
    sigma, hessian = spd(2, rng), spd(2, rng)
    g, a = rng.normal(size=(3, 2)), symmetric((3, 2, 2), rng)
    w, p = quadrature(12, sigma)
    losses = w @ g.T + np.einsum("iab,wa,wb->wi", a, w, w) / 2
    means = p @ losses
    centred = losses - means
    np.testing.assert_allclose(oracles.loss_means(a, sigma), means, rtol=1e-12)
    exact = np.einsum("w,wi,wj->ij", p, centred, centred)
    np.testing.assert_allclose(oracles.loss_covariance(g, a, sigma), exact, rtol=1e-11)
    mean_loss = np.einsum("ab,wa,wb->w", hessian, w, w) / 2
    moments = oracles.quadratic_moments(hessian, sigma)
    np.testing.assert_allclose(moments.mean, p @ mean_loss, rtol=1e-12)
    np.testing.assert_allclose(moments.mean_square, p @ mean_loss**2, rtol=1e-12)


def test_exact_llc_is_nbeta_times_the_mean_loss_of_the_gaussian_posterior():
    h = np.array([0.0, 0.5, 3.0])
    nbeta, gamma = 20.0, 4.0
    covariance = np.linalg.inv(oracles.precision(np.diag(h), nbeta, gamma))
    loss = oracles.quadratic_moments(np.diag(h), covariance)
    assert oracles.llc_quadratic(h, nbeta, gamma) == pytest.approx(nbeta * loss.mean, rel=1e-13)
    assert oracles.llc_quadratic(h, nbeta, 0.0 + 1e-12) == pytest.approx(1.0)  # ½ rank


@pytest.mark.parametrize("metric", [None, np.array([0.5, 2.0, 1.0])])
def test_sgld_covariance_solves_its_own_recursion(metric):
    p = spd(3, np.random.default_rng(2))
    eps = 0.4
    g = np.diag(np.ones(3) if metric is None else metric)
    expected = lyapunov(np.eye(3) - eps / 2 * g @ p, eps * g)
    np.testing.assert_allclose(oracles.sgld_covariance(p, eps, metric), expected, rtol=1e-11)


def test_sgld_llc_and_virial_come_from_the_recursion():
    h, nbeta, gamma, eps = np.array([0.5, 2.0, 4.0]), 50.0, 10.0, 4e-3
    a, noise = nbeta * h + gamma, np.array([300.0, 0.0, 50.0])
    v = np.diag(lyapunov(np.diag(1 - eps * a / 2), np.diag(eps + eps**2 / 4 * noise)))
    llc = oracles.llc_quadratic_sgld(h, nbeta, gamma, eps, noise)
    assert llc == pytest.approx(nbeta * (h * v).sum() / 2, rel=1e-12)
    quiet = np.diag(lyapunov(np.diag(1 - eps * a / 2), eps * np.eye(3)))
    assert oracles.sgld_virial(a, eps) == pytest.approx((a * quiet).mean(), rel=1e-12)
    small = oracles.llc_quadratic_sgld(h, nbeta, gamma, 1e-9)
    assert small == pytest.approx(oracles.llc_quadratic(h, nbeta, gamma), rel=1e-6)


def test_sgld_refuses_an_unstable_step():
    with pytest.raises(ValueError, match="εa = 4"):
        oracles.sgld_variance([1.0, 400.0], 0.01)


@pytest.mark.parametrize("replacement", [True, False])
def test_minibatch_sgld_covariance_is_a_fixed_point_over_all_batches(replacement):
    """Sum over every batch of two out of four samples, instead of the variance of a mean."""
    rng = np.random.default_rng(3)
    g = rng.normal(size=(4, 2))
    g -= g.mean(0)
    a = spd(2, rng) + 0.3 * symmetric((4, 2, 2), rng)
    nbeta, gamma, eps = 5.0, 1.0, 0.1
    sigma = oracles.sgld_minibatch_covariance(
        g, a, nbeta=nbeta, localization=gamma, step_size=eps, batch_size=2, replacement=replacement
    )
    batches = [(i, j) for i in range(4) for j in range(4) if replacement or i != j]
    after = np.zeros((2, 2))
    for i, j in batches:
        step = np.eye(2) - eps / 2 * oracles.precision((a[i] + a[j]) / 2, nbeta, gamma)
        push = eps / 2 * nbeta * (g[i] + g[j]) / 2
        after += (step @ sigma @ step.T + np.outer(push, push) + eps * np.eye(2)) / len(batches)
    np.testing.assert_allclose(after, sigma, rtol=1e-12)


def test_minibatch_noise_without_curvature_spread_is_the_scalar_formula():
    rng = np.random.default_rng(4)
    g = rng.normal(size=(50, 1))
    g -= g.mean()
    nbeta, gamma, eps, h = 30.0, 2.0, 0.01, 1.5
    sigma = oracles.sgld_minibatch_covariance(
        g,
        np.full((50, 1, 1), h),
        nbeta=nbeta,
        localization=gamma,
        step_size=eps,
        batch_size=5,
        replacement=True,
    )
    scalar = oracles.sgld_variance(nbeta * h + gamma, eps, nbeta**2 * g.var() / 5)
    np.testing.assert_allclose(sigma[0, 0], scalar, rtol=1e-12)


def test_reweighting_responds_by_minus_nbeta_over_n_times_the_covariance():
    rng = np.random.default_rng(5)
    n, nbeta, gamma = 4, 7.0, 2.0
    g = rng.normal(size=(n, 3))
    g -= g.mean(0)
    a = spd(3, rng) + 0.2 * symmetric((n, 3, 3), rng)
    covariance = np.linalg.inv(oracles.precision(a.mean(0), nbeta, gamma))
    slope = -nbeta / n * oracles.loss_covariance(g, a, covariance)
    step = 1e-5
    for j in range(n):
        shift = step * np.eye(n)[j]
        up, down = (
            oracles.reweighted_loss_means(g, a, 1 + sign * shift, nbeta, gamma) for sign in (1, -1)
        )
        np.testing.assert_allclose((up - down) / (2 * step), slope[:, j], rtol=1e-6, atol=1e-9)


def test_reweighted_means_match_quadrature_far_from_uniform():
    rng = np.random.default_rng(6)
    g, a = rng.normal(size=(2, 2)), spd(2, rng) + np.zeros((2, 1, 1))
    rho, nbeta, gamma = np.array([1.8, 0.1]), 3.0, 1.0
    w, p = quadrature(40, np.linalg.inv(oracles.precision(a[0], nbeta, gamma)))
    losses = w @ g.T + np.einsum("iab,wa,wb->wi", a, w, w) / 2
    tilted = p * np.exp(-nbeta * (losses * rho).mean(1) + nbeta * (w @ a[0] * w).sum(1) / 2)
    expected = tilted @ losses / tilted.sum()
    exact = oracles.reweighted_loss_means(g, a, rho, nbeta, gamma)
    np.testing.assert_allclose(exact, expected, rtol=1e-8)


def test_mcse_and_ess_match_the_covariance_matrix_of_the_draws():
    """Var of the mean from all n² entries of the matrix Cov(w_s², w_t²) = 2 v² ρ^{2|s−t|}."""
    h, nbeta, gamma, eps, every = np.array([0.2, 1.0]), 40.0, 5.0, 0.01, 3
    a = nbeta * h + gamma
    v, rho = oracles.sgld_variance(a, eps), oracles.sgld_autocorrelation(a, eps, every)
    n = 30
    variance = 0.0
    for j in range(2):
        step = np.linalg.matrix_power(np.array([[1 - eps * a[j] / 2]]), every)[0, 0]
        cov_w = v[j] * linalg.toeplitz(step ** np.arange(n))
        variance += (h[j] / 2) ** 2 * (2 * cov_w**2).sum() / n**2
    mcse = oracles.quadratic_loss_mcse(h, v, rho, n)
    assert mcse == pytest.approx(variance**0.5, rel=1e-12)
    loss = oracles.quadratic_moments(np.diag(h), np.diag(v))
    assert oracles.quadratic_loss_ess(h, v, rho, n) == pytest.approx(loss.variance / variance)
    tau = oracles.square_autocorrelation_time(rho)
    np.testing.assert_allclose(oracles.mean_of_squares_factor(rho, 10**7), tau, rtol=1e-5)


@pytest.mark.parametrize("friction", [0.1, 1.0, 10.0])
def test_baoab_moments_are_stationary(friction):
    step = 0.3
    for a in (0.5, 9.0, 40.0):
        position, momentum = oracles.baoab_moments(a, step)
        matrix, noise = oracles.baoab_step(a, step, friction)
        sigma = lyapunov(matrix, noise)
        np.testing.assert_allclose(sigma, np.diag([position, momentum]), rtol=1e-9, atol=1e-12)
    assert oracles.baoab_temperature([1.0, 3.0], step) == pytest.approx(1 - 0.09 * 2 / 4)


def test_baoab_step_is_the_five_moves_in_a_row():
    a, step, friction, w, p = 2.0, 0.3, 0.7, 0.4, -1.1
    c = np.exp(-friction * step)
    q, m = w, p - step / 2 * a * w
    q, m = q + step / 2 * m, c * m
    q = q + step / 2 * m
    m -= step / 2 * a * q
    matrix, noise = oracles.baoab_step(a, step, friction)
    np.testing.assert_allclose(matrix @ [w, p], [q, m], rtol=1e-13)
    kicked = np.array([step / 2, 1 - step**2 * a / 4]) * np.sqrt(
        1 - c**2
    )  # the noise, through A, B
    np.testing.assert_allclose(noise, np.outer(kicked, kicked), rtol=1e-13)


def test_baoab_is_stable_up_to_two_and_not_beyond():
    for a, stable in ((0.99 * 4, True), (1.01 * 4, False)):
        radius = np.abs(np.linalg.eigvals(oracles.baoab_step(a, 1.0, 0.5)[0])).max()
        assert (radius < 1) == stable
    with pytest.raises(ValueError, match="h√a = 2"):
        oracles.baoab_moments(4.0, 1.0)


def test_baoab_autocorrelation_solves_the_joint_stationary_law():
    a, step, friction = 3.0, 0.4, 0.6
    matrix, noise = oracles.baoab_step(a, step, friction)
    sigma = lyapunov(matrix, noise)
    lagged = [(np.linalg.matrix_power(matrix, lag) @ sigma)[0, 0] / sigma[0, 0] for lag in range(6)]
    np.testing.assert_allclose(
        oracles.baoab_autocorrelation(a, step, friction, 6), lagged, rtol=1e-9
    )


def test_badodab_is_baoab_without_noise_and_nearly_exact_with_it():
    a = np.array([0.5, 1.0, 4.0])
    variances, friction = oracles.badodab_variance(a, 0.3, 1.7, 0.0)
    np.testing.assert_allclose(variances, oracles.baoab_moments(a, 0.3)[0], rtol=1e-9)
    assert friction == pytest.approx(1.7, rel=1e-9)
    errors = []
    for step in (0.1, 0.05):
        variances, friction = oracles.badodab_variance(a, step, 1.7, 6.0)
        assert friction == pytest.approx(1.7 + step * 3, rel=0.02)
        errors.append((a * variances).mean() - 1)
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.15)  # h³
    assert abs(errors[1]) < 0.01


def test_badodab_variance_is_what_a_long_chain_in_numpy_sees():
    rng = np.random.default_rng(8)
    a, step, injected, noise, inertia = np.array([0.5, 2.0]), 0.3, 1.0, 5.0, 1e3
    exact, friction = oracles.badodab_variance(a, step, injected, noise)
    w, p = rng.normal(size=(2, 4000, 2))
    zeta, seen = np.full(4000, friction), []
    for t in range(1500):
        p = p - step * (a * w + noise**0.5 * rng.normal(size=w.shape))
        zeta = zeta + step / 2 * injected**2 / inertia * ((p**2).mean(1) - 1)
        c = np.exp(-zeta * step)[:, None]
        w = w + step / 2 * p
        p = c * p + np.sqrt(injected * (1 - c**2) / zeta[:, None]) * rng.normal(size=w.shape)
        w = w + step / 2 * p
        zeta = zeta + step / 2 * injected**2 / inertia * ((p**2).mean(1) - 1)
        if t > 300 and t % 20 == 0:
            seen.append((w**2).mean(0))
    error = 2**0.5 * exact / (len(seen) * 4000) ** 0.5
    assert (np.abs(np.mean(seen, axis=0) - exact) < 4 * error + 0.002 * exact).all()
    assert np.abs(exact * a - 1).max() > 0.02  # told apart from the limit


@pytest.mark.parametrize(("k", "gamma"), [(1, 0.5), (2, 1.0), (3, 20.0)])
def test_monomial_in_one_weight_matches_adaptive_quadrature(k, gamma):
    nbeta = 300.0

    def moment(power: int) -> float:
        def integrand(w: float) -> float:
            x = nbeta * w ** (2 * k)
            return x**power * np.exp(-x - gamma / 2 * w * w)

        return integrate.quad(integrand, 0, 3, points=[0.2, 0.5, 1.0], epsabs=1e-14, limit=500)[0]

    mean = moment(1) / moment(0)
    result = oracles.normal_crossing_moments([k], nbeta, gamma)
    assert result.mean == pytest.approx(mean, rel=1e-10)
    assert result.mean_square == pytest.approx(moment(2) / moment(0), rel=1e-10)


def test_monomial_without_a_tether_is_a_gamma_distribution():
    for k in (1, 2, 3):
        result = oracles.normal_crossing_moments([k], 1e6, 1e-12)
        shape = stats.gamma(1 / (2 * k))
        assert result.mean == pytest.approx(shape.mean(), rel=1e-8)
        assert result.variance == pytest.approx(shape.var(), rel=1e-8)


def test_crossing_of_two_weights_matches_one_integral_left_after_the_gaussian_one():
    """For w_1^{2k} w_2² the integral over w_2 is Gaussian, of precision 2nβ w_1^{2k} + γ."""
    nbeta, gamma, k = 500.0, 2.0, 2

    def inner(w: float) -> tuple[float, float]:
        a = 2 * nbeta * w ** (2 * k) + gamma
        fraction = nbeta * w ** (2 * k) / a
        return np.exp(-gamma / 2 * w * w) / np.sqrt(a), fraction

    points = [0.01, 0.05, 0.2, 0.5, 1.0]
    options = {"points": points, "epsabs": 1e-14, "limit": 500}
    norm = integrate.quad(lambda w: inner(w)[0], 0, 8, **options)[0]
    mean = integrate.quad(lambda w: np.prod(inner(w)), 0, 8, **options)[0]
    square = integrate.quad(lambda w: 3 * inner(w)[0] * inner(w)[1] ** 2, 0, 8, **options)[0]
    result = oracles.normal_crossing_moments([k, 1], nbeta, gamma)
    assert result.mean == pytest.approx(mean / norm, rel=1e-9)
    assert result.mean_square == pytest.approx(square / norm, rel=1e-9)


def test_crossing_of_two_weights_does_not_depend_on_their_order():
    forth = oracles.normal_crossing_moments([1, 3], 200.0, 3.0)
    back = oracles.normal_crossing_moments([3, 1], 200.0, 3.0)
    np.testing.assert_allclose(forth, back, rtol=1e-12)


@pytest.mark.parametrize(
    "widths", [(1, 1, 1), (2, 2, 2), (3, 3, 3), (5, 2, 1), (2, 5, 2), (1, 2, 6)]
)
def test_reduced_rank_by_closed_form_by_subsets_and_by_orbits(widths):
    for rank in range(min(widths) + 1):
        closed = oracles.reduced_rank_llc(*widths, rank)
        by_subsets = oracles.deep_linear_llc_by_subsets(widths, rank)
        assert {llc for llc, _ in by_subsets} == {closed}
        assert oracles.deep_linear_llc_by_orbits(widths, rank) == closed


def test_orbits_of_chains_worked_by_hand():
    # xyz = 0: three planes through the origin, codimension 1
    assert oracles.deep_linear_llc_by_orbits((1, 1, 1, 1), 0) == 0.5
    # one matrix: the rank-r map itself, a point in all of its entries
    assert oracles.deep_linear_llc_by_orbits((2, 3), 1) == 3.0
    # u·v = 0 in two pairs of vectors: one equation; uvᵀ = 0: u = 0 or v = 0, codimension 2
    assert oracles.deep_linear_llc_by_orbits((1, 2, 1), 0) == 0.5
    assert oracles.deep_linear_llc_by_orbits((2, 1, 2), 0) == 1.0
