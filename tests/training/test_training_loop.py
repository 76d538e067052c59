"""The trainer against gradient descent by hand, and what its weights mean."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from creode.tasks import Losses
from creode.training import TrainingConfig, train
from creode.training.loop import weighted_loss
from creode.training.order import BatchOrder

N, D = 12, 3


def squares(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return ((model(batch["inputs"])[:, 0] - batch["targets"]) ** 2) / 2


def regression() -> tuple[nn.Module, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=generator, dtype=torch.float64)
    y = torch.randn(N, generator=generator, dtype=torch.float64)
    model = nn.Linear(D, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.3, -0.2, 0.5]]))
    return model, {"inputs": x, "targets": y}


def sgd(**options: object) -> TrainingConfig:
    base = {"steps": 1, "batch_size": N, "learning_rate": 0.5, "optimizer": "SGD"}
    return TrainingConfig(**(base | options))


def test_training_is_gradient_descent_by_hand() -> None:
    model, data = regression()
    x, y = data["inputs"].numpy(), data["targets"].numpy()
    config = sgd(
        steps=9, batch_size=5, schedule="cosine", warmup_steps=3, clip_norm=1.0, seed=3,
        optimizer_options={"momentum": 0.9},
    )  # fmt: skip
    order = BatchOrder(num_samples=N, batch_size=5, seed=3)
    w, velocity, losses, clipped = model.weight.detach().numpy()[0].copy(), np.zeros(D), [], []
    for step in range(9):
        i = order(step).numpy()
        residual = x[i] @ w - y[i]
        losses.append((residual**2).mean() / 2)
        gradient = x[i].T @ residual / 5
        norm = np.linalg.norm(gradient)
        clipped.append(norm > 1.0)
        gradient = gradient * min(1.0, 1.0 / (norm + 1e-6))  # torch's guard against 0
        velocity = 0.9 * velocity + gradient
        w = w - config.learning_rate_at(step) * velocity
    result = train(model, squares, data, config)
    assert any(clipped)
    assert not all(clipped)
    np.testing.assert_allclose(result.model.weight.detach().numpy()[0], w, rtol=1e-12)
    np.testing.assert_allclose(result.losses.numpy(), losses, rtol=1e-12)


def test_integer_weights_are_repeated_samples() -> None:
    model, data = regression()
    rho = torch.tensor([0, 1, 2, 3] * 3)
    weighted = train(model, squares, data, sgd(), weights=rho)
    index = torch.arange(N).repeat_interleave(rho)
    repeated = {name: column[index] for name, column in data.items()}
    twice = train(model, squares, repeated, sgd(batch_size=len(index)))
    torch.testing.assert_close(weighted.model.weight, twice.model.weight, rtol=1e-13, atol=0)
    torch.testing.assert_close(weighted.losses, twice.losses, rtol=1e-13, atol=0)
    unweighted = train(model, squares, data, sgd())
    assert (weighted.model.weight - unweighted.model.weight).abs().max() > 1e-2


def test_only_the_ratios_of_weights_matter() -> None:
    model, data = regression()
    rho = torch.linspace(0.1, 2.0, N)
    one, ten = (
        train(model, squares, data, sgd(batch_size=5, steps=4), weights=k * rho) for k in (1, 8)
    )
    torch.testing.assert_close(one.model.weight, ten.model.weight, rtol=1e-13, atol=0)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_weighted_batches_of_an_epoch_add_up_to_the_data(size: int) -> None:
    values = torch.rand(N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rho = torch.linspace(0.0, 3.0, N, dtype=torch.float64)
    rho /= rho.mean()
    order = BatchOrder(num_samples=N, batch_size=size, seed=0)
    batches = [order(step) for step in range(N // size)]
    mean = torch.stack(
        [weighted_loss(Losses(values[i], torch.ones(size).bool()), rho[i]) for i in batches]
    ).mean()
    torch.testing.assert_close(mean, (rho * values).sum() / rho.sum(), rtol=1e-13, atol=0)


def test_tokens_that_do_not_count_are_left_out() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]]).bool()
    values = torch.tensor([[1.0, 2.0, 3.0], [10.0, 0.0, 0.0]])
    assert weighted_loss(Losses(values, mask)) == 4.0
    assert weighted_loss(Losses(values, mask), torch.tensor([0.5, 1.5])) == 4.5  # (3 + 15) / 4


class Noisy(nn.Module):
    """A network with dropout, a buffer that moves and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.first = nn.Linear(D, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(8, 1)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=generator) / 3)
        self.first.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.drop(torch.tanh(self.norm(self.first(x)))))
        return out


