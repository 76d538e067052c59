import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate

from creode.tasks import as_losses
from creode.testbeds import Superposition, superposition
from creode.testbeds.superposition import SuperpositionModel, expected_loss


def total(testbed: Superposition) -> torch.Tensor:
    losses = testbed.task(testbed.model, testbed.data.batch(torch.arange(len(testbed.data))))
    return as_losses(losses).values.mean()


def gradient(testbed: Superposition) -> torch.Tensor:
    parts = torch.autograd.grad(total(testbed), list(testbed.model.parameters()))
    return torch.cat([part.flatten() for part in parts])


def weights(testbed: Superposition) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in testbed.model.parameters()])


def move(testbed: Superposition, to: torch.Tensor) -> None:
    with torch.no_grad():
        n = testbed.model.bias.numel()
        testbed.model.weight.copy_(to[: 2 * n].view(2, n))
        testbed.model.bias.copy_(to[2 * n :])


def by_quadrature(weight: np.ndarray, bias: np.ndarray, feature: int) -> float:
    """E_t ½‖t e_i − ReLU(WᵀW t e_i + b)‖², one output at a time, split at its kink."""
    value = 0.0
    for j in range(len(bias)):
        a, b = weight[:, j] @ weight[:, feature], bias[j]

        def square(t: float, a: float = a, b: float = b, j: int = j) -> float:
            return (t * (j == feature) - max(a * t + b, 0.0)) ** 2 / 2

        kink = -b / a if a else -1.0
        cuts = [0.0, kink, 1.0] if 0 < kink < 1 else [0.0, 1.0]
        value += sum(integrate.quad(square, *pair)[0] for pair in pairwise(cuts))
    return value


def test_expected_loss_is_the_integral_over_the_magnitude():
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(2, 5)), rng.normal(size=5)
    weight[:, 3] = 0.0  # a slope of exactly zero, with a bias above and one below
    bias[1], bias[2], bias[3] = 0.0, -0.2, 0.4
    model = SuperpositionModel(torch.from_numpy(weight), torch.from_numpy(bias))
    losses = expected_loss(model, {"inputs": torch.eye(5, dtype=torch.float64)})
    exact = [by_quadrature(weight, bias, feature) for feature in range(5)]
    np.testing.assert_allclose(losses.detach(), exact, rtol=1e-10)


@pytest.mark.parametrize("unused", ["inactive", "active"])
@pytest.mark.parametrize(("corners", "features"), [(2, 6), (3, 6), (4, 6), (5, 6), (6, 6), (7, 8)])
def test_regular_polygons_are_critical(corners, features, unused):
    testbed = superposition(corners, num_features=features, unused=unused)
    assert float(gradient(testbed).abs().max()) < 1e-14
    columns = testbed.model.weight.detach()
    lengths = columns.norm(dim=0)
    torch.testing.assert_close(
        lengths[:corners], torch.full_like(lengths[:corners], testbed.radius)
    )
    assert lengths[corners:].tolist() == [0.0] * (features - corners)
    turn = 2 * math.pi / corners
    rotation = torch.tensor(
        [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]], dtype=torch.float64
    )
    torch.testing.assert_close(rotation @ columns[:, :corners], columns[:, :corners].roll(-1, 1))
    assert float(total(testbed).detach()) == pytest.approx(testbed.init_loss, rel=1e-12)


