"""What it costs to measure checkpoints beside their draws: one trial of it, scaled up.

The first and the last checkpoint are measured, since the Hessian's eigenvalue takes as many
products as it takes to settle; outputs are taken of the last alone.

Here: time, samples shown, disk and memory of loading, measures, metrics, outputs and ideals.
Not here: chains (plan.py), the measures themselves (beside.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple

import torch
import xarray as xr
from torch import Tensor, nn

from creode.data import Samples
from creode.development import Checkpoint
from creode.fingerprint import model_fingerprint
from creode.posterior import LocalPosterior
from creode.sampling import Plan
from creode.store.units import serialise
from creode.study import outputs
from creode.study.beside import Beside
from creode.study.companions import companions
from creode.study.config import StudyConfig
from creode.study.measures import Measure, as_dataset
from creode.study.metrics import load_metric
from creode.study.run import load_study_model
from creode.tasks import Task

LOADS = 2  # of each checkpoint: for its fingerprint, and for its work
COPIES = 2  # of all outputs in memory, when their plane is found
PAGE = 4096  # bytes that file systems give out at least


class Measuring(NamedTuple):
    """The cost of loading and measuring, or parts of it."""

    seconds: float = 0.0
    gradients: int = 0  # samples that a gradient is taken of
    forwards: int = 0  # samples that are scored without one
    disk_bytes: int = 0
    memory_bytes: int = 0  # of outputs, when they are brought together

    def times(self, count: float) -> Measuring:
        """So many of it."""
        samples = (round(count * value) for value in self[1:])
        return Measuring(count * self.seconds, *samples)

    def plus(self, other: Measuring) -> Measuring:
        """Both."""
        samples = (a + b for a, b in zip(self[1:], other[1:], strict=True))
        return Measuring(self.seconds + other.seconds, *samples)


@dataclass
class Shown:
    """Samples that a model was shown."""

    gradients: int = 0  # where a gradient may follow
    forwards: int = 0  # where none may


@contextmanager
def counted(model: nn.Module) -> Iterator[Shown]:
    """Count the samples that a model is shown."""
    shown = Shown()

    def count(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        tensors = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
        samples = len(tensors[0]) if tensors and tensors[0].ndim else 1
        if torch.is_grad_enabled():
            shown.gradients += samples
        else:
            shown.forwards += samples

    handle = model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield shown
    finally:
        handle.remove()


def measuring(
    study: StudyConfig, series: list[Checkpoint | None], task: Task, data: Samples, plan: Plan
) -> Measuring:
    """Measure for trial, and scale up to all checkpoints.

    Args:
        study: what is read.
        series: its checkpoints.
        task, data, plan: the study's, the plan's batch fitted to the data.

    Raises:
        ValueError: something cannot be measured, or other runs cannot be compared.
    """
    size = plan.execution.microbatch or plan.schedule.batch_size
    execution = replace(plan.execution, microbatch=size)
    metrics = {spec: load_metric(spec) for spec in study.metrics}
    beside = Beside(study.measures, metrics, execution)
    tried = [series[0], series[-1]] if len(series) > 1 else [series[-1]]
    loading, measured = Measuring(), Measuring()
    for checkpoint in tried:
        start = time.perf_counter()
        model = load_study_model(study, checkpoint)
        model_fingerprint(model)
        loading = loading.plus(Measuring(LOADS * (time.perf_counter() - start)))
        whole = LocalPosterior(model, task, data, nbeta=1.0, localization=1.0)
        for name, measure in beside.wanted(whole, checkpoint).items():
            measured = measured.plus(_tried(model, partial(_taken, name, measure)))
    share = len(series) / len(tried)
    total = loading.times(share).plus(measured.times(share))
    if "outputs" in study.measures:
        others = len(companions(study, model))
        one = _tried(model, lambda: outputs.outputs(whole, execution))
        ideals = _tried(model, lambda: outputs.ideals(whole, execution))
        total = total.plus(one.times(len(series) + others)).plus(ideals)
        total = total.plus(loading.times(others / len(tried)))
        return total._replace(memory_bytes=COPIES * total.memory_bytes)
    return total._replace(memory_bytes=0)


def on_disk(sizes: Mapping[str, int]) -> int:
    """What files take by name, in whole pages, with a page for each folder and their root."""
    folders = {parent for name in sizes for parent in PurePosixPath(name).parents}
    return PAGE * (sum(-(-size // PAGE) for size in sizes.values()) + len(folders))


def _taken(name: str, measure: Measure) -> xr.Dataset:
    return as_dataset(name, measure())


def _tried(model: nn.Module, measure: Callable[[], xr.Dataset]) -> Measuring:
    start = time.perf_counter()
    with counted(model) as shown:
        found = measure()
    files = serialise(xr.DataTree(found))
    seconds = time.perf_counter() - start
    disk = on_disk({name: len(content) for name, content in files.items()})
    return Measuring(seconds, shown.gradients, shown.forwards, disk, found.nbytes)
