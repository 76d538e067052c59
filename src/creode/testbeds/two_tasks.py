"""Two parities in one network whose hidden units serve one task each, and are known to.

An input holds three bits for each task and a flag that asks for one of them; the answer is the
parity of the first two bits of the task asked for. One hidden layer. Each unit is planted for a
task: it starts as a quarter of that task's parity, ReLU(±x₁ ± x₂ − 2·[the other task is asked])/2,
with noise, and has no weight on the other task's bits while the network is trained. All see the
flag, and nothing keeps weights at zero when the network is sampled.
From a random start many units would die or find nothing to do: what they serve were not known.

Here: the data, the network, which unit serves which task, the masks that name one unit's weights.
Not here: a closed form for λ (none is known); how the units are found again (response/).
Dimensions: N samples, U hidden units.
Source: the setting of two arithmetic tasks in one network, arXiv:2509.26537; parities are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from creode.data import Samples
from creode.tasks import Classification
from creode.testbeds.classifier import ReluClassifier
from creode.testbeds.testbed import Testbed, normal

BITS = 3  # of each task, of which the first two decide
FLAG = 2.0  # how loud the flag is beside bits of ±1
TASKS = ("first", "second")
START_NOISE = 0.1  # of the weights, beside ½ and 1
STEPS = 400  # of full-batch AdamW


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoTasks(Testbed):
    """A trained network of two tasks; the task asked for is the data's domain."""

    model: ReluClassifier
    serves: Tensor  # (U,) int64, the task each hidden unit was planted for
    accuracy: float  # share of the data classified rightly
    init_loss: float  # L(w*), nats per sample
    task_names: ClassVar[tuple[str, str]] = TASKS

    @property
    def asks(self) -> Tensor:
        """The task each sample asks for, (N,) int64."""
        assert self.data.domain is not None
        return self.data.domain

    def asking(self) -> dict[str, Samples]:
        """The data of each task by its name."""
        return {
            name: self.data.select((self.asks == task).nonzero()[:, 0])
            for task, name in enumerate(TASKS)
        }

    def unit(self, index: int) -> dict[str, Tensor]:
        """Masks of one hidden unit's weights: into it, its bias, out of it.

        Raises:
            ValueError: no such unit.
        """
        if not 0 <= index < len(self.serves):
            raise ValueError(f"unit {index} is not in 0..{len(self.serves) - 1}.")
        into, bias, out = (
            torch.zeros_like(self.model.get_parameter(name), dtype=torch.bool)
            for name in UNIT_PARAMETERS
        )
        into[index], bias[index], out[:, index] = True, True, True
        return dict(zip(UNIT_PARAMETERS, (into, bias, out), strict=True))


UNIT_PARAMETERS = ("layers.0.weight", "layers.0.bias", "layers.1.weight")


def two_tasks(*, copies: int = 2, num_samples: int = 128, seed: int = 0) -> TwoTasks:
    """Train the network; the same seed gives the same weights. Planted units lie in random order.

    Args:
        copies: of the four units that a parity takes; 4 · copies are planted for each task.
        num_samples: N, each with random bits and a random flag.
        seed: of the data, the order of units and the initial weights.

    Raises:
        ValueError: a count out of range.
        ArithmeticError: training ended with a wrong answer; choose another seed.
    """
    if copies < 1 or num_samples < 2:
        raise ValueError(f"needed: copies ≥ 1 and num_samples ≥ 2; got {copies} and {num_samples}.")
    generator = torch.Generator().manual_seed(seed)
    data = _questions(num_samples, generator)
    model, serves = _planted(copies, generator)
    inputs, targets = data.columns["inputs"], data.columns["targets"]
    _train(model, inputs, targets, _visible(serves))
    with torch.no_grad():
        logits = model(inputs)
    accuracy = float((logits.argmax(1) == targets).double().mean())
    if accuracy < 1:
        raise ArithmeticError(
            f"the network of seed {seed} answers {accuracy:.0%} of its data rightly after {STEPS} "
            "steps; choose another seed."
        )
    return TwoTasks(
        model=model,
        task=Classification(),
        data=data,
        llc=None,
        multiplicity=None,
        serves=serves,
        accuracy=accuracy,
        init_loss=float(nn.functional.cross_entropy(logits, targets)),
    )


def _questions(num_samples: int, generator: torch.Generator) -> Samples:
    """Random bits of both tasks (±1), the flag of one, and that task's answer."""
    bits = torch.randint(0, 2, (num_samples, 2 * BITS), generator=generator).float() * 2 - 1
    asks = torch.randint(0, 2, (num_samples,), generator=generator)
    parities = torch.stack([bits[:, :2].prod(1), bits[:, BITS : BITS + 2].prod(1)], 1)
    answers = (parities.gather(1, asks[:, None])[:, 0] > 0).long()
    flag = FLAG * nn.functional.one_hot(asks, 2).float()
    return Samples(
        columns={"inputs": torch.cat([bits, flag], 1), "targets": answers},
        source=f"two_tasks({num_samples})",
        domain=asks,
        domain_names=TASKS,
    )


def _planted(copies: int, generator: torch.Generator) -> tuple[ReluClassifier, Tensor]:
    """The network before training, its units in random order, and the task of each, (U,)."""
    signs = torch.cartesian_prod(torch.tensor([1.0, -1.0]), torch.tensor([1.0, -1.0]))
    serves = torch.arange(2).repeat_interleave(4 * copies)
    order = torch.randperm(len(serves), generator=generator)
    serves, signs = serves[order], signs.repeat(2 * copies, 1)[order]
    model = ReluClassifier((2 * BITS + 2, len(serves), 2), torch.float32)
    unit = torch.arange(len(serves))
    with torch.no_grad():
        for parameter in model.parameters():
            noise = normal(*parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.copy_(START_NOISE * noise)
        into, _, out, _ = model.parameters()
        into[unit[:, None], BITS * serves[:, None] + torch.arange(2)] += signs / 2
        into[unit, 2 * BITS + 1 - serves] -= 1 / FLAG
        out[(signs.prod(1) > 0).long(), unit] += 1  # the answer that the unit speaks for
    return model, serves


def _visible(serves: Tensor) -> Tensor:
    """Which inputs each unit has weights on, (U, inputs): its task's bits and the flag."""
    of_input = torch.tensor([0] * BITS + [1] * BITS + [-1, -1])
    return (of_input == -1) | (of_input == serves[:, None])


def _train(model: ReluClassifier, inputs: Tensor, targets: Tensor, visible: Tensor) -> None:
    """Full-batch AdamW, its rate falling to zero along a cosine, masked weights held at zero."""
    into = model.get_parameter("layers.0.weight")
    into.data *= visible
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        into.data *= visible
    optimizer.zero_grad()
