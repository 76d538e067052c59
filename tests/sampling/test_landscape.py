"""What the pilot measures at a point, against closed forms of quadratic and linear losses."""

import numpy as np
import pytest
import torch

from creode.sampling import Execution
from creode.sampling.borrow import borrowed
from creode.sampling.choice import make_block
from creode.sampling.flat import FlatWeights
from creode.sampling.landscape import NUM_MINIBATCHES, Landscape
from creode.testbeds import quadratic
from sampling_cases import EIGENVALUES, noisy_quadratic, posterior


def landscape(testbed, *, batch_size, chains=1, component="full", seed=0):
    target = posterior(testbed, component=component)
    flat = FlatWeights(target.model, target.selection())
    mode = "vectorised" if chains > 1 else "sequential"
    block = make_block(target, flat, Execution(mode=mode), mode=mode, chains=chains)
    return Landscape(block, target.data, batch_size, seed), block


@pytest.mark.parametrize("chains", [1, 3])
def test_the_largest_curvature_is_the_largest_eigenvalue(chains):
    testbed = quadratic(EIGENVALUES, num_samples=4)
    with borrowed(testbed.model):
        seen, block = landscape(testbed, batch_size=4, chains=chains)
        before = block.position.clone()
        first = seen.curvature(1.0)
        again = seen.curvature(1.0)  # from the direction found: fewer steps, and no worse
        assert torch.equal(block.position, before)
    assert first.shape == (chains,)
    # Ten iterations with eigenvalues 4 and 3: short by at most (3/4)^20 of a random start's share.
    assert (abs(first - 4) < 0.1).all()
    assert (abs(again - 4) < abs(first - 4) + 1e-6).all()


def test_the_curvature_of_a_component_is_that_of_its_block():
    testbed = noisy_quadratic()
    with borrowed(testbed.model):
        seen, _ = landscape(testbed, batch_size=24, component="second")
        curvature = float(seen.curvature(1.0))
    block = testbed.hessian[4:, 4:]
    assert abs(curvature - float(torch.linalg.eigvalsh(block)[-1])) < 0.05 * curvature


def test_a_flat_loss_has_no_curvature_and_stays_finite():
    testbed = quadratic([0.0, 0.0], num_samples=4)
    with borrowed(testbed.model):
        seen, _ = landscape(testbed, batch_size=4)
        assert float(seen.curvature(1.0)) == 0.0


@pytest.mark.parametrize("batch_size", [3, 6])
def test_signal_and_noise_are_those_of_minibatches_without_replacement(batch_size):
    testbed = noisy_quadratic()
    delta = torch.linspace(-0.5, 0.5, 7, dtype=torch.float64)
    gradients = (testbed.gradients + testbed.curvatures @ delta).numpy()
    signal = np.square(gradients.mean(0)).sum()
    spread = gradients.var(0, ddof=1).sum()
    noise = spread / batch_size * (1 - batch_size / 24)
    found = []
    for seed in range(60):
        with borrowed(testbed.model):
            seen, block = landscape(testbed, batch_size=batch_size, seed=seed)
            block.position += delta
            block.moved()
            local = seen.local()
            assert seen.evaluations == NUM_MINIBATCHES
        found.append((local.signal, local.noise))
    means, errors = np.mean(found, 0), np.std(found, 0, ddof=1) / 60**0.5
    for mean, error, exact in zip(means, errors, (signal, noise), strict=True):
        assert abs(mean - exact) < 4 * error
        assert error < 0.1 * exact


def test_exact_gradients_have_no_noise():
    testbed = noisy_quadratic()
    with borrowed(testbed.model):
        seen, block = landscape(testbed, batch_size=24)
        block.position += 0.3
        block.moved()
        local = seen.local()
        parts = seen.local(distinct=4)  # of four samples, repeated to a batch
    assert local.noise == 0.0
    assert parts.noise > 0.0
    assert local.signal > 0.0
