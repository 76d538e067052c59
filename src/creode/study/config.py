"""What a study reads, as a checked configuration that a run directory can repeat.

Here: model, data, parts, sampler and schedule as plain values; how each becomes an object.
Not here: running it (run.py), what is concluded (readings.py).
"""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from creode import tasks
from creode.data import (
    Samples,
    load,
    load_behaviour,
    load_demonstrations,
    load_preferences,
    shuffle_targets,
)
from creode.data.behaviours import load_wanted
from creode.development import FEWEST, Checkpoint, is_hub_id, list_checkpoints
from creode.models import load_model
from creode.response.influence import Kind
from creode.response.susceptibility import WHOLE, Form
from creode.sampling import KERNELS, Auto, Execution, Kernel, Plan, Schedule
from creode.sampling.observables import as_observables
from creode.study.model_path import holds_checkpoints, own_tokenizer
from creode.tasks import Task

TASKS: dict[str, type[Any]] = {
    "next-token": tasks.NextToken,
    "classification": tasks.Classification,
    "sft": tasks.SFT,
    "dpo": tasks.DPO,
    "reward": tasks.RewardModel,
}
Control = Literal["prior", "shuffled"]  # the loss switched off (nβ = 0), or targets permuted
CONTROL_SEED = 1_000_003  # added to the seed, so that the control's chains are others
Layout = Literal["text", "demonstrations", "preferences", "behaviour", "wanted"]
FORMS = {"sft": "demonstrations", "dpo": "preferences", "reward": "preferences"}  # "text" else
TRAIN, QUERY = "train", "query"  # the probes whose full traces influences are of


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class Strict(BaseModel):
    """Fields that are checked, unknown ones refused, none changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Strict):
    """Where samples come from and how they become tokens; arguments of the loaders of `data`."""

    source: str
    form: Layout | None = None  # None: as the task asks
    split: str = "train"
    text: str | None = "text"
    principle: str | None = None  # column that becomes the domain of demonstrations or preferences
    tokenizer: str | None = None  # None: the model's own, or bytes for this package's decoders
    length: int = 128
    packing: Literal["pack", "truncate", "pad"] = "pack"  # of text
    limit: int | None = None
    shuffled: bool = False  # targets permuted, as a control

    def load(self, model: Path | str, form: str = "text") -> Samples:
        """The samples; the tokenizer is the model's own unless one is named."""
        samples = self._ordered(model, form)
        return shuffle_targets(samples) if self.shuffled else samples

    def _ordered(self, model: Path | str, form: str) -> Samples:
        common: dict[str, Any] = {
            "split": self.split, "tokenizer": self.tokenizer or own_tokenizer(model),
            "length": self.length, "limit": self.limit,
        }  # fmt: skip
        match self.form or form:
            case "demonstrations":
                return load_demonstrations(self.source, principle=self.principle, **common)
            case "preferences":
                return load_preferences(self.source, principle=self.principle, **common)
            case "behaviour":
                return load_behaviour(self.source, **common)
            case "wanted":
                return load_wanted(self.source, **common)
        if self.principle is not None:
            raise ValueError("principle names a column of demonstrations or preferences.")
        return load(self.source, text=self.text, packing=self.packing, **common)


class InfluenceConfig(Strict):
    """Training samples whose influence on queries is read at every checkpoint."""

    query: DataConfig
    train: DataConfig | None = None  # None: the study's data
    kind: Kind = "covariance"