@pytest.mark.parametrize(
    ("corners", "unused", "llc"),
    [(5, "inactive", 7.0), (5, "active", 8.5), (6, "inactive", 8.5)],
)
def test_llc_is_half_the_number_of_curved_directions(corners, unused, llc):
    """The loss is constant on a manifold of `flat` dimensions and rises in all others."""
    testbed = superposition(corners, unused=unused)
    assert testbed.llc == llc == (18 - testbed.flat) / 2
    assert testbed.multiplicity == 1
    assert int((testbed.spectrum > 1e-3).sum()) == 18 - testbed.flat
    at = weights(testbed)
    angle = 0.9
    turned = at.clone()
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]],
        dtype=torch.float64,
    )
    turned[:12] = (turn @ at[:12].view(2, 6)).flatten()
    move(testbed, turned)
    assert float(total(testbed).detach()) == pytest.approx(testbed.init_loss, rel=1e-12)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        step = torch.randn(18, generator=generator, dtype=torch.float64)
        move(testbed, at + 0.02 * step)
        assert float(total(testbed).detach()) > testbed.init_loss
    if testbed.flat > 1:  # the dead output: its column and its bias
        dead = [5, 11, 17]
        for _ in range(20):
            step = torch.zeros(18, dtype=torch.float64)
            step[dead] = 0.2 * torch.rand(3, generator=generator, dtype=torch.float64) - 0.1
            move(testbed, at + step)
            assert float(total(testbed).detach()) == pytest.approx(testbed.init_loss, rel=1e-12)


@pytest.mark.parametrize("corners", [5, 6])
def test_spectrum_is_that_of_many_inputs_and_the_kinks_between_them(corners):
    """A sum over inputs has no curvature where an output switches on; the integral over t does.

    Where u = at + b crosses zero at t*, the slope of the ReLU jumps, and ½(t − ReLU(u))² adds
    −t*/a ∇u ∇uᵀ, with ∇u = 2t* w in the feature's own column and 1 in its bias.
    """
    testbed = superposition(corners, num_samples=6 * 4000)
    inputs = testbed.data.columns["inputs"]

    def loss(vector: torch.Tensor) -> torch.Tensor:
        weight, bias = vector[:12].view(2, 6), vector[12:]
        return (inputs - (inputs @ weight.T @ weight + bias).relu()).square().sum(1).mean() / 2

    matrix = torch.autograd.functional.hessian(loss, weights(testbed))
    for i in range(corners):
        a = testbed.radius**2
        switch = -testbed.bias / a
        slope = torch.zeros(18, dtype=torch.float64)
        slope[[i, 6 + i]] = 2 * switch * testbed.model.weight.detach()[:, i]
        slope[12 + i] = 1.0
        matrix -= switch / a * torch.outer(slope, slope) / 6
    torch.testing.assert_close(torch.linalg.eigvalsh(matrix), testbed.spectrum, rtol=0, atol=1e-4)


@pytest.mark.parametrize("corners", [2, 3, 4])
def test_no_llc_is_claimed_on_a_kink(corners):
    testbed = superposition(corners)
    assert (testbed.radius, testbed.bias) == (1.0, 0.0)
    assert testbed.llc is None
    assert testbed.multiplicity is None


def test_sampled_loss_tends_to_the_expected_one():
    exact = superposition(6).init_loss
    errors = [
        abs(float(total(superposition(6, num_samples=6 * m)).detach()) - exact) for m in (20, 80)
    ]
    assert errors[0] < 1e-3
    assert errors[1] < errors[0] / 8  # second order: 16


def test_samples_are_one_active_feature_each_in_equal_numbers():
    inputs = superposition(5, num_samples=18).data.columns["inputs"]
    assert (inputs > 0).sum(1).tolist() == [1] * 18
    assert (inputs > 0).sum(0).tolist() == [3] * 6
    torch.testing.assert_close(
        inputs[:, 2].unique()[1:], torch.tensor([1, 3, 5], dtype=torch.float64) / 6
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"corners": 1}, r"in 2\.\.num_features=6, got 1"),
        ({"corners": 7}, r"in 2\.\.num_features=6, got 7"),
        ({"corners": 5, "unused": "dead"}, "got 'dead'"),
        ({"corners": 5, "num_samples": 10}, "multiple of 6, got 10"),
    ],
)
def test_refuses_what_is_no_polygon(arguments, message):
    with pytest.raises(ValueError, match=message):
        superposition(**arguments)
