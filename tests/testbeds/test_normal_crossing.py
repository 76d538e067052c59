import math

import pytest
import torch

import oracles
from creode.testbeds import NormalCrossing, normal_crossing


def losses_at(testbed: NormalCrossing, delta: list[float]) -> torch.Tensor:
    """The losses (N,) at w* + delta; leaves the weights there."""
    with torch.no_grad():
        shift = torch.tensor(delta, dtype=torch.float64)
        testbed.model.weight.copy_(testbed.model.center + shift)
    return testbed.task(testbed.model, testbed.data.batch(torch.arange(len(testbed.data))))


def test_loss_is_the_monomial():
    testbed = normal_crossing([1, 3, 0])
    (loss,) = losses_at(testbed, [0.5, -1.5, 9.0]).tolist()
    assert loss == pytest.approx(0.5**2 * 1.5**6, rel=1e-12)


def test_noise_over_samples_leaves_the_mean_loss_exact():
    testbed = normal_crossing([1, 2], num_samples=7, amplitude_scale=0.6, gradient_scale=2.0)
    losses = losses_at(testbed, [0.5, -1.5])
    assert float(losses.mean().detach()) == pytest.approx(0.5**2 * 1.5**4, rel=1e-12)
    torch.testing.assert_close(
        testbed.data.columns["amplitudes"].sort().values,
        torch.linspace(0.4, 1.6, 7, dtype=torch.float64),
    )
    gradients = testbed.data.columns["gradients"]
    assert gradients.std() > 0.5
    at_anchor = losses_at(testbed, [0.0, 0.0])
    assert at_anchor.tolist() == [0.0] * 7
    (slope,) = torch.autograd.grad(at_anchor[2], testbed.model.weight)
    torch.testing.assert_close(slope, gradients[2])


def test_anchor_is_away_from_the_origin():
    assert bool((normal_crossing([1, 1, 1]).model.weight != 0).all())


@pytest.mark.parametrize("exponents", [[1], [3], [1, 1], [2, 1], [1, 3], [2, 2]])
def test_truth_is_the_limit_of_the_exact_posterior(exponents):
    """E[nβL] = λ − (m − 1)/log nβ + …, from quadrature; the slope in 1/log nβ gives m."""
    testbed = normal_crossing(exponents)
    low, high = 1e18, 1e26
    near, far = (
        oracles.normal_crossing_moments(exponents, nbeta, 1.0).mean for nbeta in (low, high)
    )
    x, y = 1 / math.log(low), 1 / math.log(high)
    slope = (near - far) / (x - y)
    assert far - slope * y == pytest.approx(testbed.llc, abs=0.004)
    assert 1 - slope == pytest.approx(testbed.multiplicity, abs=0.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exponents": []}, "exponents must be"),
        ({"exponents": [0, 0]}, r"at least one above 0, got \(0, 0\)"),
        ({"exponents": [1], "num_samples": 2, "amplitude_scale": 1.0}, r"in \[0, 1\)"),
        ({"exponents": [1], "gradient_scale": 1.0}, "num_samples=1"),
    ],
)
def test_refuses_what_has_no_such_minimum(arguments, message):
    with pytest.raises(ValueError, match=message):
        normal_crossing(**arguments)
