"""The proof of a loop's weights: models trained with them, and what they learned when.

Arms of one seed share start and batch order. The uniform arm is one for all directions.

Here: how an arm is trained and where it is kept, losses along it, when it reaches a level.
Not here: the arms and what they show (patterning/proof.py), training on from w* as
`creode pattern --verify` does (retraining.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from creode.data import Samples
from creode.development import list_checkpoints
from creode.fingerprint import model_fingerprint
from creode.models import load_model
from creode.patterning import Pattern, verify
from creode.sampling.block import unit_losses
from creode.study.config import QUERY, TRAIN, StudyConfig
from creode.study.loop_config import LoopConfig
from creode.study.run import load_study_model
from creode.tasks import NextToken
from creode.testbeds.decoder import Decoder
from creode.training import train

WHEN = "step at the level"  # the observable: training steps until the behaviour reaches the level
ALONG = " at step "  # in names of losses along an arm's training, between probe and step
OnProgress = Callable[[str, int, int], None]


def prove(
    config: LoopConfig,
    study: StudyConfig,
    made: Mapping[str, Pattern],
    out: Path,
    on_progress: OnProgress | None = None,
) -> dict[str, xr.Dataset]:
    """`creode.patterning.verify` of each direction's weights.

    Args:
        config: of the loop.
        study: what the weights were made from.
        made: weights by direction, on the study's data.
        out: where arms are kept; those that are there are not trained again.
        on_progress: called with what is under way, arms done, and in all.

    Returns:
        By direction, as of `verify`; measured are the losses of the probes at the end, `QUERY` the
        behaviour's, nats, and, of arms that start anew, `WHEN`; an arm that does not reach the
        level counts with its last step. Besides, along (arm, seed, probe, step): the same losses
        along training. Attribute level: the loss of the behaviour that is meant, nats.
    """
    series = study.series()
    source = series[0].path if series[0] is not None else study.model
    data = study.data.load(source)
    probes = {n: probe.load(source) for n, probe in study.probes.items() if n != TRAIN}
    level = _level(config, study, probes[QUERY])
    asked = config.proof_training(0)

    start = start_of_arms(config, study)

    def arm(weights: Tensor | None, seed: int) -> Path:
        place = out / "models" / f"{_name(weights)}-{seed}"
        training = config.proof_training(seed)
        train(start(seed), NextToken(), data, training, weights=weights, out=place)
        return place

    def measured(place: Path) -> dict[str, float]:
        found: dict[str, float] = {}
        steps, losses = [], []
        for checkpoint in list_checkpoints(place):
            now = probe_losses(load_model(checkpoint.path, dtype=torch.float32), probes)
            found |= {f"{name}{ALONG}{checkpoint.step}": loss for name, loss in now.items()}
            steps.append(checkpoint.step)
            losses.append(now[QUERY])
        when = {} if config.proof.start == "last" else {WHEN: step_at(level, steps, losses)}
        return now | when | found

    arms = (3 + len(config.proof.explanations)) * len(config.proof.seeds)
    proofs = {}
    for number, (direction, one) in enumerate(made.items()):

        def on_arm(done: int, _: int, before: int = number * arms, what: str = direction) -> None:
            if on_progress is not None:
                on_progress(f"arms of {what}", before + done, arms * len(made))

        proof = verify(
            one, arm, measured, seeds=config.proof.seeds, explanations=config.proof.explanations,
            out=out / "arms" / f"{direction}-{_name(one.weights.tensor())}",
            trained_with={
                "training": asked.steps, "start": config.proof.start, "level": level,
                "config": config.training.model_dump(mode="json"),
                "model": model_fingerprint(start(config.seed)),
                "probes": {name: samples.fingerprint() for name, samples in probes.items()},
            },
            on_arm=on_arm,
        )  # fmt: skip
        proofs[direction] = _with_losses_along(proof).assign_attrs(level=level)
    return proofs


def _with_losses_along(proof: xr.Dataset) -> xr.Dataset:
    """The losses along training as one array (arm, seed, probe, step) beside the observables."""
    names = [str(name) for name in proof["observable"].values]
    along = [name for name in names if ALONG in name]
    probes = list(dict.fromkeys(name.split(ALONG)[0] for name in along))
    steps = sorted({int(name.split(ALONG)[1]) for name in along})
    parts = [
        proof["value"].sel(observable=[f"{probe}{ALONG}{step}" for step in steps]).values
        for probe in probes
    ]
    kept = proof.sel(observable=[name for name in names if name not in along])
    return kept.assign(along=(("arm", "seed", "probe", "step"), np.stack(parts, 2))).assign_coords(
        probe=probes, step=steps
    )


def start_of_arms(config: LoopConfig, study: StudyConfig) -> Callable[[int], nn.Module]:
    """From a seed to the model that an arm's training begins with."""

    def start(seed: int) -> nn.Module:
        if config.proof.start == "scratch":
            return Decoder(config.shape(), seed=seed)
        return load_study_model(study, series_of(study)[0 if config.proof.start == "first" else -1])

    return start


def probe_losses(model: nn.Module, probes: Mapping[str, Samples]) -> dict[str, float]:
    """The mean loss of each probe, nats per token."""
    losses = {name: unit_losses(model, NextToken(), one, 64) for name, one in probes.items()}
    return {name: float(u.total.double().sum() / u.count.sum()) for name, u in losses.items()}


def losses_along(study: StudyConfig) -> list[dict[str, Any]]:
    """The loss of every probe at every checkpoint of a study's model: probe, step, loss."""
    found = series_of(study)
    source = study.model if found[0] is None else found[0].path
    probes = {name: probe.load(source) for name, probe in study.probes.items()}
    return [
        {"probe": name, "step": one.step, "loss": loss}
        for one in found
        for name, loss in probe_losses(load_study_model(study, one), probes).items()
    ]


def step_at(level: float, steps: list[int], losses: list[float]) -> float:
    """The step at which losses fall to a level, between measurements on the line; else the last."""
    for i, loss in enumerate(losses):
        if loss <= level:
            if i == 0:
                return float(steps[0])
            share = (losses[i - 1] - level) / (losses[i - 1] - loss)
            return steps[i - 1] + share * (steps[i] - steps[i - 1])
    return float(steps[-1])


def series_of(study: StudyConfig) -> list[Any]:
    """All checkpoints of the study's model, by step."""
    return list(study.model_copy(update={"checkpoints": "all"}).series())


def _level(config: LoopConfig, study: StudyConfig, behaviour: Samples) -> float:
    """The loss at which the behaviour counts as there: a share of its fall in the model read."""
    found = series_of(study)
    first, last = (
        probe_losses(load_study_model(study, one), {QUERY: behaviour})[QUERY]
        for one in (found[0], found[-1])
    )
    return first - config.proof.level * (first - last)


def _name(weights: Tensor | None) -> str:
    """What an arm's directory is called: by its weights."""
    if weights is None:
        return "uniform"
    return hashlib.sha256(np.ascontiguousarray(weights.numpy()).tobytes()).hexdigest()[:12]
