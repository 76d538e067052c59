"""The whole loop as a checked configuration: a model, a behaviour, how it is read and proved.

Here: its fields, the file they are read from (YAML or JSON), the study and the training of each
stage.
Not here: running the stages (loop.py), what is concluded (loop_conclusion.py).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from creode.data import as_tokenizer
from creode.sampling import Execution
from creode.study.config import (
    QUERY,
    TRAIN,
    DataConfig,
    Names,
    SamplerConfig,
    Strict,
    StudyConfig,
)
from creode.study.model_path import BYTES
from creode.testbeds.decoder import DecoderConfig
from creode.training import TrainingConfig

Direction = Literal["hasten", "delay"]
TOWARD = {"hasten": -1.0, "delay": 1.0}  # what is done to the behaviour's loss
FEWEST_SEEDS = 2


def _as_seeds(value: Any) -> Any:
    """Seeds by their number: 3 stands for those after the first model's."""
    return tuple(range(1, value + 1)) if isinstance(value, int) else value


class DecoderShape(Strict):
    """A new decoder, bytes as tokens unless the data name a tokenizer."""

    layers: int = Field(default=2, ge=1)
    width: int = Field(default=64, ge=1)
    heads: int = Field(default=4, ge=1)
    attention_only: bool = False


class TrainingPart(Strict):
    """How the model is trained, and trained again with other weights on the data."""

    steps: int = 1000
    batch_size: int = 32
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    warmup_steps: int = 0
    optimizer: str = "AdamW"
    checkpoints: int | tuple[int, ...] = 20

    def config(self, seed: int, **changes: Any) -> TrainingConfig:
        """The trainer's own, which checks the values."""
        return TrainingConfig(**(self.model_dump() | {"seed": seed} | changes))


class SamplingPart(Strict):
    """How weights around a checkpoint are drawn, in every stage that draws."""

    sampler: SamplerConfig = SamplerConfig()
    nbeta: float | Literal["auto"] = "auto"
    localization: float | Literal["auto"] = "auto"
    chains: int = 4
    draws: int | None = None  # of a chain; None: 200, or as the automatic sampler chooses
    burnin: int | None = None
    steps_per_draw: int | None = None
    batch_size: int = 32
    limit: int | None = None  # samples of the data in readings that need no trace of each
    execution: Execution = Execution()

    def fields(self, part: ReadingPart, seed: int, **schedule: Any) -> dict[str, Any]:
        """As a `StudyConfig` has them, with what a stage has of its own."""

        def own(name: str) -> Any:
            given = getattr(part, name)
            return getattr(self, name) if given is None else given

        lengths = {name: own(name) for name in ("draws", "burnin", "steps_per_draw")}
        given = {name: value for name, value in lengths.items() if value is not None}
        return {
            "sampler": self.sampler.model_dump(),
            "nbeta": own("nbeta"),
            "localization": own("localization"),
            "execution": asdict(self.execution),
            "schedule": {
                "chains": self.chains, "batch_size": self.batch_size, "seed": seed, **given,
                **schedule,
            },
        }  # fmt: skip


class ReadingPart(Strict):
    """What a stage that draws has in place of `sampling`'s; None: the same."""

    draws: int | None = None
    burnin: int | None = None
    steps_per_draw: int | None = None
    nbeta: float | None = None
    localization: float | None = None


class DevelopmentPart(ReadingPart):
    """What is read at every checkpoint."""

    components: Names = ("full",)
    measures: Names = ()
    checkpoints: tuple[int, ...] | None = None  # steps; None: all


class ResponsePart(ReadingPart):
    """Which parts are asked how they answer to the probes, at the last checkpoint."""

    components: Names = ("heads",)


class WeightsPart(ReadingPart):
    """Which weights are chosen, and how far they may go."""

    directions: Annotated[
        tuple[Direction, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)
    ] = ("hasten", "delay")
    spread: float = Field(default=0.5, gt=0, le=2)  # of the weights about their mean of 1, rms
    change: float | None = Field(default=None, gt=0)  # nats of the behaviour's loss, for spread
    keep: Names = ()  # probes whose loss is to stay
    least_effective: float = Field(default=0.1, gt=0, le=1)
    most: float | None = None


class ProofPart(Strict):
    """How the weights are put to the test: retraining in three arms over seeds."""

    start: Literal["scratch", "first", "last"] = "scratch"  # or from a checkpoint that was read
    seeds: Annotated[tuple[int, ...], BeforeValidator(_as_seeds)] = (1, 2, 3)
    explanations: Names = ()  # such as domain or loss: arms with what these alone would give
    steps: int | None = None  # None: those of training
    checkpoints: int = Field(default=20, ge=2)  # evenly spaced steps at which losses are measured
    level: float = Field(default=0.9, gt=0, lt=1)  # share of the behaviour's fall that counts

    @model_validator(mode="after")
    def _check_seeds(self) -> Self:
        if len(set(self.seeds)) < max(len(self.seeds), FEWEST_SEEDS):
            raise ValueError(
                f"a proof needs at least {FEWEST_SEEDS} different seeds, got {self.seeds}."
            )
        return self


