"""Draw from a local posterior: the one call.

Here: its settings, checked, and the run directory it may write to.
Not here: running the chains (unit.py), studies of many checkpoints or components (study.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

import xarray as xr

from creode.posterior import LocalPosterior
from creode.sampling.auto import Auto
from creode.sampling.automatic import run_posterior
from creode.sampling.kernel import Kernel
from creode.sampling.observables import WeightFunction, as_observables
from creode.sampling.probes import as_probes
from creode.sampling.schedule import Execution, Schedule
from creode.sampling.unit import Plan, Progress, describe


class ScheduleFields(TypedDict, total=False):
    """Keyword arguments of `sample` that make its `Schedule`."""

    chains: int
    draws: int
    burnin: int
    steps_per_draw: int
    batch_size: int
    seed: int
    traces: tuple[str, ...]
    control_variates: bool


def sample(
    posterior: LocalPosterior,
    probes: Mapping[str, Any] | None = None,
    *,
    observables: Mapping[str, WeightFunction | str] | Sequence[str] | None = None,
    sampler: Kernel | Auto | Literal["auto"] = "auto",
    out: str | None = None,
    execution: Execution | None = None,
    on_progress: Progress | None = None,
    **schedule: Unpack[ScheduleFields],
) -> xr.DataTree:
    """Draw from the local posterior around the weights that the model holds now.

    Args:
        posterior: what is sampled. Its model leaves as it came.
        probes: named sets of samples whose losses are recorded at every draw.
        observables: what is observed at every draw beside the excess loss of the data: names of
            probes (their mean loss), or a mapping from names to functions of the model that return
            a scalar tensor (or to names of probes). Their covariance with the loss of every unit
            of every probe is kept.
        sampler: "auto" or `Auto(budget=...)`: a pilot chooses kernel, step size, burn-in and
            number of draws, and nβ and γ where the posterior leaves them "auto"; or a kernel,
            for example `SGLD(step_size=1e-5)`.
        out: a run directory (path or fsspec URL); an interrupted run in it continues.
        execution: mode, device, precision of the forward pass, microbatch.
        on_progress: called with (chain-steps done, chain-steps in all).
        **schedule: chains, draws, burnin, steps_per_draw, batch_size, seed, traces,
            control_variates.

    Returns:
        A tree: at the root losses and diagnostics with dims (chain, draw), and `observed` (chain,
        draw, observable), deviations from w*; one child `probes/<name>` a probe, with moments of
        each unit's loss and `cov` (chain, block, observable, sample[, token]), whose mean over
        blocks of draws is each chain's covariance.

    Raises:
        ValueError: a setting, the data or the model cannot give a learning coefficient; or `out`
            holds a run of something else.
    """
    kernel = Auto() if isinstance(sampler, str) else sampler
    if isinstance(sampler, str) and sampler != "auto":
        raise ValueError(f'sampler must be "auto", Auto(...) or a kernel, got {sampler!r}.')
    if isinstance(kernel, Auto):
        _refuse_lengths(schedule)
    plan = Plan(kernel=kernel, schedule=Schedule(**schedule), execution=execution or Execution())
    named = as_probes(probes)
    observed = as_observables(observables, named)
    if out is None:
        return run_posterior(posterior, named, plan, observables=observed, on_progress=on_progress)
    from creode.store import Store

    config = {"kind": "sample", **plan.record(), **describe(posterior, named, observed)}
    with Store.open(out, config) as store:
        return run_posterior(
            posterior, named, plan, observables=observed, store=store, on_progress=on_progress
        )


def _refuse_lengths(schedule: ScheduleFields) -> None:
    given = [name for name in ("draws", "burnin", "steps_per_draw") if name in schedule]
    if given:
        raise ValueError(
            f"sampler='auto' chooses {', '.join(given)}; leave out what it chooses and give "
            "sampler=Auto(budget=...) for longer or shorter chains, or give a kernel."
        )