def floats() -> dict[str, Tensor]:
    return {name: column.float() for name, column in regression()[1].items()}


ADAM = {"steps": 12, "batch_size": 5, "learning_rate": 0.01}


def test_the_same_seed_gives_the_same_bits_and_leaves_everything_as_it_was() -> None:
    model = Noisy().eval()
    original, data = copy.deepcopy(model.state_dict()), floats()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = train(model, squares, data, TrainingConfig(**ADAM))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)  # the global state must not matter
    again = train(model, squares, data, TrainingConfig(**ADAM))
    other = train(model, squares, data, TrainingConfig(**ADAM, seed=1))
    assert torch.equal(first.losses, again.losses)
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert not torch.equal(first.losses, other.losses)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, original[name]), name
    trained = first.model.state_dict()
    assert torch.equal(trained["first.bias"], original["first.bias"])  # needs no gradient
    assert not torch.equal(trained["norm.running_mean"], original["norm.running_mean"])
    assert not first.model.training


def test_dropout_draws_anew_at_each_step() -> None:
    model = nn.Sequential(nn.Linear(D, 1, bias=False), nn.Dropout(0.5)).double()
    tiny = TrainingConfig(steps=20, batch_size=N, learning_rate=1e-12, optimizer="SGD")
    losses = train(model, squares, regression()[1], tiny).losses
    assert len({round(x, 6) for x in losses.tolist()}) == 20


def test_progress_is_told_after_each_step() -> None:
    model, data = regression()
    told: list[tuple[int, int, float]] = []
    result = train(
        model, squares, data, sgd(steps=3, batch_size=4), on_step=lambda *step: told.append(step)
    )
    assert told == [(s + 1, 3, loss) for s, loss in enumerate(result.losses.tolist())]


def test_a_loss_that_is_not_finite_stops_at_its_step() -> None:
    model, data = regression()
    data["inputs"][7] = math.inf
    order = BatchOrder(num_samples=N, batch_size=1, seed=0)
    step = next(s for s in range(N) if int(order(s)) == 7)
    assert step > 0
    with pytest.raises(FloatingPointError, match=rf"the loss is (inf|nan) at step {step} of 50"):
        train(model, squares, data, sgd(steps=50, batch_size=1, learning_rate=1e-3))


def test_weights_that_are_not_finite_after_the_last_step_are_found() -> None:
    model, data = regression()

    def root(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return (model(batch["inputs"])[:, 0] * 0).sqrt()  # finite, its gradient is not

    with pytest.raises(FloatingPointError, match="a weight is not finite after 1 of 1 steps"):
        train(model, root, data, sgd())


def masked_out(model: nn.Module, batch: dict[str, Tensor]) -> Losses:
    loss = squares(model, batch)
    return Losses(loss * 0, torch.zeros_like(loss).bool())


@pytest.mark.parametrize(
    ("task", "weights", "config", "message"),
    [
        (squares, None, sgd(batch_size=13), "batch_size 13 is above the 12 samples"),
        (squares, torch.ones(5), sgd(), r"weights have shape \(5,\); one a sample, \(12,\)"),
        (squares, -torch.eye(N)[2], sgd(), "1 are not, the first is -1.0 at sample 2"),
        (squares, torch.zeros(N), sgd(), "weights are all zero"),
        (lambda m, b: squares(m, b)[:4], None, sgd(), "losses of 4 samples for a batch of 12"),
        (masked_out, None, sgd(), "no unit of the batch of step 0 counts"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(task, weights, config, message: str) -> None:
    model, data = regression()
    with pytest.raises((ValueError, FloatingPointError), match=message):
        train(model, task, data, config, weights=weights)


def test_a_model_with_nothing_to_train_is_refused() -> None:
    model, data = regression()
    with pytest.raises(ValueError, match="nothing to train"):
        train(model.requires_grad_(False), squares, data, sgd())
