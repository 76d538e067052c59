"""Steps, schedules and what a configuration refuses."""

import json
import math
from dataclasses import asdict
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from creode.training import TrainingConfig, log_spaced_steps


def config(**options: object) -> TrainingConfig:
    return TrainingConfig(**({"steps": 10, "batch_size": 2, "learning_rate": 0.1} | options))


def test_log_spaced_steps_have_equal_ratios() -> None:
    assert log_spaced_steps(1000, 5) == [0, 1, 10, 100, 1000]
    assert log_spaced_steps(1000, 2) == [0, 1000]
    assert log_spaced_steps(3, 50) == [0, 1, 2, 3]


@given(st.integers(1, 10**6), st.integers(2, 300))
def test_log_spaced_steps_are_as_many_as_asked_from_end_to_end(total: int, count: int) -> None:
    steps = log_spaced_steps(total, count)
    assert len(steps) == min(count, total + 1)
    assert steps[0] == 0
    assert steps[-1] == total
    assert all(a < b for a, b in pairwise(steps))
    points = len(steps) - 2
    for i, step in enumerate(steps[1:]):
        exact = total ** (i / points) if points else total
        assert abs(step - exact) <= 0.5 or (step > exact and step == steps[i] + 1)


@pytest.mark.parametrize(("total", "count"), [(10, 1), (0, 5)])
def test_log_spaced_steps_need_a_start_and_an_end(total: int, count: int) -> None:
    with pytest.raises(ValueError, match=f"got count={count}, total={total}"):
        log_spaced_steps(total, count)


def test_learning_rates_are_the_closed_form() -> None:
    rates = [config(schedule="cosine", warmup_steps=4).learning_rate_at(s) for s in range(10)]
    decay = [0.05 * (1 + math.cos(math.pi * k / 6)) for k in range(6)]
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, *decay])
    rates = [config(schedule="linear", warmup_steps=5).learning_rate_at(s) for s in range(10)]
    assert rates == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.08, 0.06, 0.04, 0.02])
    assert {config().learning_rate_at(s) for s in range(10)} == {0.1}


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_learning_rates_are_those_of_torch(schedule: str) -> None:
    lr_scheduler = torch.optim.lr_scheduler
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = (
        lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
        if schedule == "cosine"
        else lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=10)
    )
    for step in range(10):
        ours = config(schedule=schedule).learning_rate_at(step)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_the_optimizer_is_torchs_with_its_options() -> None:
    made = config(
        optimizer="SGD", optimizer_options={"momentum": 0.9, "nesterov": True}
    ).build_optimizer([nn.Parameter(torch.zeros(2))])
    assert type(made) is torch.optim.SGD
    group = made.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"]) == (0.1, 0.9, True)


def test_a_config_read_back_from_json_is_the_same() -> None:
    made = config(checkpoints=(0, 3, 10), optimizer_options={"weight_decay": 0.1})
    assert TrainingConfig(**json.loads(json.dumps(asdict(made)))) == made


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be a whole number ≥ 1, got 0"),
        ({"batch_size": 1.5}, "batch_size must be a whole number ≥ 1, got 1.5"),
        ({"seed": -1}, "seed must be a whole number ≥ 0, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be finite and > 0, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be finite and > 0, got nan"),
        ({"clip_norm": 0.0}, "clip_norm must be > 0"),
        ({"schedule": "step"}, "schedule 'step' is not one of"),
        ({"warmup_steps": 10}, "warmup_steps 10 must be below steps 10"),
        ({"optimizer": "Adamm"}, "optimizer 'Adamm' is not"),
        ({"optimizer": "LBFGS"}, "optimizer 'LBFGS' is not"),
        ({"optimizer": "lr_scheduler"}, "optimizer 'lr_scheduler' is not"),
        ({"optimizer_options": {"beta": 1}}, "do not suit torch.optim.AdamW.*beta"),
        ({"optimizer_options": {"eps": -1.0}}, "do not suit torch.optim.AdamW.*epsilon"),
        ({"checkpoints": (0, 5, 5)}, r"checkpoints \[0, 5, 5\] must be ascending"),
        ({"checkpoints": (0, 11)}, "between 0 and 10"),
        ({"checkpoints": ()}, r"checkpoints \[\] must be"),
        ({"checkpoints": 1}, "at least 2 steps"),
        ({"device": "gpu"}, "device 'gpu' is none of torch's"),
    ],
)
def test_a_config_refuses_what_cannot_work(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**options)
