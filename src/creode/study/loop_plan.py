"""What a loop will cost, before it runs: units of work, time, memory and disk of every stage.

Stages that draw are tried as `plan_study` does, on the given checkpoints, or on a decoder before
its training, whose steps cost the same; training by a few of its steps.

Here: the stages' costs.
Not here: a trial of draws (plan.py), the loop itself (loop.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from creode.models import save_model
from creode.study.loop_config import LoopConfig
from creode.study.loop_proof import start_of_arms
from creode.study.plan import peak_bytes, plan_study
from creode.tasks import NextToken
from creode.testbeds.decoder import Decoder
from creode.training import checkpoint_name, train

TRIAL_STEPS = 8  # of training, after as many that warm up


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """What one stage will take on this machine."""

    stage: str
    units: int  # trained models, or posteriors
    seconds: float
    memory_bytes: int  # peak of the process so far
    disk_bytes: int


def plan_loop(config: LoopConfig) -> list[StageCost]:
    """Try a few steps of every stage, and scale them up.

    Raises:
        ValueError: a stage cannot be run.
    """
    if config.checkpoints is not None:
        return _planned(config, config.checkpoints)
    with TemporaryDirectory() as folder:
        untrained = Decoder(config.shape(), seed=config.seed)
        for step in config.training.config(config.seed).checkpoint_steps():
            save_model(untrained, Path(folder) / checkpoint_name(step))
        return _planned(config, folder)


def _planned(config: LoopConfig, model: str) -> list[StageCost]:
    studies = {
        "development": config.development_study(model),
        "response": config.response_study(model),
        "weights": config.weights_study(model),
    }
    first = start_of_arms(config, studies["weights"])
    costs = []
    if config.checkpoints is None:
        kept = len(config.training.config(config.seed).checkpoint_steps())
        costs.append(_training(config, "model", first, 1, config.training.steps, kept))
    for stage, study in studies.items():
        one = plan_study(study)
        costs.append(
            StageCost(
                stage=stage, units=one.units, seconds=one.seconds, memory_bytes=one.memory_bytes,
                disk_bytes=one.disk_bytes,
            )
        )  # fmt: skip
    arms = len(config.proof.seeds) * (
        1 + (2 + len(config.proof.explanations)) * len(config.weights.directions)
    )
    arm = config.proof_training(config.seed)
    kept = len(arm.checkpoint_steps())
    return [*costs, _training(config, "proof", first, arms, arm.steps, kept)]


def _training(
    config: LoopConfig,
    stage: str,
    start: Callable[[int], nn.Module],
    models: int,
    steps: int,
    kept: int,
) -> StageCost:
    model = start(config.seed)
    data = config.source(config.data).load(config.checkpoints or "")
    trial = config.training.config(
        config.seed, steps=2 * TRIAL_STEPS, checkpoints=2, warmup_steps=0
    )
    ends: list[float] = []
    train(model, NextToken(), data, trial, on_step=lambda *_: ends.append(time.perf_counter()))
    per_step = (ends[-1] - ends[TRIAL_STEPS - 1]) / TRIAL_STEPS
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    return StageCost(
        stage=stage, units=models, seconds=models * steps * per_step, memory_bytes=peak_bytes(),
        disk_bytes=models * size * (kept + 3),  # with the weights and moments to go on from
    )  # fmt: skip
