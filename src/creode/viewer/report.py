"""What a report shows: the labelled results of one run, checked once.

Here: the container the viewer reads.
Not here: computing any of it (geometry/, diagnostics/), reading a run directory (study.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import xarray as xr

from creode.viewer.development_report import DevelopmentReport

ReadingKey = tuple[int | None, str]  # (checkpoint in training steps, component)

READING_VARIABLES = (
    "llc",
    "llc_se",
    "llc_variance",
    "llc_variance_se",
    "ess",
    "rhat",
    "virial",
    "virial_se",
    "temperature",
    "temperature_se",
    "ok",
    "reasons",
)
READING_DIMS = ("checkpoint", "component")
TRACE_DIMS = {
    "loss": ("chain", "draw"),
    "init_loss": ("chain", "draw"),
    "running_llc": ("chain", "draw"),
    "autocorrelation": ("chain", "lag"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """The results one page shows. Parts that are left empty are left out of the page."""

    title: str
    llc: xr.Dataset  # of creode.llc: scalars, or dims among (checkpoint, component)
    llc_on: Mapping[str, xr.Dataset] = field(default_factory=dict)  # probe -> data-refined llc
    training: xr.Dataset | None = None  # dim step: loss, and held-out losses by domain; nats
    traces: Mapping[ReadingKey, xr.Dataset] = field(default_factory=dict)  # see TRACE_DIMS
    development: DevelopmentReport | None = None  # None: stages were not sought
    config: Mapping[str, object] = field(default_factory=dict)
    command: str = ""  # the command that repeats the run
    warnings: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_readings("llc", self.llc)
        for probe, dataset in self.llc_on.items():
            check_readings(f"llc_on[{probe!r}]", dataset)
        if self.training is not None:
            _check_training(self.training)
        check_traces(self.traces, self.llc)


def checkpoints(llc: xr.Dataset) -> list[int | None]:
    """Training steps of the readings; one None if no checkpoint is known."""
    values = llc["checkpoint"].values if "checkpoint" in llc.coords else None
    if values is None:
        step = llc.attrs.get("checkpoint")
        return [None if step is None else int(step)]
    return [int(step) for step in values.reshape(-1)]


def components(llc: xr.Dataset) -> list[str]:
    """Names of the components of the readings, in their stored order."""
    if "component" not in llc.coords:
        return [str(llc.attrs.get("component", "full"))]
    return [str(name) for name in llc["component"].values.reshape(-1)]


def keys(llc: xr.Dataset) -> list[ReadingKey]:
    """Every (checkpoint, component) of the readings, checkpoints first."""
    return [(step, name) for step in checkpoints(llc) for name in components(llc)]


def check_readings(what: str, dataset: xr.Dataset) -> None:
    """Raise if the readings cannot be shown.

    Raises:
        ValueError: a variable is missing, or there are other dimensions than READING_DIMS.
    """
    _require(what, dataset, READING_VARIABLES, "the result of creode.llc(draws)")
    strange = set(dataset["llc"].dims) - set(READING_DIMS)
    if strange:
        raise ValueError(
            f"{what} has dimensions {dataset['llc'].dims}; a report shows scalars or dimensions "
            f"among {READING_DIMS}. Select or average over {sorted(map(str, strange))} first."
        )


def check_traces(traces: Mapping[ReadingKey, xr.Dataset], llc: xr.Dataset | None) -> None:
    """Raise if chains are of no reading, or cannot be drawn.

    Raises:
        ValueError: they are, or cannot.
    """
    known = [] if llc is None else keys(llc)
    for key, trace in traces.items():
        if key not in known:
            raise ValueError(
                f"traces has a reading {key!r} that llc does not; use the pairs "
                f"(checkpoint, component) of llc, such as {next(iter(known), None)!r}."
            )
        _check_trace(key, trace)


def _check_training(training: xr.Dataset) -> None:
    _require("training", training, ("loss",), "a Dataset with dim step and the variable loss")
    for name, values in training.data_vars.items():
        if values.dims != ("step",):
            raise ValueError(
                f"training[{name!r}] has dimensions {values.dims}; each loss needs one, 'step'."
            )
    if "step" not in training.coords:
        raise ValueError("training has no coordinate 'step'; give the training step of each loss.")


def _check_trace(key: ReadingKey, trace: xr.Dataset) -> None:
    _require(f"traces[{key!r}]", trace, TRACE_DIMS, "a Dataset with the variables of TRACE_DIMS")
    for name, dims in TRACE_DIMS.items():
        if set(trace[name].dims) != set(dims):
            raise ValueError(
                f"traces[{key!r}][{name!r}] has dimensions {trace[name].dims}; it needs {dims}."
            )


def _require(what: str, dataset: xr.Dataset, names: Iterable[str], give: str) -> None:
    missing = [name for name in names if name not in dataset]
    if missing:
        raise ValueError(f"{what} lacks {', '.join(missing)}; give {give}.")
