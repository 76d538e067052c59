"""The checks any task must pass before sampling, each against a task or a model that breaks it."""

import pytest
import torch
from torch import nn

from creode.data import as_samples
from creode.tasks import Losses, Regression, as_losses, validate

NOISE = torch.Generator().manual_seed(0)
X, Y = torch.randn(6, 4, generator=NOISE), torch.randn(6, 1, generator=NOISE)
SAMPLES = as_samples((X, Y))


@pytest.fixture(autouse=True)
def seeded():
    """Weights drawn anew at each run come, now and then, so small that no check can tell."""
    torch.manual_seed(0)


def squares(model, batch):
    return (model(batch["inputs"]) - batch["targets"]).square().sum(1)


def test_a_callable_that_returns_one_loss_per_sample_passes():
    validate(squares, nn.Linear(4, 1), SAMPLES)
    validate(squares, nn.Linear(4, 1), SAMPLES.select(torch.arange(1)))


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (lambda m, b: squares(m, b).mean(), ValueError, r"shape \(\); one loss per sample"),
        (lambda m, b: squares(m, b)[:1], ValueError, r"shape \(1,\) for 2 samples"),
        (lambda m, b: squares(m, b).long(), ValueError, "dtype torch.int64; floats are needed"),
        (lambda m, b: "loss", TypeError, "returned str"),
        (lambda m, b: squares(m, b) / 0, ValueError, r"loss of unit \[0\] .* is inf"),
        (lambda m, b: squares(m, b).detach(), ValueError, "no gradient flows"),
        (lambda m, b: squares(m, b) - squares(m, b).mean(), ValueError, "depends on the other"),
        (lambda m, b: squares(m, b) + torch.rand(()), ValueError, "two calls .* differ"),
        (lambda m, b: squares(m, b)[b["missing"]], ValueError, r"KeyError: 'missing'.*\(2, 4\)"),
        (
            lambda m, b: Losses(0 * squares(m, b), torch.zeros(2, dtype=torch.bool)),
            ValueError,
            "counts no unit of the first 2",
        ),
        (
            lambda m, b: Losses(squares(m, b), torch.tensor([True, False])),
            ValueError,
            "other than zero where its mask is False",
        ),
        (
            lambda m, b: (squares(m, b), torch.ones(3, dtype=torch.bool)),
            ValueError,
            r"shape \(2,\) with a mask of shape \(3,\)",
        ),
    ],
)  # fmt: skip
def test_tasks_that_break_a_rule_are_refused(task, error, message):
    with pytest.raises(error, match=message):
        validate(task, nn.Linear(4, 1), SAMPLES)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Dropout(0.5), r"0 \(Dropout\) is in training mode.*model.eval\(\)"),
        (
            nn.BatchNorm1d(4),
            r"0 \(BatchNorm1d\) is in training mode.*buffers changed: 0.running_mean",
        ),
        (nn.BatchNorm1d(4, track_running_stats=False), "depends on the other samples of its batch"),
    ],
)
def test_layers_that_change_the_loss_between_calls_are_named(layer, message):
    model = nn.Sequential(layer, nn.Linear(4, 1))
    with pytest.raises(ValueError, match=message):
        validate(Regression(), model, SAMPLES)


def test_the_same_layers_pass_in_evaluation_mode():
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 1)).eval()
    validate(Regression(), model, SAMPLES)
    validate(Regression(), nn.Sequential(nn.Dropout(0.0), nn.Linear(4, 1)).train(), SAMPLES)


def test_model_and_random_state_are_left_as_they_came():
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="training mode"):
        validate(Regression(), model, SAMPLES)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())


def test_a_frozen_model_needs_no_gradient():
    model = nn.Linear(4, 1).requires_grad_(False)
    validate(squares, model, SAMPLES)


def test_totals_and_counts_of_a_sample_are_those_of_its_counted_units():
    values = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 0.5]])
    mask = torch.tensor([[True, False, True], [False, False, True]])
    losses = as_losses((values, mask))
    assert losses.total.tolist() == [3.0, 0.5]
    assert losses.count.tolist() == [2.0, 1.0]
    bare = as_losses(values[:, 2])
    assert bare.total.tolist() == [2.0, 0.5]
    assert bare.count.tolist() == [1.0, 1.0]
