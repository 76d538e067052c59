import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd.functional import hessian
from torch.func import functional_call

import oracles
from creode.testbeds import DeepLinear, deep_linear, deep_linear_llc

SMALL_WIDTHS = st.lists(st.integers(1, 4), min_size=2, max_size=5)


@st.composite
def truths(draw):
    widths = draw(SMALL_WIDTHS)
    return tuple(widths), draw(st.integers(0, min(widths)))


@given(truths())
@settings(max_examples=80, deadline=None)
def test_llc_matches_all_subsets_and_the_codimension(truth):
    widths, rank = truth
    found = oracles.deep_linear_llc_by_subsets(widths, rank)
    assert set(found) == {deep_linear_llc(widths, rank)}
    assert deep_linear_llc(widths, rank)[0] == oracles.deep_linear_llc_by_orbits(widths, rank)


def test_llc_of_two_factors_is_reduced_rank_regression():
    for m, h, n in itertools.product(range(1, 8), repeat=3):
        for rank in range(min(m, h, n) + 1):
            expected = oracles.reduced_rank_llc(m, h, n, rank)
            assert deep_linear_llc((m, h, n), rank)[0] == expected


@given(truths(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_llc_does_not_depend_on_the_order_of_the_layers(truth, random):
    widths, rank = truth
    value = deep_linear_llc(widths, rank)
    hidden = list(widths[1:-1])
    random.shuffle(hidden)
    assert deep_linear_llc((widths[0], *hidden, widths[-1]), rank) == value
    assert deep_linear_llc(widths[::-1], rank) == value


@pytest.mark.parametrize(
    ("widths", "rank", "llc", "multiplicity"),
    [
        ((1, 1, 1), 0, 0.5, 2),  # a²b²: two factors cross
        ((1, 1, 1, 1, 1), 0, 0.5, 4),  # a²b²c²d²
        ((2, 1, 2), 0, 1.0, 2),  # |u|²|v|²: each factor has λ = 1
        ((2, 1, 3), 0, 1.0, 1),  # the smaller of 1 and 3/2
        ((1, 2, 1), 0, 0.5, 1),  # (u·v)²: a smooth quadric away from the origin
        ((2, 2, 2), 0, 1.5, 1),
        ((3, 3, 3), 0, 3.5, 2),
        ((4, 3), 2, 6.0, 1),  # linear regression is regular: d/2
        ((3, 2, 4), 2, 5.0, 1),  # full rank: the dimension of the rank-2 maps, halved
    ],
)
def test_llc_of_cases_worked_by_hand(widths, rank, llc, multiplicity):
    assert deep_linear_llc(widths, rank) == (llc, multiplicity)


def loss(testbed: DeepLinear, params: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
    model = testbed.model
    if params is not None:

        class Called(torch.nn.Module):
            def forward(self, inputs):
                return functional_call(testbed.model, params, (inputs,))

        model = Called()
    return testbed.task(model, testbed.data.batch(torch.arange(len(testbed.data)))).values.mean()


def factors(testbed: DeepLinear) -> list[torch.Tensor]:
    return [p.detach() for p in testbed.model.parameters()]


@pytest.mark.parametrize(("widths", "rank"), [((4, 3, 5), 2), ((3, 4, 2, 5), 1), ((2, 2, 2), 0)])
def test_anchor_is_the_deepest_point_of_the_fibre(widths, rank):
    testbed = deep_linear(widths, rank, num_samples=10, seed=2)
    product = torch.linalg.multi_dot(factors(testbed)[::-1])
    torch.testing.assert_close(product, testbed.true_map)
    for matrix in (*factors(testbed), product):
        assert int(torch.linalg.matrix_rank(matrix)) == rank
    values = torch.linalg.svdvals(product)[:rank]
    torch.testing.assert_close(values.flip(0), torch.linspace(1, 2, rank, dtype=torch.float64))


def test_factors_are_in_random_bases():
    first, second = (factors(deep_linear((3, 3, 3), 1, num_samples=3, seed=s)) for s in (0, 1))
    for matrix, other in zip(first, second, strict=True):
        assert matrix.abs().min() > 1e-3  # no axis is special
        assert (matrix - other).abs().max() > 0.1


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_anchor_is_a_minimum_and_the_loss_a_known_function_of_the_map(noise):
    root = torch.tensor([[1.0, 0.3, 0.0], [0.0, 0.8, -0.5], [0.2, 0.0, 1.5]], dtype=torch.float64)
    covariance = root @ root.T
    testbed = deep_linear(
        (3, 4, 3, 2), 1, num_samples=17, noise=noise, covariance=covariance, seed=5
    )
    inputs = testbed.data.columns["inputs"]
    torch.testing.assert_close(inputs.T @ inputs / 17, covariance)
    at_anchor = loss(testbed)
    gradients = torch.autograd.grad(at_anchor, list(testbed.model.parameters()))
    assert max(float(g.abs().max()) for g in gradients) < 1e-13
    assert (float(at_anchor.detach()) < 1e-25) == (noise == 0)

    generator = torch.Generator().manual_seed(1)
    for scale in (1e-2, 1.0):
        moved = {
            name: p.detach() + scale * torch.randn(p.shape, generator=generator, dtype=p.dtype)
            for name, p in testbed.model.named_parameters()
        }
        error = torch.linalg.multi_dot(list(moved.values())[::-1]) - testbed.true_map
        excess = torch.trace(error @ covariance @ error.T) / 2
        torch.testing.assert_close(loss(testbed, moved) - at_anchor, excess)
        assert excess > 0


def test_noise_has_the_stated_size():
    testbed = deep_linear((3, 2, 50), 1, num_samples=400, noise=0.7)
    expected = 0.7**2 * 50 / 2 * (1 - 3 / 400)  # what is orthogonal to three inputs
    relative_error = (2 / (50 * 397)) ** 0.5
    assert float(loss(testbed).detach()) == pytest.approx(expected, rel=4 * relative_error)


@pytest.mark.parametrize(
    ("widths", "rank"),
    [((3, 2, 4), 0), ((3, 2, 4), 1), ((3, 2, 4), 2), ((2, 3, 3, 2), 1), ((3, 2), 1)],
)
def test_hessian_has_the_stated_rank(widths, rank):
    testbed = deep_linear(widths, rank, num_samples=5, seed=1)
    params = {name: p.detach() for name, p in testbed.model.named_parameters()}
    sizes = [p.numel() for p in params.values()]

    def of_vector(vector: torch.Tensor) -> torch.Tensor:
        parts = zip(params.items(), vector.split(sizes), strict=True)
        return loss(testbed, {name: part.view(p.shape) for (name, p), part in parts})

    matrix = hessian(of_vector, torch.cat([p.flatten() for p in params.values()]))
    eigenvalues = torch.linalg.eigvalsh(matrix)
    assert eigenvalues.min() > -1e-12
    assert int((eigenvalues > 1e-9).sum()) == testbed.hessian_rank


def test_as_few_samples_as_inputs_are_enough():
    testbed = deep_linear((4, 2, 3), 1, num_samples=4)
    inputs = testbed.data.columns["inputs"]
    torch.testing.assert_close(inputs.T @ inputs / 4, torch.eye(4, dtype=torch.float64))
    assert testbed.llc == oracles.reduced_rank_llc(4, 2, 3, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": (3,), "rank": 1}, "at least two numbers"),
        ({"widths": (3, 0, 2), "rank": 0}, "at least two numbers"),
        ({"widths": (3, 2, 4), "rank": 3}, r"rank must be in 0\.\.2"),
        ({"widths": (12, 2), "rank": 1}, "give at least 12"),
        ({"widths": (10, 2), "rank": 1, "noise": 0.1}, "give at least 11"),
        ({"widths": (2, 2), "rank": 1, "covariance": torch.zeros(2, 2)}, r"shape \(2, 2\)"),
        ({"widths": (2, 2), "rank": 1, "covariance": torch.ones(2, 3)}, r"shape \(2, 3\) is not"),
    ],
)
def test_refuses_what_has_no_such_network(arguments, message):
    with pytest.raises(ValueError, match=message):
        deep_linear(**arguments, num_samples=10)
