"""The loss kernel against closed forms, dense linear algebra and planted blocks."""

from importlib import import_module

import numpy as np
import pytest
import xarray as xr
from traced_draws import Losses, noise, rearranged, saved

from creode.response.loss_kernel import loss_kernel

LOSSES = Losses()
ALL = LOSSES.draws(draws=1000)
DRAWS = saved({"p": ALL})


def planted(blocks, samples=40, strength=0.5, draws=400, seed=0, signs=True):
    """Losses (4, D, S) driven by one common factor a block, and noise; and each sample's block."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(samples) % blocks)
    common = rng.normal(size=(4, draws, blocks))[..., labels]
    sign = rng.choice([-1, 1], samples) if signs else 1
    own = rng.normal(size=(4, draws, samples))
    return sign * strength * common + (1 - strength**2) ** 0.5 * own, labels


def dense(losses, normalise):
    x = losses.astype(np.float32).astype(float)
    x = (x - x.mean(1, keepdims=True)).reshape(-1, x.shape[2])
    kernel = x.T @ x / (len(x) - losses.shape[0])
    scale = np.sqrt(np.diag(kernel))
    return kernel / np.outer(scale, scale) if normalise else kernel


@pytest.mark.parametrize("normalise", [False, True])
def test_entries_are_the_closed_form(normalise):
    exact = LOSSES.correlation if normalise else LOSSES.covariance
    found = loss_kernel(DRAWS, "p", normalise=normalise).block()
    beside = ~np.eye(15, dtype=bool) if normalise else np.ones((15, 15), dtype=bool)
    value, error = found["kernel"].values[beside], found["kernel_se"].values[beside]
    spread = np.sqrt(np.diag(exact))
    assert (np.abs(value - exact[beside]) < 4 * error).all()
    assert (error < 0.07 * np.outer(spread, spread)[beside]).all()
    np.testing.assert_allclose(found["kernel"], found["kernel"].values.T, rtol=1e-10)
    np.testing.assert_allclose(found["kernel"], dense(ALL, normalise), rtol=1e-9)


def test_a_block_is_part_of_the_whole(monkeypatch):
    kernel = loss_kernel(DRAWS, "p")
    whole = kernel.block()
    monkeypatch.setattr(import_module("creode.response.loss_kernel"), "BUFFER", 8 * 32 * 2 * 3)
    part = kernel.block([4, 2], [9, 0, 1, 7, 5])
    expected = whole["kernel"].values[np.ix_([4, 2], [9, 0, 1, 7, 5])]
    np.testing.assert_allclose(part["kernel"], expected, rtol=1e-9)
    assert part["other"].values.tolist() == [9, 0, 1, 7, 5]


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("draws", [1000, 12])  # more draws than samples, and fewer (4 × 3)
def test_eigenvectors_are_those_of_the_dense_matrix(normalise, draws, monkeypatch):
    losses = ALL[:, :: 1000 // draws][:, :3] if draws == 12 else ALL
    kernel = loss_kernel(saved({"p": losses}), "p", normalise=normalise)
    monkeypatch.setattr(
        import_module("creode.response.factor"), "BUFFER", 8 * losses[..., 0].size * 4
    )
    found = kernel.eigen(k=5)
    matrix = dense(losses, normalise)
    values, basis = np.linalg.eigh(matrix)
    np.testing.assert_allclose(found["eigenvalue"], values[::-1][:5], rtol=1e-6)
    np.testing.assert_allclose(found["share"], values[::-1][:5] / np.trace(matrix), rtol=1e-6)
    for mode in range(5):
        vector = found["eigenvector"].values[mode]
        assert abs(vector @ basis[:, -1 - mode]) == pytest.approx(1, abs=1e-5)
        assert vector[np.argmax(np.abs(vector))] > 0
        np.testing.assert_allclose(
            matrix @ vector, values[-1 - mode] * vector, atol=1e-5 * values[-1]
        )


@pytest.mark.parametrize(("samples", "draws"), [(15, 400), (300, 60)])  # either side is smaller
def test_errors_of_eigenvalues_cover_the_truth(samples, draws):
    """Three planted factors well apart: n_b s_b² each, and the noise in one direction, s_b²/100."""
    labels = np.arange(samples) % 3
    scale = np.array([3.0, 2.0, 1.2])
    exact = scale**2 * (samples / 3 + 0.01)
    z = []
    for seed in range(80):
        common = np.random.default_rng(seed).normal(size=(4, draws, 3))
        own = noise(samples, draws=draws, seed=seed + 999)
        losses = scale[labels] * (common[..., labels] + 0.1 * own)
        found = loss_kernel(saved({"p": losses}), "p", normalise=False).eigen(k=3)
        z.append((found["eigenvalue"].values - exact) / found["eigenvalue_se"].values)
        assert (found["eigenvalue_se"] < 0.25 * exact).all()
    assert np.sqrt(np.mean(np.square(z))) == pytest.approx((31 / 29) ** 0.5, abs=0.2)


def test_errors_of_correlation_eigenvalues_cover_the_truth():
    """Two blocks of correlated losses: 1 + (n − 1)ρ each, the second with the smaller ρ."""
    labels = np.arange(12) % 2
    rho = np.array([0.8, 0.3])
    exact = 1 + 5 * rho
    z = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        common, own = rng.normal(size=(4, 400, 2)), rng.normal(size=(4, 400, 12))
        losses = np.sqrt(rho)[labels] * common[..., labels] + np.sqrt(1 - rho)[labels] * own
        losses *= rng.gamma(4.0, size=12)  # scales that the correlation form must not see
        found = loss_kernel(saved({"p": losses}), "p").eigen(k=2)
        z.append((found["eigenvalue"].values - exact) / found["eigenvalue_se"].values)
        assert (found["eigenvalue_se"] < 0.06 * exact).all()
    assert np.sqrt(np.mean(np.square(z), 0)) == pytest.approx((31 / 29) ** 0.5, abs=0.2)


def test_the_order_of_chains_does_not_matter():
    turned = rearranged(DRAWS, chain=[3, 1, 0, 2])
    for ask in (lambda k: k.block(), lambda k: k.eigen(3)):
        xr.testing.assert_allclose(
            ask(loss_kernel(DRAWS, "p")), ask(loss_kernel(turned, "p")), rtol=1e-7
        )


def test_labels_that_the_kernel_knows_are_found():
    pytest.importorskip("sklearn")
    losses, labels = planted(3)
    names = np.array(["sum", "product", "parity"])[labels]
    found = loss_kernel(saved({"p": losses}), "p").alignment(names)
    assert float(found["nmi"]) == pytest.approx(1)
    assert float(found["nmi_low"]) <= 1 <= float(found["nmi_high"])
    assert float(found["nmi_chance"]) < 0.2
    assert len(np.unique(found["cluster"])) == 3
    # ρ = ±1/4 where labels agree, 0 ± 1/40 where not: nearly all agreeing pairs rank on top
    share = np.mean(labels[:, None] == labels)
    assert 0.9 * np.sqrt(3 * share * (1 - share)) < float(found["rank_correlation"])
    assert 0 < float(found["rank_correlation_se"]) < 0.02
    assert bool(found["ok"])


def test_labels_that_the_kernel_does_not_know_are_not():
    pytest.importorskip("sklearn")
    losses, labels = planted(2)
    other = np.random.default_rng(1).permutation(labels)
    found = loss_kernel(saved({"p": losses}), "p").alignment(other)
    assert float(found["nmi"]) < 0.3
    assert abs(float(found["rank_correlation"])) < 0.15


def test_the_error_of_the_rank_correlation_is_that_of_repetitions_or_a_little_more():
    pytest.importorskip("sklearn")
    values, errors = [], []
    for seed in range(16):
        losses, labels = planted(2, samples=16, strength=0.25, seed=seed, signs=False)
        found = loss_kernel(saved({"p": losses}), "p").alignment(labels)
        values.append(float(found["rank_correlation"]))
        errors.append(float(found["rank_correlation_se"]))
    assert 0.8 < np.mean(errors) / np.std(values, ddof=1) < 2.2
    assert np.mean(errors) < 0.1


def test_a_failed_chain_gives_nothing_and_a_still_one_no_error():
    broken = ALL[:, :100].copy()
    broken[1, 50:] = np.nan
    kernel = loss_kernel(saved({"p": broken}), "p")
    assert np.isnan(kernel.block([0])["kernel"]).all()
    assert np.isnan(kernel.eigen(2)["eigenvalue"]).all()
    assert not kernel.ok
    assert "chain 1 became non-finite" in kernel.reasons
    distance = np.random.default_rng(0).random((4, 1000))
    distance[2] = 1.0
    still = loss_kernel(saved({"p": ALL}, distance_sq=distance), "p")
    assert np.isfinite(still.eigen(2)["eigenvalue"]).all()
    assert np.isnan(still.eigen(2)["eigenvalue_se"]).all()
    pytest.importorskip("sklearn")
    without_error = still.alignment(np.arange(15) % 2)
    assert np.isfinite(without_error["nmi"])
    assert np.isnan(without_error["nmi_se"])
    aligned = kernel.alignment(np.arange(15) % 2)
    assert np.isnan(aligned["nmi"])
    assert (aligned["cluster"] == -1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda kernel: kernel.eigen(0), "k must be at least 1"),
        (lambda kernel: kernel.block([15]), r"sample 15 is not in 0\.\.14"),
        (lambda kernel: kernel.alignment([0, 1]), r"shape \(2,\).*has 15 samples that count"),
        (lambda kernel: kernel.alignment(["a"] * 15), "all labels are 'a'"),
        (lambda kernel: kernel.alignment(np.arange(15), clusters=1), "between 2 and 15, got 1"),
    ],
)
def test_what_cannot_be_answered_is_refused(call, message):
    if "alignment" in call.__code__.co_names:
        pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match=message):
        call(loss_kernel(DRAWS, "p"))
