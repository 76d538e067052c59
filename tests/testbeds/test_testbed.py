"""What every testbed promises, whatever its truth."""

import pytest
import torch
from torch.func import functional_call, vmap

from creode.posterior import LocalPosterior
from creode.tasks import as_losses, validate
from creode.testbeds import (
    Testbed,
    classifier,
    deep_linear,
    normal_crossing,
    quadratic,
    superposition,
)


def build(name: str, dtype: torch.dtype = torch.float64) -> Testbed:
    match name:
        case "quadratic":
            return quadratic(
                [1.0, 2.0, 0.0],
                num_samples=12,
                offset_scale=1.0,
                gradient_scale=1.0,
                curvature_scale=0.5,
                dtype=dtype,
            )
        case "normal_crossing":
            return normal_crossing(
                [1, 2, 0], num_samples=12, amplitude_scale=0.5, gradient_scale=0.1, dtype=dtype
            )
        case "deep_linear":
            return deep_linear((3, 2, 4), 1, num_samples=12, noise=0.5, dtype=dtype)
        case "expected superposition":
            return superposition(5, dtype=dtype)
        case "sampled superposition":
            return superposition(6, num_samples=12, dtype=dtype)
        case "classifier":
            return classifier(hidden=(4,), num_samples=12, steps=3, dtype=dtype)
    raise AssertionError(name)


NAMES = [
    "quadratic",
    "normal_crossing",
    "deep_linear",
    "expected superposition",
    "sampled superposition",
    "classifier",
]


def moved(testbed: Testbed, chains: int) -> dict[str, torch.Tensor]:
    """Weights of several chains a step away from w*, (chains, ...)."""
    generator = torch.Generator().manual_seed(7)
    return {
        name: p.detach() + 0.3 * torch.randn(chains, *p.shape, generator=generator, dtype=p.dtype)
        for name, p in testbed.model.named_parameters()
    }


@pytest.mark.parametrize("name", NAMES)
def test_passes_the_checks_made_before_sampling(name):
    testbed = build(name)
    validate(testbed.task, testbed.model, testbed.data)
    posterior = LocalPosterior(
        testbed.model, testbed.task, testbed.data, nbeta=10.0, localization=1.0
    )
    assert set(posterior.selection()) == {n for n, _ in testbed.model.named_parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_chains_side_by_side_equal_chains_one_by_one(name):
    """Losses and gradients through vmap against plain autograd with the weights in the model."""
    testbed, chains = build(name), 3
    weights = moved(testbed, chains)
    batch = testbed.data.batch(torch.tensor([0, 3, 5]))

    def losses(params):
        class Called(torch.nn.Module):
            def forward(self, *args, **kwargs):
                return functional_call(testbed.model, params, args, kwargs)

        return as_losses(testbed.task(Called(), batch)).values

    leaves = {n: w.clone().requires_grad_() for n, w in weights.items()}
    side_by_side = vmap(losses)(leaves)
    gradients = torch.autograd.grad(side_by_side.sum(), list(leaves.values()))
    for chain in range(chains):
        with torch.no_grad():
            for n, p in testbed.model.named_parameters():
                p.copy_(weights[n][chain])
        alone = as_losses(testbed.task(testbed.model, batch)).values
        torch.testing.assert_close(side_by_side[chain], alone, rtol=1e-10, atol=1e-12)
        expected = torch.autograd.grad(alone.sum(), list(testbed.model.parameters()))
        for g, e in zip(gradients, expected, strict=True):
            torch.testing.assert_close(g[chain], e, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_leaves_the_global_random_state_alone_and_replays(name):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, second = build(name), build(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.data.fingerprint() == second.data.fingerprint()
    for p, q in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(p, q)
        assert p.grad is None


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_the_same_testbed_rounded(name):
    exact, rounded = build(name), build(name, torch.float32)
    everything = torch.arange(len(exact.data))
    fine, coarse = (
        as_losses(t.task(t.model, t.data.batch(everything))).values for t in (exact, rounded)
    )
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse.double(), fine, rtol=1e-3, atol=1e-3)
    for p, q in zip(exact.model.parameters(), rounded.model.parameters(), strict=True):
        torch.testing.assert_close(q.double(), p, rtol=1e-3, atol=1e-3)
    assert exact.llc == rounded.llc