class LoopConfig(Strict):
    """Read a model's development, attribute one behaviour, write it, and prove it by retraining."""

    title: str = "One behaviour, from its data to a proof"
    about: str = ""  # what the reader of the report is told of model and data
    behaviour: str  # the probe whose loss is to fall sooner, or later
    data: DataConfig  # training data
    probes: dict[str, DataConfig]
    decoder: DecoderShape | None = None  # a new model
    checkpoints: str | None = None  # or the directory of one that was trained on the data
    training: TrainingPart = TrainingPart()
    sampling: SamplingPart = SamplingPart()
    development: DevelopmentPart = DevelopmentPart()
    response: ResponsePart = ResponsePart()
    weights: WeightsPart = WeightsPart()
    proof: ProofPart = ProofPart()
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.behaviour not in self.probes:
            raise ValueError(
                f"behaviour {self.behaviour!r} is none of the probes, {', '.join(self.probes)}."
            )
        taken = sorted({TRAIN, QUERY, "loss", "data"} & set(self.probes))
        if taken:
            raise ValueError(f"probes cannot be named {', '.join(taken)}; give other names.")
        if (self.decoder is None) == (self.checkpoints is None):
            raise ValueError("give decoder, a new model's shape, or checkpoints, a directory.")
        if self.decoder is None and self.proof.start == "scratch":
            raise ValueError(
                "proof.start 'scratch' needs decoder; of given checkpoints training goes on from "
                "the 'first' or the 'last'."
            )
        if self.seed in self.proof.seeds and self.proof.start == "scratch":
            raise ValueError(
                f"proof.seeds {self.proof.seeds} hold seed {self.seed}, of the model that is read; "
                "the proof is of other models."
            )
        odd = [name for name in self.weights.keep if name not in self.probes]
        if odd or self.behaviour in self.weights.keep:
            raise ValueError(
                f"weights.keep names {', '.join(odd or [self.behaviour])}; it may name probes "
                "other than the behaviour."
            )
        self.training.config(self.seed)
        self.proof_training(self.seed)
        if self.decoder is not None:
            self.shape()
        for study in (
            self.development_study("."),
            self.response_study("."),
            self.weights_study("."),
        ):
            study.plan()
        return self

    def shape(self) -> DecoderConfig:
        """The new decoder's."""
        assert self.decoder is not None
        return DecoderConfig(
            vocab_size=len(as_tokenizer(self.tokenizer)),
            d_model=self.decoder.width, num_layers=self.decoder.layers,
            num_heads=self.decoder.heads, context_length=self.data.length,
            mlp_ratio=0.0 if self.decoder.attention_only else 4.0,
        )  # fmt: skip

    @property
    def tokenizer(self) -> str | None:
        """Of the data; bytes for a new decoder if none is named."""
        return self.data.tokenizer or (BYTES if self.decoder is not None else None)

    def source(self, given: DataConfig) -> DataConfig:
        """Data with the tokenizer that all of a loop share."""
        return given.model_copy(update={"tokenizer": given.tokenizer or self.tokenizer})

    def named_probes(self) -> dict[str, Any]:
        """The probes as a `StudyConfig` has them."""
        return {name: self.source(probe).model_dump() for name, probe in self.probes.items()}

    def development_study(self, model: str) -> StudyConfig:
        """λ̂ and losses along training."""
        return self._study(
            self.development, model, reading="development",
            checkpoints=self.development.checkpoints or "all",
            components=self.development.components, measures=self.development.measures,
            data=self._few(), probes=self.named_probes(),
        )  # fmt: skip

    def response_study(self, model: str) -> StudyConfig:
        """χ of parts to the probes at the last checkpoint."""
        return self._study(
            self.response, model, reading="response", data=self._few(),
            components=self.response.components, probes=self.named_probes(),
        )  # fmt: skip

    def weights_study(self, model: str) -> StudyConfig:
        """One posterior with the loss of every training sample: attribution, and weights."""
        probes = self.named_probes()
        behaviour = probes.pop(self.behaviour)
        data = self.source(self.data).model_dump()
        return self._study(
            self.weights, model, traces=(TRAIN, QUERY), reading="influence", data=data,
            probes={TRAIN: data, QUERY: behaviour} | probes, observables=(QUERY, *probes),
        )  # fmt: skip

    def proof_training(self, seed: int) -> TrainingConfig:
        """Of one arm."""
        steps = self.proof.steps or self.training.steps
        count = min(self.proof.checkpoints, steps)
        kept = sorted({round(steps * i / count) for i in range(count + 1)})
        return self.training.config(seed, steps=steps, checkpoints=tuple(kept))

    def _few(self) -> dict[str, Any]:
        """The data, of as many samples as readings without traces of each take."""
        limits = [n for n in (self.data.limit, self.sampling.limit) if n is not None]
        return self.source(self.data).model_dump() | {"limit": min(limits, default=None)}

    def _study(
        self, part: ReadingPart, model: str, *, traces: tuple[str, ...] = (), **fields: Any
    ) -> StudyConfig:
        drawn = self.sampling.fields(part, self.seed, traces=traces)
        return StudyConfig.model_validate({"model": model, **fields, **drawn})


def load_loop(path: str | Path) -> LoopConfig:
    """A loop's configuration from a file.

    Raises:
        ValueError: it is no YAML or JSON of one; the message names the fields.
    """
    return LoopConfig.model_validate(load_fields(path))


def load_fields(path: str | Path) -> dict[str, Any]:
    """The fields of a YAML or JSON file.

    Raises:
        ValueError: it is no such file.
    """
    import yaml

    place = Path(path)
    text = place.read_text(encoding="utf-8")
    try:
        fields = json.loads(text) if place.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{place} cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{place} holds no fields of a study, such as `behaviour: code`.")
    return fields


def save_loop(config: LoopConfig, path: Path) -> Path:
    """The resolved configuration as YAML that `load_loop` reads."""
    import yaml

    fields = config.model_dump(mode="json", exclude_none=True)
    path.write_text(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
