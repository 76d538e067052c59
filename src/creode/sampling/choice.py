"""In turn or side by side: chosen by timing both on the run's own model and batches.

The choice changes rounding, so it is made once, stored with the run and kept when it resumes.

Here: the rule and the timing.
Not here: the two ways themselves (sequential.py, vectorised.py).
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import torch

from creode.posterior import LocalPosterior
from creode.sampling.block import Block
from creode.sampling.borrow import borrowed
from creode.sampling.engine import Engine, Problem
from creode.sampling.flat import FlatWeights
from creode.sampling.kernel import Kernel, Target
from creode.sampling.schedule import Execution, Schedule
from creode.sampling.sequential import SequentialBlock
from creode.sampling.vectorised import VectorisedBlock

logger = logging.getLogger(__name__)

ResolvedMode = Literal["sequential", "vectorised"]
MOST_WEIGHTS = 4_000_000  # of all chains together; above, bookkeeping is a small part of a step
LONG_STEP = 0.1  # seconds; likewise
LEAST_GAIN = 1.15  # what side by side must gain to be worth its memory, and to be chosen stably
NUM_TIMINGS = 15  # steps; the first few are slow to warm up


def make_block(
    posterior: LocalPosterior,
    flat: FlatWeights,
    execution: Execution,
    *,
    mode: ResolvedMode,
    chains: int,
) -> Block:
    """A block of chains at the anchor; use inside `borrowed(posterior.model)`."""
    if mode == "sequential":
        return SequentialBlock(
            posterior.model,
            posterior.task,
            flat,
            forward_dtype=execution.forward_dtype,
            microbatch=execution.microbatch,
        )
    return VectorisedBlock(
        posterior.model,
        posterior.task,
        flat,
        chains=chains,
        forward_dtype=execution.forward_dtype,
    )


def choose_mode(
    posterior: LocalPosterior, kernel: Kernel, schedule: Schedule, execution: Execution
) -> ResolvedMode:
    """The mode asked for, or the faster one.

    Raises:
        ValueError: chains side by side and accumulation over microbatches were both asked for.
    """
    if execution.mode == "vectorised" and execution.microbatch is not None:
        raise ValueError(
            "mode='vectorised' runs each batch whole; drop microbatch, or use mode='sequential'."
        )
    if execution.mode != "auto":
        return execution.mode
    flat = FlatWeights(posterior.model, posterior.selection())
    many = flat.size * schedule.chains > MOST_WEIGHTS and flat.device.type == "cpu"
    if schedule.chains == 1 or execution.microbatch is not None or many:
        return "sequential"
    in_turn = _seconds_per_chain(posterior, kernel, schedule, execution, "sequential")
    if in_turn > LONG_STEP and flat.device.type == "cpu":
        return "sequential"
    try:
        with warnings.catch_warnings():  # torch.func's hints at slow rules: the timing decides
            warnings.simplefilter("ignore", UserWarning)
            side_by_side = _seconds_per_chain(posterior, kernel, schedule, execution, "vectorised")
    except Exception as error:  # whatever a model does that torch.func cannot follow
        logger.info("chains run in turn: this model does not run vectorised (%s)", error)
        return "sequential"
    logger.info("per chain-step: %.2g s in turn, %.2g s side by side", in_turn, side_by_side)
    return "vectorised" if side_by_side * LEAST_GAIN < in_turn else "sequential"


def _seconds_per_chain(
    posterior: LocalPosterior,
    kernel: Kernel,
    schedule: Schedule,
    execution: Execution,
    mode: ResolvedMode,
) -> float:
    """The fastest of a few whole steps: batches, gradients, moves; without what draws record."""
    chains = schedule.chains if mode == "vectorised" else 1
    flat = FlatWeights(posterior.model, posterior.selection())
    problem = Problem(
        target=Target.of(posterior),
        kernel=kernel,
        schedule=replace(schedule, burnin=NUM_TIMINGS, draws=2, steps_per_draw=1, traces=()),
        data=posterior.data,
        baseline=None,
        probes=(),
    )
    ends: list[float] = []

    def on_step(step: int) -> None:
        if flat.device.type == "cuda":
            torch.cuda.synchronize(flat.device)
        ends.append(time.perf_counter())

    with borrowed(posterior.model):
        block = make_block(posterior, flat, execution, mode=mode, chains=chains)
        Engine(problem, block, flat, range(chains)).run(on_step=on_step)
    # A chain that failed at once has no step to time: then nothing speaks for this mode.
    return min((after - before for before, after in pairwise(ends)), default=math.inf) / chains