class SamplerConfig(BaseModel):
    """A kernel by name, or "auto", with its own settings beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str = Auto.name

    def build(self) -> Kernel | Auto:
        """The kernel, or the request for an automatic one.

        Raises:
            ValueError: no such kernel, or a setting it does not have.
        """
        kinds: dict[str, Any] = {Auto.name: Auto, **KERNELS}
        if self.name not in kinds:
            raise ValueError(f"no sampler {self.name!r}; there are {', '.join(kinds)}.")
        kind = kinds[self.name]
        known = {field.name for field in fields(kind)}
        given = self.model_extra or {}
        if set(given) - known:
            raise ValueError(
                f"sampler {self.name!r} has no setting {', '.join(sorted(set(given) - known))}; "
                f"it has {', '.join(sorted(known))}."
            )
        missing = [
            field.name
            for field in fields(kind)
            if field.default is MISSING and field.name not in given
        ]
        if missing:
            raise ValueError(f"sampler {self.name!r} needs {', '.join(missing)}.")
        if kind is Auto and given.get("relative_error") is not None:
            raise ValueError(
                "sampler 'auto': the readings of a study are of one length; leave out "
                "relative_error and give a budget."
            )
        if kind is Auto:  # a study's readings are compared with one another, at one nβ and γ
            given = {"extrapolate": False} | given
        return kind(**given)  # type: ignore[no-any-return]


class AuditConfig(Strict):
    """What a model is audited for."""

    behaviours: dict[str, DataConfig]  # prompts with wanted and unwanted answers, by name
    capabilities: Names = ()  # those of them that are skills, to be kept
    before: str | None = None  # the model that post-training began from, by directory or hub id
    tolerance: float = Field(default=0.1, ge=0, lt=1)  # share of prompts answered unwanted
    shifts: dict[str, dict[str, float]] = Field(default_factory=dict)  # factors, by principle

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.behaviours:
            raise ValueError("an audit asks for behaviours; name at least one.")
        wrong = [name for name in self.behaviours if name in ("", "loss") or "/" in name]
        if wrong:
            raise ValueError(f"a behaviour cannot be named {wrong[0]!r}.")
        unknown = sorted(set(self.capabilities) - set(self.behaviours))
        if unknown:
            raise ValueError(f"capabilities {unknown} are no behaviours.")
        return self


class StudyConfig(Strict):
    """Readings of a model's parts along its checkpoints."""

    model: str  # a model's directory or hub id, or a directory of checkpoints
    revision: str | None = None  # on the hub; a glob of them where checkpoints are asked for
    checkpoints: Literal["last", "all"] | tuple[int, ...] = "last"  # of a directory or a hub id
    task: Literal["next-token", "classification", "sft", "dpo", "reward"] = "next-token"
    reference: str | None = None  # the model that DPO compares with, by directory or hub id
    data: DataConfig
    probes: dict[str, DataConfig] = Field(default_factory=dict)
    components: Names = ("full",)  # read at every checkpoint
    final_components: Names = ()  # read at the last checkpoint only
    reading: Literal["llc", "response", "influence", "development", "audit"] = (
        "llc"  # what is concluded from the draws
    )
    audit: AuditConfig | None = None  # of reading "audit"
    form: Form = "single-chain"  # of susceptibilities, of reading "response"
    control: Control | None = None  # of reading "response": what is sampled again without a signal
    observables: Names = ()  # probes whose mean loss is observed beside the loss of the data
    measures: Annotated[  # of the whole model at every checkpoint, beside its draws
        tuple[Literal["weight_norm", "hessian", "outputs"], ...], BeforeValidator(_as_tuple)
    ] = ()
    influence: InfluenceConfig | None = None  # along checkpoints, from the model's draws
    runs: dict[str, str] = Field(default_factory=dict)  # by name, for one plane of outputs
    metrics: Names = ()  # "module:function" of (model, step), read at every checkpoint
    rate: float = Field(default=0.05, gt=0, lt=1)  # of false discoveries: responses, flips, peaks
    sampler: SamplerConfig = SamplerConfig()
    nbeta: float | Literal["auto"] = "auto"
    localization: float | Literal["auto"] = "auto"
    schedule: Schedule = Schedule()
    execution: Execution = Execution()

    @model_validator(mode="after")
    def _check_strengths(self) -> Self:
        for name in ("nbeta", "localization"):
            value = getattr(self, name)
            if value == "auto":
                if self.sampler.name != Auto.name:
                    raise ValueError(
                        f"{name} 'auto' is chosen by sampler 'auto'; with sampler "
                        f"{self.sampler.name!r} give {name} as a number."
                    )
            elif not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be 'auto' or a finite number ≥ 0, got {value!r}.")
        return self

    @model_validator(mode="after")
    def _check_reading(self) -> Self:
        as_observables(self.observables, self.probes)
        if self.reading == "response" and not self.probes:
            raise ValueError("a response needs data to respond to; give probes.")
        if self.form == "two-chain" and self.reading != "response":
            raise ValueError("form is of susceptibilities, of reading 'response'.")
        if self.control is not None and self.reading != "response":
            raise ValueError("a control is of susceptibilities, of reading 'response'.")
        if self.control == "prior" and self.nbeta == 0:
            raise ValueError("nbeta is 0: this is the control 'prior' itself; leave control out.")
        if self.form == "two-chain" and WHOLE in (*self.components, *self.final_components):
            raise ValueError(
                f"the two-chain form compares parts with the whole model; name parts (as heads) as "
                f"components, and not {WHOLE!r}, which is sampled besides."
            )
        for name in ("measures", "metrics", "influence", "runs"):
            if getattr(self, name) and self.reading != "development":
                verb = "is" if name == "influence" else "are"
                raise ValueError(f"{name} {verb} read along checkpoints, by reading 'development'.")
        if self.runs and "outputs" not in self.measures:
            raise ValueError("runs are compared by their outputs; add 'outputs' to the measures.")
        taken = sorted({TRAIN, QUERY} & self.probes.keys()) if self.influence else []
        if taken:
            raise ValueError(
                f"a probe cannot be named {taken[0]!r} beside influence, whose samples have that "
                "name; give it another."
            )
        named = len(set(self.checkpoints)) if isinstance(self.checkpoints, tuple) else FEWEST
        if self.reading == "development" and (self.checkpoints == "last" or named < FEWEST):
            raise ValueError(
                f"stages need at least {FEWEST} checkpoints, got {self.checkpoints!r}; give all."
            )
        return self

    @model_validator(mode="after")
    def _check_audit(self) -> Self:
        if (self.audit is not None) != (self.reading == "audit"):
            raise ValueError("audit says what reading 'audit' asks; give both or neither.")
        if self.audit is not None and self.task == "classification":
            raise ValueError("behaviours are answers of language or reward models.")
        return self

    @model_validator(mode="after")
    def _check_reference(self) -> Self:
        if (self.task == "dpo") != (self.reference is not None):
            raise ValueError(
                "task 'dpo' compares with the model that post-training began from; give it as "
                "reference, and give none with other tasks."
            )
        return self

    def as_control(self) -> Self:
        """The study that samples this one's control, with chains of its own."""
        seed = self.schedule.seed + CONTROL_SEED
        changes: dict[str, Any] = {"control": None, "schedule": replace(self.schedule, seed=seed)}
        if self.control == "prior":
            changes["nbeta"] = 0.0
        else:
            changes["data"] = self.data.model_copy(update={"shuffled": True})
        return self.model_copy(update=changes)

    @property
    def every_probe(self) -> dict[str, DataConfig]:
        """The probes, and of influence its training samples and queries, whose traces are kept."""
        if self.influence is None:
            return self.probes
        own = {TRAIN: self.influence.train or self.data, QUERY: self.influence.query}
        return self.probes | own

    def load(self, data: DataConfig, model: Path | str) -> Samples:
        """Samples of the task's form, with the reference's log-probabilities where it has one."""
        samples = data.load(model, FORMS.get(self.task, "text"))
        if self.reference is None:
            return samples
        return tasks.with_reference(samples, load_model(self.reference))

    def plan(self) -> Plan:
        """Kernel, schedule and execution."""
        return Plan(kernel=self.sampler.build(), schedule=self.schedule, execution=self.execution)

    def build_task(self) -> Task:
        """The task by its name."""
        task: Task = TASKS[self.task]()
        return task

    def series(self) -> list[Checkpoint | None]:
        """The checkpoints to read, by step; [None] for a model that is one."""
        if not holds_checkpoints(self.model):
            if self.checkpoints == "last":
                return [None]
            if not is_hub_id(self.model):
                raise ValueError(
                    f"{self.model} is one model, not a directory of checkpoints; leave "
                    "checkpoints out."
                )
        found = list_checkpoints(self.model, revisions=self.revision)
        if self.reading == "development" and self.checkpoints == "all" and len(found) < FEWEST:
            raise ValueError(
                f"{self.model} has {len(found)} checkpoints; stages need at least {FEWEST}, better "
                "20 and more, at steps of equal ratios."
            )
        if self.checkpoints == "last":
            return [found[-1]]
        if self.checkpoints == "all":
            return list(found)
        by_step = {checkpoint.step: checkpoint for checkpoint in found}
        missing = [step for step in self.checkpoints if step not in by_step]
        if missing:
            raise ValueError(
                f"{self.model} has no checkpoint at steps {missing}; it has {sorted(by_step)}."
            )
        return [by_step[step] for step in sorted(set(self.checkpoints))]
