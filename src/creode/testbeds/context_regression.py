"""In-context linear regression: a transformer sees examples (x_j, y_j) and predicts the next y.

Each sequence has weights t of its own, one of M training tasks or new ones from N(0, I_D), and
y_k = t·x_k + noise of variance σ², x_k from N(0, I_D). Two predictors are ideal: ridge regression
where every task is new, and dMMSE, the posterior mean over the M tasks, where there are no others.

Here: sequences and their tokens, the transformer before training, and what it is trained on.
Not here: training (training/); the ideal predictors (development/predictors.py); the blocks
(decoder.py).
Sequences are read as tokens (0, x_1), (y_1, 0), (0, x_2), …; y_k is predicted at x_k.
Source: arXiv:2402.02364 (D = 4, K = 8, σ² = 0.125, two layers of four heads, the tokens) and
arXiv:2501.17745 (M tasks). Deviations: half the width, 32; the loss of a sequence is its negative
log-likelihood Σ_k (y_k − ŷ_k)²/(2σ²), K/(2σ²) times the mean squared error; and the M tasks have
mean 0 and covariance I exactly, so that ridge is the best linear answer to few tasks too, which
eight tasks as they are drawn are far from.
Dimensions: B, N samples, K examples, D inputs, M tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from creode.data import Samples
from creode.tasks import Regression
from creode.testbeds.decoder import Block, DecoderConfig, initialise
from creode.testbeds.testbed import Testbed

INPUTS = 4  # D
EXAMPLES = 8  # K
NOISE_VARIANCE = 0.125  # σ²
CONFIG = DecoderConfig(
    vocab_size=1,  # one number is put out at each position
    d_model=32,
    num_layers=2,
    num_heads=4,
    context_length=2 * EXAMPLES,
    mlp_ratio=2.0,
    init_std=0.15,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ContextRegression(Testbed):
    """A transformer at its initial weights, sequences to train it on, and others to judge it by."""

    model: ContextTransformer
    tasks: Tensor | None  # (M, D), the training tasks; None: every sequence has a new one
    held_out: Samples  # sequences of the training tasks that are not in `data`
    new: Samples  # sequences of new tasks, the same whatever M is


class ContextTransformer(nn.Module):
    """A causal transformer of continuous tokens: `embed`, `positions`, `blocks`, `unembed`."""

    def __init__(self, *, seed: int = 0) -> None:
        """Build with weights drawn from `seed`; the global random state is not used."""
        super().__init__()
        with torch.device("meta"):  # torch's own initialisation would draw globally
            self.embed = nn.Linear(1 + INPUTS, CONFIG.d_model, bias=False)
            self.positions = nn.Embedding(CONFIG.context_length, CONFIG.d_model)
            self.blocks = nn.ModuleList(Block(CONFIG) for _ in range(CONFIG.num_layers))
            self.norm = nn.LayerNorm(CONFIG.d_model)
            self.unembed = nn.Linear(CONFIG.d_model, CONFIG.vocab_size)
        self.to_empty(device="cpu")
        initialise(self, CONFIG, seed=seed)

    def forward(self, inputs: Tensor) -> Tensor:
        """Predictions (B, K) of each y from the tokens (B, 2K, 1 + D) up to its x."""
        x_BTD = self.embed(inputs) + self.positions.weight
        for block in self.blocks:
            x_BTD = block(x_BTD, None)
        predictions: Tensor = self.unembed(self.norm(x_BTD))[:, ::2, 0]
        return predictions


def context_regression(
    num_tasks: int | None,
    *,
    num_samples: int = 1 << 16,
    num_judging: int = 1024,
    seed: int = 0,
) -> ContextRegression:
    """Everything that training on M tasks needs; the same seed, the same everything.

    Weights and the sequences of new tasks depend on the seed alone, so that runs of different M can
    be compared.

    Args:
        num_tasks: M > D; None: a new task for every sequence.
        num_samples: N, of the sequences to train on.
        num_judging: of `held_out` and of `new`, each.
        seed: of weights, tasks and sequences.

    Raises:
        ValueError: a count out of range.
    """
    counts = {"num_tasks": num_tasks, "num_samples": num_samples, "num_judging": num_judging}
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{name} must be ≥ 1, got {count}.")
    judging, training, drawing = (
        torch.Generator().manual_seed(3 * seed + stream) for stream in range(3)
    )
    tasks = None if num_tasks is None else standard_tasks(num_tasks, drawing)
    return ContextRegression(
        model=ContextTransformer(seed=seed),
        task=Regression(variance=NOISE_VARIANCE),
        data=regression_sequences(num_samples, tasks, training),
        llc=None,
        multiplicity=None,
        tasks=tasks,
        held_out=regression_sequences(num_judging, tasks, training),
        new=regression_sequences(num_judging, None, judging),
    )


def standard_tasks(num: int, generator: torch.Generator) -> Tensor:
    """Tasks (M, D) from N(0, I_D), moved and turned until their mean is 0 and their covariance I.

    Raises:
        ValueError: M ≤ D, so that no covariance is I.
    """
    if num <= INPUTS:
        raise ValueError(
            f"num_tasks must be > {INPUTS}, the number of inputs, got {num}: fewer tasks cannot "
            "have covariance I."
        )
    drawn = torch.randn(num, INPUTS, generator=generator, dtype=torch.float64)
    centred = drawn - drawn.mean(0)
    left, _, right = torch.linalg.svd(centred, full_matrices=False)
    tasks: Tensor = num**0.5 * left @ right
    return tasks.float()


def regression_sequences(num: int, tasks: Tensor | None, generator: torch.Generator) -> Samples:
    """Sequences: the tokens `inputs` (N, 2K, 1 + D) and the `targets` y (N, K).

    Args:
        num: N.
        tasks: (M, D), one of which each sequence has, all as likely; None: from N(0, I_D).
        generator: of everything.
    """
    x = torch.randn(num, EXAMPLES, INPUTS, generator=generator)
    if tasks is None:
        own = torch.randn(num, INPUTS, generator=generator)
    else:
        own = tasks[torch.randint(len(tasks), (num,), generator=generator)]
    noise = NOISE_VARIANCE**0.5 * torch.randn(num, EXAMPLES, generator=generator)
    y = torch.einsum("nkd,nd->nk", x, own) + noise
    tokens = torch.zeros(num, 2 * EXAMPLES, 1 + INPUTS)
    tokens[:, ::2, 1:] = x
    tokens[:, 1::2, 0] = y
    source = "new tasks" if tasks is None else f"{len(tasks)} tasks"
    return Samples(
        columns={"inputs": tokens, "targets": y}, source=f"regression in context, {source}"
    )


def examples(samples: Samples) -> tuple[Tensor, Tensor]:
    """The x (N, K, D) and y (N, K) of sequences."""
    return samples.columns["inputs"][:, ::2, 1:], samples.columns["targets"]
