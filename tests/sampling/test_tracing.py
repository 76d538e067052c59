"""Traced functions compute what the originals do, without the operations that change nothing."""

import pytest
import torch
from torch import nn

from creode.sampling.tracing import TracingError, operations, trace


def inputs(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def traced_code(function, *shapes):
    """The traced function, checked on a third set of inputs, and the names of its operations."""
    run = trace(function, inputs(0, *shapes), inputs(1, *shapes))
    given = inputs(2, *shapes)
    for expected, got in zip(function(*given), run(*given), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    nodes = operations(function, inputs(0, *shapes)).graph.nodes
    return run, [str(node.target) for node in nodes if node.op == "call_function"]


def test_what_depends_on_shapes_alone_is_computed_once():
    def function(x):
        weights = torch.ones_like(x).bool().double() / x.new_full((3,), 2.0).sum()
        return ((x * weights).sum(0), weights)

    _, used = traced_code(function, (4, 3))
    assert used == ["aten.mul.Tensor", "aten.sum.dim_IntList"]


def test_a_constant_that_is_written_to_is_made_anew_in_every_call():
    def function(x):
        buffer = torch.zeros_like(x)
        buffer += x
        return (buffer * 1,)

    run, _ = traced_code(function, (4, 3))
    (given,) = inputs(3, (4, 3))
    for _ in range(2):
        assert torch.equal(run(given)[0], given)


def test_random_numbers_are_no_constants():
    def function(x):
        return (x + 1e-9 * torch.rand_like(x),)

    run = trace(function, *(inputs(seed, (4, 3)) for seed in (0, 1)))
    given = inputs(2, (4, 3))
    assert not torch.equal(run(*given)[0], run(*given)[0])


def test_the_transposed_gradient_of_a_product_is_not_copied():
    def function(weight, x):
        leaf = weight.detach().requires_grad_()
        with torch.enable_grad():
            out = torch.bmm(x, leaf.view(2, 5, 3).transpose(1, 2))
            (gradient,) = torch.autograd.grad(out.square().sum(), leaf)
        return (gradient,)

    _, used = traced_code(function, (2, 15), (2, 7, 3))
    assert used.count("aten.bmm.default") == 2
    assert "aten.clone.default" not in used


def test_a_product_that_is_also_used_as_it_is_stays():
    def function(a, b):
        product = torch.bmm(a, b)
        return product.transpose(1, 2).contiguous().sum(2), product

    traced_code(function, (2, 4, 3), (2, 3, 5))


def test_a_function_that_branches_on_values_is_refused():
    def function(x):
        return (x if float(x.sum()) > 0 else -x,)

    with pytest.raises((TracingError, RuntimeError)):
        trace(function, [torch.ones(3)], [-torch.ones(3)])


def test_a_network_keeps_its_gradient():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    names, shapes = zip(*((n, p.shape) for n, p in network.named_parameters()), strict=True)
    sizes = [shape.numel() for shape in shapes]

    def function(flat, x):
        leaf = flat.detach().requires_grad_()

        def one(row, batch):
            pieces = [p.view(s) for p, s in zip(row.split(sizes), shapes, strict=True)]
            weights = dict(zip(names, pieces, strict=True))
            return torch.func.functional_call(network, weights, (batch,)).square().sum()

        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(torch.vmap(one)(leaf, x).sum(), leaf)
        return (gradient,)

    traced_code(function, (4, sum(sizes)), (4, 10, 3))
