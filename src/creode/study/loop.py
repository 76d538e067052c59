"""The whole loop: train, read, attribute, choose weights, retrain, compare.

Each stage is a directory of its own below `out`; one that is finished is not done again, one that
was interrupted goes on.

    model/        checkpoints of the model that is read; losses.json, of the probes at each
    development/  λ̂ and losses along training
    response/     χ of its parts to the probes
    weights/      one posterior with the loss of every training sample; hasten.parquet, …
    proof/        the arms: their models, what was measured of each, what they show

Here: the stages in order.
Not here: their configuration (loop_config.py), arms (loop_proof.py), what is concluded and the page
(loop_conclusion.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from creode.patterning import Convex, Pattern, SampleWeights, pattern
from creode.patterning.effects import effects
from creode.study.conclusion import REPORT_FILE, Conclusion, write_json, write_zarr
from creode.study.config import QUERY, TRAIN, StudyConfig
from creode.study.kinds import conclusions
from creode.study.loop_config import TOWARD, Direction, LoopConfig, load_loop, save_loop
from creode.study.loop_proof import losses_along, prove
from creode.study.run import run_study
from creode.study.writing import domains_of, one_posterior
from creode.tasks import NextToken
from creode.testbeds.decoder import Decoder
from creode.training import train

STUDY_FILE, LOSSES_FILE = "study.yaml", "losses.json"
STAGES = {
    "model": "train the model",
    "development": "read what formed when",
    "response": "ask which parts answer to which data",
    "weights": "ask which training samples made the behaviour, and choose weights on them",
    "proof": "train again with the weights, without, and with them shuffled",
}
OnStage = Callable[[str], None]  # a stage begins
OnProgress = Callable[[str, int, int], None]  # what is under way, done, in all


@dataclass(frozen=True)
class Loop:
    """A loop in its directory: the places of its stages, and its weights."""

    config: LoopConfig
    out: Path
    found: dict[str, Conclusion] = field(default_factory=dict)  # of stages that draw, by name

    @classmethod
    def open(cls, out: str | Path) -> Loop:
        """The loop that a directory holds.

        Raises:
            ValueError: it holds none.
        """
        place = Path(out) / STUDY_FILE
        if not place.is_file():
            raise ValueError(f"{out} holds no loop: there is no {STUDY_FILE} in it.")
        return cls(load_loop(place), Path(out))

    @property
    def model(self) -> Path:
        """The directory of checkpoints that are read."""
        given = self.config.checkpoints
        return self.out / "model" if given is None else Path(given)

    @property
    def studies(self) -> dict[str, StudyConfig]:
        """What each stage that draws reads."""
        config, model = self.config, str(self.model)
        return {
            "development": config.development_study(model),
            "response": config.response_study(model),
            "weights": config.weights_study(model),
        }

    def concluded(self, stage: str) -> Conclusion:
        """What a stage that draws says; worked out once."""
        if stage not in self.found:
            self.found[stage] = conclusions(self.out / stage)
        return self.found[stage]

    @cached_property
    def losses(self) -> list[dict[str, Any]]:
        """Losses of every probe at every checkpoint: probe, step, loss in nats per token."""
        found: list[dict[str, Any]] = json.loads((self.out / LOSSES_FILE).read_text())
        return found

    def patterns(self) -> dict[str, Pattern]:
        """Weights for each direction, from the draws of the stage `weights`.

        Raises:
            ValueError: the draws do not tell them, or the constraint leaves none.
        """
        given = self.config.weights
        draws = one_posterior(self.out / "weights", None, None)
        change = given.change or reachable(draws, given.spread)
        constraint = Convex(least_effective=given.least_effective, most=given.most)
        domains = domains_of(self.out / "weights", TRAIN)
        features = {} if domains is None else {"domain": domains}

        def weighed(direction: Direction) -> Pattern:
            target = {QUERY: TOWARD[direction] * change}
            return pattern(draws, target, constraint, on=TRAIN, keep=given.keep, features=features)

        return {direction: weighed(direction) for direction in given.directions}

    @cached_property
    def made(self) -> dict[str, Made]:
        """What the stages `weights` and `proof` left, by direction."""
        return {
            direction: Made(
                weights=SampleWeights.load(self.out / "weights" / f"{direction}.parquet"),
                effect=_read(self.out / "weights" / f"{direction}.zarr"),
                explained=_read(self.out / "weights" / f"{direction}-explained.zarr"),
                proof=_read(self.out / "proof" / f"{direction}.zarr"),
            )
            for direction in self.config.weights.directions
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """Weights for one direction, their predicted effect, and their proof."""

    weights: SampleWeights
    effect: xr.Dataset  # as of `Pattern`
    explained: xr.Dataset  # likewise
    proof: xr.Dataset  # as of `prove`


def _read(place: Path) -> xr.Dataset:
    if not place.is_dir():
        raise ValueError(f"{place} is not there yet: the loop is not finished; run it again.")
    table: xr.Dataset = xr.open_zarr(place, consolidated=False).load()
    return table


def reachable(draws: xr.DataTree, spread: float) -> float:
    """By how much weights of mean 1 move the behaviour, along its effects alone, nats.

    The change that weights 1 + r bring about with r along E less its mean, of root mean square
    `spread`: spread · √N · |E − Ē|. The noise of E is in it.
    """
    effect = effects(draws, TRAIN, {QUERY: QUERY}).mean[0]
    away = effect - effect.mean()
    return float(spread * np.sqrt(len(away) * (away**2).sum()))


def run_loop(
    config: LoopConfig,
    out: str | Path,
    *,
    on_stage: OnStage | None = None,
    on_progress: OnProgress | None = None,
) -> Loop:
    """Run every stage that the directory does not hold yet.

    Args:
        config: what is done.
        out: the directory of the loop; an interrupted one goes on.
        on_stage: called with the stage's name as it begins.
        on_progress: called with what is under way, done, and in all.

    Raises:
        ValueError: `out` was made with another configuration of a stage; or a stage cannot be done,
            such as weights that the draws do not tell.
    """
    begin = on_stage or (lambda name: None)
    loop = Loop(config, Path(out))
    loop.out.mkdir(parents=True, exist_ok=True)
    if not (loop.out / STUDY_FILE).is_file():
        save_loop(config, loop.out / STUDY_FILE)
    begin("model")
    if config.checkpoints is None:
        _train(loop, on_progress)
    if not (loop.out / LOSSES_FILE).is_file():
        write_json(loop.out / LOSSES_FILE, losses_along(loop.studies["response"]))
    for name, study in loop.studies.items():
        begin(name)
        run_study(study, loop.out / name, on_progress=on_progress)
        if not (loop.out / name / REPORT_FILE).is_file():  # it is written last
            found = loop.concluded(name)
            found.save()
            found.write_report()
    made = loop.patterns()
    for direction, one in made.items():
        one.weights.save(loop.out / "weights" / f"{direction}.parquet")
        write_zarr(loop.out / "weights" / f"{direction}.zarr", one.effect)
        write_zarr(loop.out / "weights" / f"{direction}-explained.zarr", one.explained)
    begin("proof")
    proofs = prove(loop.config, loop.studies["weights"], made, loop.out / "proof", on_progress)
    for direction, proof in proofs.items():
        write_zarr(loop.out / "proof" / f"{direction}.zarr", proof)
    save_loop(config, loop.out / STUDY_FILE)  # with what was changed in it for later stages
    return loop


def _train(loop: Loop, on_progress: OnProgress | None) -> None:
    config = loop.config

    def on_step(done: int, total: int, loss: float) -> None:
        if on_progress is not None:
            on_progress(f"loss {loss:.3f}", done, total)

    data = config.source(config.data).load("")
    start: Any = Decoder(config.shape(), seed=config.seed)
    train(start, NextToken(), data, config.training.config(config.seed), out=loop.model,
          on_step=on_step)  # fmt: skip
