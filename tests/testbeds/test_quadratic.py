import numpy as np
import pytest
import torch
from torch.func import functional_call, hessian, jacrev

import oracles
from creode.testbeds import Quadratic, quadratic

ROTATED = torch.tensor([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]], dtype=torch.float64)


def noisy(h: torch.Tensor = ROTATED, num_samples: int = 9) -> Quadratic:
    return quadratic(
        h,
        num_samples=num_samples,
        offset_scale=2.0,
        gradient_scale=1.3,
        curvature_scale=0.4,
        blocks={"first": (1,), "rest": (2, 1)},
        seed=3,
    )


def losses_at(testbed: Quadratic, delta: torch.Tensor) -> torch.Tensor:
    """The losses (N,) at w* + delta, through the model and the task."""
    params, start = {}, 0
    for name, p in testbed.model.named_parameters():
        params[name] = p.detach() + delta[start : start + p.numel()].view(p.shape)
        start += p.numel()
    batch = testbed.data.batch(torch.arange(len(testbed.data)))

    class Called(torch.nn.Module):
        def forward(self, *args):
            return functional_call(testbed.model, params, args)

    return testbed.task(Called(), batch)


def test_derivatives_at_the_anchor_are_the_stated_ones():
    testbed = noisy()
    zero = torch.zeros(3, dtype=torch.float64)
    first = jacrev(lambda x: losses_at(testbed, x))(zero)
    second = hessian(lambda x: losses_at(testbed, x))(zero)
    torch.testing.assert_close(losses_at(testbed, zero), testbed.offsets)
    torch.testing.assert_close(first, testbed.gradients)
    torch.testing.assert_close(second, testbed.curvatures)
    torch.testing.assert_close(first.mean(0), zero)
    torch.testing.assert_close(second.mean(0), testbed.hessian)
    torch.testing.assert_close(testbed.hessian, ROTATED)
    assert testbed.gradients.abs().min(0).values.min() > 0
    assert (testbed.curvatures - ROTATED).abs().amax(0).min() > 0.01


def test_losses_far_from_the_anchor_are_quadratic():
    testbed = noisy()
    delta = torch.tensor([3.0, -1.0, 2.0], dtype=torch.float64)
    a = testbed.curvatures.numpy()
    expected = [
        c + g @ delta.numpy() + delta.numpy() @ h @ delta.numpy() / 2
        for c, g, h in zip(testbed.offsets.numpy(), testbed.gradients.numpy(), a, strict=True)
    ]
    np.testing.assert_allclose(losses_at(testbed, delta).detach(), expected, rtol=1e-12)


def test_anchor_is_away_from_the_origin_in_named_blocks():
    testbed = noisy()
    shapes = {name: tuple(p.shape) for name, p in testbed.model.named_parameters()}
    assert shapes == {"first": (1,), "rest": (2, 1)}
    assert all(bool((p != 0).all()) for p in testbed.model.parameters())
    default = quadratic([1.0, 2.0, 3.0]).model
    assert {n: tuple(p.shape) for n, p in default.named_parameters()} == {
        "left": (1,),
        "right": (2,),
    }


def test_llc_is_half_the_rank_and_the_limit_of_the_exact_posterior():
    angle = torch.tensor(0.7, dtype=torch.float64)
    turn = torch.stack([angle.cos(), angle.sin()])
    testbed = quadratic(5 * torch.outer(turn, turn))
    assert testbed.llc == 0.5
    assert testbed.multiplicity == 1
    eigenvalues = torch.linalg.eigvalsh(testbed.hessian)
    assert oracles.llc_quadratic(eigenvalues, 1e8, 1.0) == pytest.approx(testbed.llc, rel=1e-6)


def test_a_flat_direction_is_flat_for_every_sample():
    testbed = noisy(torch.diag(torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)))
    delta = torch.tensor([0.0, 10.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(losses_at(testbed, delta), testbed.offsets)


def test_at_gradient_scale_one_the_gradients_covariance_is_the_hessian():
    testbed = quadratic(ROTATED, num_samples=40_000, gradient_scale=1.0)
    covariance = testbed.gradients.T @ testbed.gradients / 40_000
    # the standard error of an entry is at most √(2/N) max H = 0.014
    torch.testing.assert_close(covariance, ROTATED, rtol=0, atol=0.06)


def test_one_sample_is_the_exact_loss():
    testbed = quadratic(ROTATED)
    delta = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    expected = delta @ ROTATED @ delta / 2
    torch.testing.assert_close(losses_at(testbed, delta), expected[None])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hessian": torch.ones(2, 3)}, r"shape \(2, 3\) is not symmetric"),
        ({"hessian": torch.tensor([[1.0, 2.0], [0.0, 1.0]])}, "is not symmetric"),
        ({"hessian": [1.0, -0.5]}, r"eigenvalue -0\.5"),
        ({"hessian": [1.0], "gradient_scale": 1.0}, "num_samples=1"),
        ({"hessian": [1.0], "num_samples": 3, "offset_scale": -1.0}, "scales are ≥ 0"),
        ({"hessian": [1.0, 2.0], "blocks": {"only": (3,)}}, "blocks hold 3 weights"),
    ],
)
def test_refuses_what_is_no_quadratic_minimum(arguments, message):
    with pytest.raises(ValueError, match=message):
        quadratic(**arguments)
