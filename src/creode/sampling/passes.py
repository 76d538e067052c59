"""How many samples a pass without gradients takes, such as one that scores a probe.

Memory that a process has just been given is slow to write for the first time, and an allocator
hands large blocks back after each use: on a CPU a pass whose largest activation (a language model's
logits) stays below that size and near the caches takes a quarter less time than one of a whole
batch. For a small model more samples than a batch make fewer calls.

Here: the size of a model's largest activation per sample, and the samples of a pass.
Not here: minibatches, whose size is the caller's; running passes (block.py, engine.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from creode.data import Samples
from creode.tasks import Task

PASS_BYTES = 12 * 2**20  # of the largest activation: two of them lie below the allocator's limit


@torch.no_grad()
def pass_size(
    model: nn.Module,
    task: Task,
    data: Samples,
    batch_size: int,
    microbatch: int | None = None,
) -> int:
    """Samples of a pass; a function of model, task, data and batch size alone, so it replays.

    `microbatch`, where given, bounds it; on other devices than a CPU it is the batch size.
    """
    most = microbatch or batch_size
    if next(model.parameters()).device.type != "cpu":
        return most
    one, two = (_tensors_made(model, task, data, count) for count in (1, 2))
    if len(one) != len(two) or len(data) < 2:
        return most  # what it does depends on the samples
    growth = max((more - less for less, more in zip(one, two, strict=True)), default=0)
    size = PASS_BYTES // growth if growth > 0 else most
    return max(1, min(size, microbatch) if microbatch else size)


def _tensors_made(model: nn.Module, task: Task, data: Samples, count: int) -> list[int]:
    """Bytes of every tensor that a pass over the first samples makes, views left out."""
    batch = data.batch(torch.arange(min(count, len(data))))
    made: list[int] = []
    with _Sizes(made):
        task(model, batch)
    return made


class _Sizes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, made: list[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._made = made

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if not any(returned.alias_info for returned in func._schema.returns):
            tensors = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
            self._made.append(sum(tensor.nbytes for tensor in tensors))
        return made
