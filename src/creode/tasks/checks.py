"""Checks of a task, a model and samples, made once before the hours of sampling.

Here: what must hold for any task: one finite loss per unit, the same at every call, that depends on
the weights and on no other sample.
Not here: what one task asks of its columns (its own `validate`).
Dimensions: B samples of a batch, T tokens of a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from creode.tasks.losses import Batch, Losses, Task, as_losses

if TYPE_CHECKING:
    from creode.data import Samples

Place = Callable[[Batch], dict[str, Tensor]]


def validate(task: Task, model: nn.Module, samples: Samples) -> None:
    """Raise unless `task` can be sampled for this model on these samples.

    The task's own `validate(model, samples)` runs first, where it has one. Then the first two
    samples are scored: the losses must be (B,) or (B, T) with the batch's B, finite, with at least
    one unit counted; equal at a second call, without a change of the model's buffers; the same for
    a sample beside another as beside itself; and differentiable in the weights. The model, its
    buffers and the global random state are left as they came.

    Raises:
        TypeError: the task returned neither losses nor a pair (values, mask).
        ValueError: any other of these does not hold; the message names what to do.
    """
    own = getattr(task, "validate", None)
    if callable(own):
        own(model, samples)
    size = min(2, len(samples))
    with untouched(model) as place:
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        batch = place(samples.batch(torch.arange(size)))
        losses = _score(task, model, batch)
        _check_form(losses, size)
        _check_repeats(model, losses, _score(task, model, batch), buffers)
        twice = place(samples.batch(torch.zeros(size, dtype=torch.long)))
        _check_separate(losses, _score(task, model, twice))
        if any(p.requires_grad for p in model.parameters()):
            with torch.enable_grad():
                _check_differentiable(_score(task, model, batch))


def _score(task: Task, model: nn.Module, batch: Batch) -> Losses:
    try:
        return as_losses(task(model, batch))
    except (RuntimeError, IndexError, KeyError) as error:
        columns = ", ".join(f"{k} {tuple(c.shape)} {c.dtype}" for k, c in batch.items())
        weights = sorted({str(p.dtype) for p in model.parameters()})
        raise ValueError(
            f"the task failed on the first samples: {type(error).__name__}: {error}. "
            f"It was given the columns {columns}; the model's weights are {', '.join(weights)}. "
            "Rename, reshape or convert the columns to what the model takes."
        ) from error


@contextmanager
def untouched(model: nn.Module) -> Iterator[Place]:
    """Trial calls: no gradients, and afterwards buffers and random state as before.

    Yields a function that moves a batch to the model's device.
    """
    tensors = [*model.parameters(), *model.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    buffers = {name: (buffer, buffer.clone()) for name, buffer in model.named_buffers()}
    devices = [device] if device.type == "cuda" else []

    def place(batch: Batch) -> dict[str, Tensor]:
        return {name: column.to(device) for name, column in batch.items()}

    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            yield place
    finally:
        with torch.no_grad():
            for buffer, value in buffers.values():
                buffer.copy_(value)


def _check_form(losses: Losses, size: int) -> None:
    values, mask = losses
    if values.shape[0] != size:
        raise ValueError(
            f"a task returned losses of shape {tuple(values.shape)} for {size} samples; "
            "one loss per sample, (batch,), or per token, (batch, token), is needed."
        )
    if not values.is_floating_point():
        raise ValueError(f"a task returned losses of dtype {values.dtype}; floats are needed.")
    if not mask.any():
        raise ValueError(
            f"the task counts no unit of the first {size} sample(s): its mask is False everywhere. "
            "Leave out samples with nothing to score, or mend the mask."
        )
    if not values[mask].isfinite().all():
        where = (~values.isfinite() & mask).nonzero()[0].tolist()
        raise ValueError(
            f"the loss of unit {where} of the first {size} sample(s) is {values[tuple(where)]}; "
            "the loss at the anchor must be finite. Check the weights, the labels, the precision."
        )
    if (values[~mask] != 0).any():
        raise ValueError(
            "the task returned losses other than zero where its mask is False; "
            "return values.masked_fill(~mask, 0.0)."
        )


def _check_repeats(
    model: nn.Module, first: Losses, second: Losses, buffers: Mapping[str, Tensor]
) -> None:
    drifted = [
        name for name, value in model.named_buffers() if not _same(value, buffers.get(name, value))
    ]
    if torch.equal(first.values, second.values) and not drifted:
        return
    changed = f" These buffers changed: {', '.join(drifted[:5])}." if drifted else ""
    culprits = [
        f"{name} ({type(module).__name__})"
        for name, module in model.named_modules()
        if module.training and (isinstance(module, _BatchNorm) or _drops(module))
    ]
    if culprits:
        raise ValueError(
            f"the loss is not a function of the weights: {', '.join(culprits[:5])} "
            f"{'is' if len(culprits) == 1 else 'are'} in training mode, so dropout or batch norm "
            f"changes the model between calls.{changed} Call model.eval() first."
        )
    raise ValueError(
        "the loss is not a function of the weights: two calls on the same samples differ."
        f"{changed} Take dropout, batch norm in training mode and other randomness out of the "
        "model and the task."
    )


def _drops(module: nn.Module) -> bool:
    return isinstance(module, _DropoutNd) and module.p > 0


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.nan_to_num(), b.nan_to_num())


def _check_separate(beside_another: Losses, beside_itself: Losses) -> None:
    first, again = beside_another.values[0], beside_itself.values[0]
    if torch.allclose(first, again, rtol=1e-2, atol=1e-2):  # half precision stays below
        return
    raise ValueError(
        "the loss of a sample depends on the other samples of its batch; L_n must be a mean over "
        "samples. Call model.eval() if the model has batch norm (and keep its running statistics), "
        "and do not average or contrast within the batch in the task."
    )


def _check_differentiable(losses: Losses) -> None:
    if not losses.values.requires_grad:
        raise ValueError(
            "the loss does not depend on the model's weights: no gradient flows. "
            "Take no_grad, detach, item and numpy out of the task."
        )
