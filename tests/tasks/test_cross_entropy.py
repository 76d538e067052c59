"""Cross-entropy against torch's, in values, gradients, memory, and under function transforms."""

import pytest
import torch
import torch.nn.functional as F

from creode.tasks import cross_entropy as module
from creode.tasks.cross_entropy import cross_entropy


def case(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(12, 7, generator=generator, dtype=torch.float64)
    targets = torch.randint(7, (12,), generator=generator)
    targets[[2, 5]] = -100
    weights = torch.randn(12, generator=generator, dtype=torch.float64)
    return logits.to(dtype), targets, weights.to(dtype)


def value_and_gradient(function, logits, targets, weights):
    leaf = logits.clone().requires_grad_()
    values = function(leaf, targets)
    (gradient,) = torch.autograd.grad((values * weights).sum(), leaf)
    return values.detach(), gradient


def torchs(logits, targets):
    return F.cross_entropy(logits, targets, reduction="none")


@pytest.fixture(params=["small", "large"])
def _size(request, monkeypatch):
    if request.param == "large":
        monkeypatch.setattr(module, "LARGE", 1)


@pytest.mark.usefixtures("_size")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_and_gradients_are_torchs(dtype):
    got = value_and_gradient(cross_entropy, *case(dtype))
    expected = value_and_gradient(torchs, *case(dtype))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)
        assert not one[2].any()  # an ignored unit


@pytest.mark.usefixtures("_size")
def test_logits_in_bfloat16_are_scored_in_float32():
    logits, targets, _ = case(torch.bfloat16)
    values = cross_entropy(logits.requires_grad_(), targets)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, torchs(logits.float(), targets))
    values.sum().backward()
    assert logits.grad.dtype == torch.bfloat16


@pytest.mark.usefixtures("_size")
def test_many_chains_side_by_side():
    logits, targets, weights = case()
    stacked = torch.stack([logits, logits.flip(1), 2 * logits]).requires_grad_()
    values = torch.vmap(cross_entropy, in_dims=(0, None))(stacked, targets)
    (gradient,) = torch.autograd.grad((values * weights).sum(), stacked)
    for row, value, slope in zip(stacked.detach(), values.detach(), gradient, strict=True):
        expected = value_and_gradient(torchs, row, targets, weights)
        torch.testing.assert_close(value, expected[0])
        torch.testing.assert_close(slope, expected[1])


def test_the_gradient_of_large_logits_is_no_further_copy(monkeypatch):
    monkeypatch.setattr(module, "LARGE", 1)
    logits, targets, _ = case()
    values = cross_entropy(logits.requires_grad_(), targets)
    (log_probs, _) = values.grad_fn.saved_tensors
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    assert gradient.data_ptr() == log_probs.data_ptr()


def test_a_second_backward_pass_over_large_logits_is_an_error(monkeypatch):
    monkeypatch.setattr(module, "LARGE", 1)
    logits, targets, _ = case()
    total = cross_entropy(logits.requires_grad_(), targets).sum()
    torch.autograd.grad(total, logits, retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(total, logits)
