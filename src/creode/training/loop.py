"""A plain trainer: seeded, resumable to the bit, with checkpoints and weights on the samples.

w_{s+1} = optimiser(w_s, ∇L_s(w_s)),  L_s(w) = Σ_i ρ_i ℓ_i(w) / Σ_i c_i over the batch of step s,

with ℓ_i the summed loss of sample i, c_i its number of units, and ρ scaled to mean 1 over the data;
weights on tokens stand inside the sum, Σ_t ρ_it ℓ_it for ρ_i ℓ_i, of mean 1 over all that count.

Here: the loop and the loss it minimises.
Not here: configuration (config.py), batches (order.py), what is on disk (directory.py), choosing
the weights (patterning/).
Dimensions: B samples of a batch, N samples of the data, T tokens of a sample.
Source: weighted training as in arXiv:2601.13548, Σρℓ/Σρ. Deviation: the normaliser is the data's,
not the batch's, so that an epoch's batches of equal count add up to the gradient on the data; with
Σρ of the batch, a batch of one sample would cancel its own weight.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from creode.data import as_samples
from creode.tasks import Losses, Task, as_losses
from creode.training.config import TrainingConfig
from creode.training.directory import RunDirectory, run_record
from creode.training.order import BatchOrder, stream_seed

UNITS = {1: "sample", 2: "token"}  # that have a weight, by its dimensions

OnStep = Callable[[int, int, float], None]  # steps done, steps in all, loss of the last


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingResult:
    """A trained model and how it came about."""

    model: nn.Module  # a trained copy, in eval mode, on the config's device
    losses: Tensor  # (steps,) float64: loss of each step's batch before its move, nats per unit
    out: Path | None  # the run directory, if there is one


def train(
    model: nn.Module,
    task: Task,
    data: Any,
    config: TrainingConfig,
    *,
    weights: Tensor | None = None,
    out: str | Path | None = None,
    on_step: OnStep | None = None,
    resume_every: float = 60.0,
) -> TrainingResult:
    """Train a copy of `model` on the mean loss of `task` over `data`.

    The model passed in and the global random state are left as they came. On one machine's CPU the
    result is the same to the bit, whatever the interruptions; some of a GPU's kernels add up in an
    order of their own.

    Args:
        model: holds w_0; parameters that need no gradient stay.
        task: losses of a batch, (batch,) or (batch, token), nats.
        data: `Samples`, or what `as_samples` reads.
        config: everything else that decides the result.
        weights: ρ ≥ 0, one a sample (N,), or one a token (N, T), NaN where a token does not count;
            only their ratios matter. None: all equal.
        out: a run directory. Weights at the config's steps go to `step_000100/`, the loss of every
            step to log.jsonl; called again with the same arguments, training goes on where it
            stopped. None: nothing is written.
        on_step: called after every step with steps done, steps in all, and the step's loss.
        resume_every: seconds between two records to go on from, besides those at checkpoints.
    Raises:
        ValueError: arguments that do not fit together, or a directory made with other ones.
        FloatingPointError: a loss or a weight that is not finite; the checkpoints so far are kept.
    """
    samples = as_samples(data)
    if config.batch_size > len(samples):
        raise ValueError(
            f"batch_size {config.batch_size} is above the {len(samples)} samples of "
            f"{samples.source}; lower it to at most {len(samples)}."
        )
    rho = None if weights is None else scaled_weights(weights, len(samples))
    trained = copy.deepcopy(model).to(config.device).train()
    parameters = [p for p in trained.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("no parameter of the model requires a gradient: nothing to train.")
    optimizer = config.build_optimizer(parameters)
    order = BatchOrder(num_samples=len(samples), batch_size=config.batch_size, seed=config.seed)
    kept = set(config.checkpoint_steps())
    losses: list[float] = []
    folder = None
    if out is not None:
        record = run_record(model, task, samples, config, rho)
        folder = RunDirectory(Path(out), record)
    try:
        if folder:
            losses = folder.restore(trained, optimizer)
        start = len(losses)
        written = time.monotonic()
        for step in range(start, config.steps + 1):
            last = step == config.steps
            if folder and (step in kept or last or time.monotonic() - written >= resume_every):
                _check_finite(parameters, step, config)
                if step in kept:
                    folder.keep(step, trained)
                if step > start:
                    folder.write_resume(step, trained, None if last else optimizer)
                written = time.monotonic()
            if last:
                break
            index = order(step)
            batch = {k: v.to(config.device) for k, v in samples.batch(index).items()}
            rate = config.learning_rate_at(step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            with _dropout_seed(config.seed, step, config.device):
                output = as_losses(task(trained, batch))
                if len(output.values) != len(index):
                    raise ValueError(
                        f"the task returned losses of {len(output.values)} samples for a batch of "
                        f"{len(index)}; one row a sample is needed."
                    )
                loss = weighted_loss(output, None if rho is None else rho[index])
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise FloatingPointError(_diverged(value, step, output, config))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
            if config.clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, config.clip_norm)
            optimizer.step()
            losses.append(value)
            if folder:
                folder.log(step, value, rate)
            if on_step:
                on_step(step + 1, config.steps, value)
        _check_finite(parameters, config.steps, config)
    finally:
        if folder:
            folder.close()
    trained.zero_grad(set_to_none=True)
    return TrainingResult(
        model=trained.eval(),
        losses=torch.tensor(losses, dtype=torch.float64),
        out=folder.path if folder else None,
    )


def weighted_loss(losses: Losses, rho: Tensor | None = None, count: Tensor | None = None) -> Tensor:
    """Σ ρ ℓ / Σ c over a batch, nats per unit; ρ has mean 1 over the data, None: 1.

    Args:
        losses: (B,) or (B, T).
        rho: (B,), or (B, T), NaN exactly where a token does not count.
        count: Σ c, (), of the larger batch that this one is part of; None: of this one.

    Raises:
        ValueError: weights on tokens for losses of another shape or another mask.
    """
    total = losses.total
    count = losses.count.sum() if count is None else count.to(total)
    if rho is None:
        return total.sum() / count
    if rho.ndim == 1:
        return (rho.to(total) * total).sum() / count
    if rho.shape != losses.values.shape:
        raise ValueError(
            f"the weights on tokens have shape {tuple(rho.shape)} a batch and the losses "
            f"{tuple(losses.values.shape)}; give one weight a loss, or one a sample."
        )
    weighed = ~rho.isnan().to(losses.mask.device)
    lacking, idle = (int(n.sum()) for n in (losses.mask & ~weighed, weighed & ~losses.mask))
    if lacking or idle:
        raise ValueError(
            f"weights on tokens must be where the losses count: {lacking} tokens of the batch "
            f"count and have none, {idle} have one and do not count (NaN is none). They were made "
            "for another task or other labels."
        )
    return (rho.nan_to_num().to(total) * losses.values).sum() / count


def scaled_weights(weights: Tensor, num_samples: int) -> Tensor:
    """ρ as float64 of mean 1 over the units that have one."""
    rho = torch.as_tensor(weights).detach().cpu().double()
    if rho.ndim not in (1, 2) or len(rho) != num_samples:
        raise ValueError(
            f"weights have shape {tuple(rho.shape)}; one a sample, ({num_samples},), or one a "
            f"token, ({num_samples}, tokens), is needed."
        )
    weighed = ~rho.isnan() if rho.ndim == 2 else torch.ones_like(rho, dtype=torch.bool)
    bad = weighed & (~torch.isfinite(rho) | (rho < 0))
    if bad.any():
        first = bad.nonzero()[0].tolist()
        place = f"sample {first[0]}" + (f", token {first[1]}" if rho.ndim == 2 else "")
        raise ValueError(
            f"weights must be finite and ≥ 0; {int(bad.sum())} are not, the first is "
            f"{float(rho[tuple(first)])} at {place}. Clip them, or constrain the solution."
        )
    if not rho[weighed].any():
        raise ValueError(f"weights are all zero; at least one {UNITS[rho.ndim]} must count.")
    return rho / rho[weighed].mean()


@contextmanager
def _dropout_seed(seed: int, step: int, device: str) -> Iterator[None]:
    """The global generators seeded for one step, then put back as they were."""
    place = torch.device(device)
    cuda = place.type == "cuda"
    with torch.random.fork_rng(devices=[place] if cuda else []):
        torch.default_generator.manual_seed(stream_seed(seed, "dropout", step))
        if cuda:
            with torch.cuda.device(place):
                torch.cuda.manual_seed(stream_seed(seed, "dropout", step))
        yield


def _diverged(value: float, step: int, losses: Losses, config: TrainingConfig) -> str:
    if not losses.mask.any():
        return f"no unit of the batch of step {step} counts: its mask is all False."
    return (
        f"the loss is {value} at step {step} of {config.steps}; lower learning_rate "
        f"({config.learning_rate}), add warmup_steps or set clip_norm. "
        "Earlier checkpoints are kept."
    )


def _check_finite(parameters: list[nn.Parameter], step: int, config: TrainingConfig) -> None:
    """Weights that are not finite are not kept."""
    if not all(bool(torch.isfinite(p).all()) for p in parameters):
        raise FloatingPointError(
            f"a weight is not finite after {step} of {config.steps} steps; lower learning_rate "
            f"({config.learning_rate}) or set clip_norm. Earlier checkpoints are kept."
        )
