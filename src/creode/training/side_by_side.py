"""Many training runs at once: one batched forward and backward pass for all of them.

Runs share task, data, batch size, optimiser and schedule; each has its own start, its own order of
batches and, if wanted, its own weights on the samples. What a run ends at is what `train` would end
at, up to the rounding of batched products.

Here: that loop, for models whose parameters have the same names and shapes.
Not here: one run, which can be interrupted and has checkpoints (loop.py).
Dimensions: R runs, B samples of a batch, N samples of the data.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from creode.data import as_samples
from creode.tasks import Batch, Task, as_losses
from creode.training.config import TrainingConfig
from creode.training.loop import OnStep, TrainingResult, scaled_weights, weighted_loss
from creode.training.order import BatchOrder

# Optimisers that treat every weight by itself, so that stacked runs do not meet in them.
ELEMENTWISE = (
    "SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "Adagrad", "Adadelta",
)  # fmt: skip


def train_side_by_side(
    models: Sequence[nn.Module],
    task: Task,
    data: Any,
    config: TrainingConfig,
    *,
    seeds: Sequence[int],
    weights: Tensor | None = None,
    on_step: OnStep | None = None,
) -> list[TrainingResult]:
    """Train a copy of each model, all at once; run r is as of `train` with the seed `seeds[r]`.

    Args:
        models: R starts of one architecture, without dropout.
        task: losses of a batch, (batch,) or (batch, token), nats.
        data: `Samples`, or what `as_samples` reads.
        config: as of `train`; its own seed and checkpoints are not used.
        seeds: of the batch order, one a run.
        weights: ρ ≥ 0, (N,) for all runs or (R, N); only ratios within a run matter. None: equal.
        on_step: called after every step with steps done, steps in all, and the mean loss of runs.
    Raises:
        ValueError: arguments that do not fit together, models that differ in their parameters or
            have dropout, or an optimiser in which runs would meet.
        FloatingPointError: a loss or a weight that is not finite.
    """
    samples = as_samples(data)
    _check(models, seeds, config, len(samples))
    rho = _weights(weights, len(models), len(samples))
    first = copy.deepcopy(models[0]).to(config.device).train()
    module = _LossModule(first, task)
    stacked = _stacked(models, config.device)
    parameters = [p for p in stacked.values() if p.requires_grad]
    optimizer = config.build_optimizer(parameters)
    orders = [
        BatchOrder(num_samples=len(samples), batch_size=config.batch_size, seed=seed)
        for seed in seeds
    ]

    def loss_of_run(weights: Mapping[str, Tensor], batch: Batch, rho: Tensor | None) -> Tensor:
        named = {f"model.{name}": value for name, value in weights.items()}
        loss: Tensor = functional_call(module, named, (batch, rho))
        return loss

    of_runs = vmap(loss_of_run, in_dims=(0, 0, None if rho is None else 0))
    history: list[Tensor] = []
    for step in range(config.steps):
        index = torch.stack([order(step) for order in orders])  # (R, B)
        batch = {k: v.to(config.device) for k, v in samples.batch(index).items()}
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate_at(step)
        loss = of_runs(stacked, batch, None if rho is None else rho.gather(1, index))
        _check_finite(loss.detach(), seeds, step, config)
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        if config.clip_norm is not None:
            _clip(parameters, config.clip_norm)
        optimizer.step()
        history.append(loss.detach().double().cpu())
        if on_step:
            on_step(step + 1, config.steps, float(history[-1].mean()))
    ends = sum(p.detach().flatten(1).sum(1) for p in parameters)
    assert isinstance(ends, Tensor)
    _check_finite(ends, seeds, config.steps, config)
    losses = torch.stack(history, 1)
    return [
        TrainingResult(model=_unstacked(first, stacked, run), losses=losses[run], out=None)
        for run in range(len(models))
    ]


class _LossModule(nn.Module):
    """Model and task as one module, so that its parameters can be replaced in a call."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model = model
        self._task = task

    def forward(self, batch: Batch, rho: Tensor | None) -> Tensor:
        return weighted_loss(as_losses(self._task(self.model, batch)), rho)


def _check(
    models: Sequence[nn.Module], seeds: Sequence[int], config: TrainingConfig, num_samples: int
) -> None:
    if not models or len(seeds) != len(models):
        raise ValueError(
            f"one seed a model is needed, and at least one; got {len(models)} models and "
            f"{len(seeds)} seeds."
        )
    if config.batch_size > num_samples:
        raise ValueError(
            f"batch_size {config.batch_size} is above the {num_samples} samples of the data; "
            f"lower it to at most {num_samples}."
        )
    if config.optimizer not in ELEMENTWISE:
        raise ValueError(
            f"runs side by side would meet in {config.optimizer!r}; take one of {ELEMENTWISE}, or "
            "train one after another."
        )
    shapes = [{name: p.shape for name, p in model.named_parameters()} for model in models]
    odd = [run for run, shape in enumerate(shapes) if shape != shapes[0]]
    if odd:
        raise ValueError(f"models {odd} have other parameters than the first; give one shape.")
    if any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p for m in models[0].modules()):
        raise ValueError("runs side by side cannot have dropout; set it to 0.")
    if any(True for _ in models[0].buffers()):
        raise ValueError("runs side by side cannot have buffers; train one after another.")
    if not any(p.requires_grad for p in models[0].parameters()):
        raise ValueError("no parameter of the models requires a gradient: nothing to train.")


def _weights(weights: Tensor | None, runs: int, num_samples: int) -> Tensor | None:
    """ρ (R, N), of mean 1 in each run."""
    if weights is None:
        return None
    rows = weights.expand(runs, -1) if weights.ndim == 1 else weights
    if rows.ndim != 2 or len(rows) != runs:
        raise ValueError(
            f"weights have shape {tuple(weights.shape)}; ({num_samples},) or ({runs}, "
            f"{num_samples}) is needed."
        )
    return torch.stack([scaled_weights(row, num_samples) for row in rows])


def _stacked(models: Sequence[nn.Module], device: str) -> dict[str, nn.Parameter]:
    """Parameters of all runs, (R, ...)."""
    first = dict(models[0].named_parameters())
    each = [dict(model.named_parameters()) for model in models]
    return {
        name: nn.Parameter(
            torch.stack([own[name].detach() for own in each]).to(device),
            requires_grad=p.requires_grad,
        )
        for name, p in first.items()
    }


def _unstacked(first: nn.Module, stacked: Mapping[str, Tensor], run: int) -> nn.Module:
    model = copy.deepcopy(first)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(stacked[name][run])
    return model.eval()


def _clip(parameters: list[nn.Parameter], most: float) -> None:
    """The gradient of each run to a norm of at most `most`."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
    share = (most / (norm + 1e-6)).clamp(max=1.0)  # as torch's clip_grad_norm_
    for g in gradients:
        g.mul_(share.view(-1, *[1] * (g.ndim - 1)))


def _check_finite(values: Tensor, seeds: Sequence[int], step: int, config: TrainingConfig) -> None:
    if not bool(torch.isfinite(values).all()):
        failed = [seed for seed, ok in zip(seeds, torch.isfinite(values), strict=True) if not ok]
        raise FloatingPointError(
            f"loss or weights of the runs with seeds {failed} are not finite at step {step} of "
            f"{config.steps}; lower learning_rate ({config.learning_rate}), add warmup_steps or "
            "set clip_norm."
        )
