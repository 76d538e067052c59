"""What the pilot measures at a point, against closed forms of quadratic and linear losses."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from creode.data import Samples
from creode.posterior import LocalPosterior
from creode.sampling import Execution
from creode.sampling.borrow import borrowed
from creode.sampling.choice import make_block
from creode.sampling.curvature import curvature, weight_norm
from creode.sampling.flat import FlatWeights
from creode.sampling.landscape import NUM_MINIBATCHES, Landscape
from creode.tasks import NextToken, as_losses
from creode.testbeds import quadratic
from creode.testbeds.decoder import Decoder, DecoderConfig
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
        unit = torch.ones_like(before) / before.shape[1] ** 0.5
        assert float((unit * seen.product(unit, 1.0)).sum(1)[0]) == pytest.approx(
            sum(EIGENVALUES) / before.shape[1], rel=1e-4
        )
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


SADDLE = (-5.0, -1.0, 0.0, 2.0, 2.5)
STEEP = (-1.0, 3.0, 5.0, 7.0, 9.0)


def saddle(eigenvalues):
    """A quadratic with directions along which it falls; every sample has the same loss."""

    class Weights(torch.nn.Module):
        def __init__(self):
            super().__init__()
            start = torch.linspace(1.0, 2.0, len(eigenvalues), dtype=torch.float64)
            self.w = torch.nn.Parameter(start)

    h = torch.tensor(eigenvalues, dtype=torch.float64)
    rotation = torch.linalg.qr(
        torch.randn(len(h), len(h), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    ).Q

    def loss(w):
        return (0.5 * h * (rotation @ w) ** 2).sum()

    def task(model, batch):
        return loss(model.w) + 0 * batch["x"]

    task.of = loss

    data = Samples(columns={"x": torch.zeros(6, dtype=torch.float64)})
    return LocalPosterior(Weights(), task, data, nbeta=1.0, localization=1.0)


@pytest.mark.parametrize("eigenvalues", [SADDLE, EIGENVALUES, (-3.0, -1.0)])
def test_the_largest_eigenvalue_keeps_its_sign_beside_a_larger_negative_one(eigenvalues):
    found = curvature(saddle(eigenvalues))
    assert found.largest == pytest.approx(max(eigenvalues), abs=0.05)


def test_the_trace_is_that_of_the_hessian_with_an_error_that_is_right():
    """One vector of signs has the variance 2 Σ_{i≠j} H_ij² around tr H."""
    vectors, repeats = 8, 60
    bed = saddle(STEEP)
    hessian = torch.autograd.functional.hessian(bed.task.of, bed.model.w.detach())
    variance = 2 * float((hessian - hessian.diag().diag()).square().sum())
    found = [curvature(bed, seed=seed, vectors=vectors) for seed in range(repeats)]
    mean = np.mean([one.trace for one in found])
    assert abs(mean - sum(STEEP)) < 4 * (variance / (vectors * repeats)) ** 0.5
    stated = np.mean([one.trace_se**2 for one in found])
    assert stated == pytest.approx(variance / vectors, rel=0.3)
    assert variance > 1.0


def test_curvature_in_single_precision_is_that_of_autograd():
    bed = decoder_posterior()
    batch = bed.data.batch(torch.arange(len(bed.data)))

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = bed.model

        def forward(self):
            values, mask = as_losses(bed.task(self.model, batch))
            return values.sum() / mask.sum()

    whole = Loss()
    names = [name for name, _ in whole.named_parameters()]
    weights = tuple(parameter.detach() for parameter in whole.parameters())

    def loss(*given):
        return torch.func.functional_call(whole, dict(zip(names, given, strict=True)), ())

    with sdpa_kernel(SDPBackend.MATH):  # the fused one has no second derivative
        blocks = torch.autograd.functional.hessian(loss, weights)
    sizes = [w.numel() for w in weights]
    rows = [
        torch.cat([part.reshape(size, -1) for part in row], 1)
        for size, row in zip(sizes, blocks, strict=True)
    ]
    hessian = torch.cat(rows).double()
    found = curvature(bed, vectors=256)
    assert found.largest == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=0.02)
    assert abs(found.trace - float(hessian.trace())) < 4 * found.trace_se
    assert found.trace_se < 0.1 * abs(found.trace)
    assert weight_norm(bed) == pytest.approx(
        float(torch.cat([w.flatten() for w in weights]).norm())
    )


def test_the_model_leaves_as_it_came():
    bed = decoder_posterior()
    before = {name: value.clone() for name, value in bed.model.state_dict().items()}
    curvature(bed, vectors=2)
    assert all(torch.equal(value, before[name]) for name, value in bed.model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in bed.model.parameters())


def decoder_posterior():
    shape = DecoderConfig(
        vocab_size=5, d_model=4, num_layers=1, num_heads=1, context_length=6, mlp_ratio=1.0
    )
    tokens = torch.randint(0, 5, (12, 6), generator=torch.Generator().manual_seed(1))
    data = Samples(columns={"input_ids": tokens})
    return LocalPosterior(Decoder(shape, seed=1), NextToken(), data, nbeta=1.0, localization=1.0)


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
