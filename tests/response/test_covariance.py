"""Covariances by batch means: unbiased, with errors that cover the truth as often as they say."""

import numpy as np
import pytest
from traced_draws import Losses

from creode.response.covariance import Blocks


def centred(losses):
    return losses - losses.mean(1, keepdims=True)


@pytest.mark.parametrize(("chains", "draws"), [(4, 200), (3, 77), (1, 30), (40, 9), (2, 3)])
def test_blocks_cover_every_draw_of_every_chain_once(chains, draws):
    blocks = Blocks(chains, draws)
    assert blocks.share.sum() == pytest.approx(1)
    assert len(blocks.share) == blocks.count
    assert np.diff(blocks.edges).min() >= 2 or draws < 4
    x = centred(np.random.default_rng(0).normal(size=(chains, draws, 3)))
    exact = np.einsum("cdu,cdv->uv", x, x) / (chains * draws - chains)
    value, error = blocks.covariance(x, x)
    np.testing.assert_allclose(value, exact, atol=1e-12)
    assert error.shape == (3, 3)


def test_correlation_is_the_covariance_over_the_spreads():
    x = centred(Losses().draws(draws=77))
    blocks = Blocks(4, 77)
    covariance, _ = blocks.covariance(x, x)
    scale = np.sqrt(np.diag(covariance))
    value, error = blocks.correlation(x, x)
    np.testing.assert_allclose(value, covariance / np.outer(scale, scale), rtol=1e-10)
    np.testing.assert_allclose(np.diag(error), 0, atol=1e-12)  # a loss with itself is 1, exactly


def test_one_block_gives_no_error():
    x = centred(np.random.default_rng(0).normal(size=(1, 2, 2)))
    assert np.isnan(Blocks(1, 2).covariance(x, x)[1]).all()


@pytest.mark.parametrize("rho", [0.0, 0.8])
@pytest.mark.parametrize("kind", ["covariance", "correlation"])
def test_errors_cover_the_truth_as_often_as_they_say(kind, rho):
    """z over 200 repetitions is spread as t of 31 degrees: within 0.13, of which chance is 0.05."""
    losses = Losses(num=6, dim=3)
    exact = getattr(losses, kind)
    pairs = np.triu_indices(6, 1)
    blocks, z, errors = Blocks(4, 400), [], []
    for seed in range(200):
        x = centred(losses.draws(draws=400, rho=rho, seed=seed))
        value, error = getattr(blocks, kind)(x, x)
        z.append(((value - exact) / error)[pairs])
        errors.append(error[pairs])
    z = np.array(z)
    assert np.sqrt((z**2).mean()) == pytest.approx((31 / 29) ** 0.5, abs=0.13)
    assert np.mean(np.abs(z) < 2.04) == pytest.approx(0.95, abs=0.025)  # t of 31 degrees
    assert (np.std(errors, 0) / np.mean(errors, 0)).max() < 0.4
