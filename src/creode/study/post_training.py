"""What training on demonstrations or preferences begins from: a model, its task, the samples.

Here: the head that a reward model needs, the reference that DPO compares with.
Not here: reading rows (data/), losses (tasks/), the trainer (training/).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import nn

from creode import tasks
from creode.data import Samples
from creode.models import load_model
from creode.scalar_head import ScalarHead
from creode.study.config import FORMS, TASKS, DataConfig
from creode.tasks import Task
from creode.testbeds.decoder import Decoder


class Beginning(NamedTuple):
    """What `creode.training.train` takes."""

    model: nn.Module
    task: Task
    samples: Samples


def begin(
    name: str, start: nn.Module, data: DataConfig, source: Path | str, reference: str | None = None
) -> Beginning:
    """Model, task and samples of a training.

    Args:
        name: of the task.
        start: the model it begins from; for "reward" a decoder is given a scalar head.
        data: the samples.
        source: where the model's tokenizer is, unless the data name one.
        reference: of "dpo", by directory or hub id; None: the model it begins from.

    Raises:
        ValueError: no such task, a reference for another task than "dpo", or data that do not fit.
    """
    if name not in TASKS:
        raise ValueError(f"no task {name!r}; there are {', '.join(TASKS)}.")
    if reference is not None and name != "dpo":
        raise ValueError("only task 'dpo' compares with a reference; give none with others.")
    samples = data.load(source, FORMS.get(name, "text"))
    if name == "reward" and isinstance(start, Decoder):
        start = ScalarHead.of(start)
    if name == "dpo":
        compared = start if reference is None else load_model(reference)
        samples = tasks.with_reference(samples, compared)
    return Beginning(start, TASKS[name](), samples)
