"""Regression against torch's Gaussian density."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.func import functional_call, vmap

from creode.data import Samples, as_samples
from creode.tasks import Regression, validate

B, D = 5, 4
NOISE = torch.Generator().manual_seed(0)
X = torch.randn(B, D, generator=NOISE)


def linear(outputs):
    torch.manual_seed(0)
    return nn.Linear(D, outputs)


@pytest.mark.parametrize("variance", [1.0, 0.125])
@pytest.mark.parametrize("outputs", [1, 3])
def test_losses_are_the_gaussian_density_without_its_constant(variance, outputs):
    model, y = linear(outputs), torch.randn(B, outputs, generator=NOISE)
    losses = Regression(variance=variance)(model, {"inputs": X, "targets": y})
    density = Normal(model(X), math.sqrt(variance)).log_prob(y).sum(1)
    constant = outputs / 2 * math.log(2 * math.pi * variance)
    assert torch.allclose(losses.values, -density - constant, atol=1e-5)
    assert losses.mask.all()


def test_the_norm_is_over_everything_but_the_batch():
    x, y = torch.randn(B, 6, D, generator=NOISE), torch.randn(B, 6, 2, generator=NOISE)
    model = linear(2)
    values = Regression()(model, {"inputs": x, "targets": y}).values
    wanted = [0.5 * sum((y[b] - model(x[b])).flatten() ** 2) for b in range(B)]
    assert torch.allclose(values, torch.stack(wanted), atol=1e-5)


def test_vmap_over_weights_equals_a_loop():
    model, y = linear(2), torch.randn(B, 2, generator=NOISE)
    weights = {k: torch.stack([p.detach(), 2 * p.detach()]) for k, p in model.named_parameters()}

    def losses(params):
        class Called(nn.Module):
            def forward(self, x):
                return functional_call(model, params, (x,))

        return Regression(variance=0.5)(Called(), {"inputs": X, "targets": y}).values

    together = vmap(losses)(weights)
    for c in range(2):
        assert torch.allclose(together[c], losses({k: w[c] for k, w in weights.items()}))


def test_targets_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"prediction has shape \(2, 1\) and the targets \(2,\)"):
        validate(Regression(), linear(1), as_samples((X, X[:, 0])))


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan, math.inf])
def test_a_variance_that_is_none_is_refused(variance):
    with pytest.raises(ValueError, match="variance must be a finite number > 0"):
        Regression(variance=variance)


def test_samples_that_cannot_be_scored_are_refused():
    with pytest.raises(
        ValueError, match=r"needs a column 'targets'; the samples have \['inputs'\]"
    ):
        validate(Regression(), linear(1), Samples(columns={"inputs": X}))
    y = torch.zeros(B, 1)
    y[3] = math.nan
    with pytest.raises(ValueError, match="target of sample 3 is not finite"):
        validate(Regression(), linear(1), as_samples((X, y)))
    with pytest.raises(
        ValueError, match=r"inputs \(2, 4\) torch.float64.*weights are torch.float32"
    ):
        validate(Regression(), linear(1), as_samples((X.double(), torch.zeros(B, 1))))
