"""What a study will cost, before it runs: units of work, time, memory and disk.

A few real steps and draws of the first and the last component are run on this machine, with the
study's model, data, probes and way to compute, and scaled up.

Here: the trial and the scaling.
Not here: the study itself (run.py), how chains are computed (sampling/).
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import PurePosixPath

from creode.posterior import LocalPosterior
from creode.sampling import BAOAB, Auto, Plan, Schedule, run_posterior
from creode.sampling.calibration import PILOT_SHARE, STEP_COST, Lengths
from creode.sampling.probes import as_probes, pairs_with_minibatches
from creode.sampling.unit import decide_mode
from creode.store.units import serialise
from creode.study.config import StudyConfig
from creode.study.margins import margins_of, observables_of
from creode.study.run import list_units, load_study_model

TRIAL_BURNIN, TRIAL_DRAWS, TRIAL_STEPS_PER_DRAW = 4, 5, 3  # five blocks of draws, as in a run
SCALAR_BYTES = 8
PAGE = 4096  # bytes that file systems give out at least


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a study will take on this machine."""

    units: int  # posteriors: checkpoints × components
    chains: int  # of each
    steps: int  # gradient evaluations of a chain
    draws: int  # of a chain, at each of which every probe is scored
    mode: str  # chains in turn or side by side
    seconds_per_step: float  # of all chains
    seconds_per_draw: float  # of all chains, what scoring probes adds to a step
    seconds: float  # in all
    memory_bytes: int  # peak of the process
    disk_bytes: int  # of the draws
    pilot: bool  # nβ, γ and step size are yet to be chosen; the time for that is counted in full


def plan_study(study: StudyConfig) -> Cost:
    """Time a few steps and draws of a study's first and last component, and scale them up.

    Raises:
        ValueError: the study cannot be run.
    """
    series, plan, task = study.series(), study.plan(), study.build_task()
    model = load_study_model(study, series[-1])
    source = study.model if series[-1] is None else series[-1].path
    data = study.load(study.data, source)
    probes = as_probes({name: study.load(probe, source) for name, probe in study.probes.items()})
    observables = observables_of(study, probes, margins_of(study, source))
    units = list_units(study, series, model)
    kernel, schedule = plan.kernel, plan.schedule.fitted_to(data)
    automatic = isinstance(kernel, Auto)
    if isinstance(kernel, Auto):
        schedule = _chosen(kernel, schedule, accompanied=study.localization == "auto")
        kernel = BAOAB(step_size=1e-9, friction=1.0)  # costs what any step of it costs
    per_step, per_draw, setup, disk = [], [], [], []
    mode = None
    for unit in {unit.component: unit for unit in (units[0], units[-1])}.values():
        posterior = LocalPosterior(
            model, task, data, component=unit.component,
            nbeta=1.0 if study.nbeta == "auto" else study.nbeta,
            localization=1.0 if study.localization == "auto" else study.localization,
        )  # fmt: skip
        tried = Plan(
            kernel=kernel,
            schedule=replace(
                schedule,
                burnin=TRIAL_BURNIN,
                draws=TRIAL_DRAWS,
                steps_per_draw=TRIAL_STEPS_PER_DRAW,
            ),
            execution=plan.execution,
        )
        mode = mode or decide_mode(posterior, tried, None)
        width = schedule.chains if mode == "vectorised" else 1
        blocks = schedule.chains // width
        tried = replace(
            tried,
            schedule=replace(tried.schedule, chains=width),
            execution=replace(plan.execution, mode=mode),
            pairs=pairs_with_minibatches(schedule, len(data)),  # as the whole run will
        )
        ends = [time.perf_counter()]

        def on_progress(done: int, total: int, ends: list[float] = ends) -> None:
            ends.append(time.perf_counter())

        tree = run_posterior(
            posterior,
            probes,
            tried,
            observables=observables,
            on_progress=on_progress,
        )
        took = [after - before for before, after in pairwise(ends)]
        plain = statistics.median(took[step] for step in range(1, len(took)) if not _is_draw(step))
        drawn = statistics.median(took[step] for step in range(len(took)) if _is_draw(step))
        per_step.append(blocks * plain)
        per_draw.append(blocks * max(drawn - plain, 0.0))
        setup.append(took[0])
        size = on_disk({name: len(content) for name, content in serialise(tree).items()})
        scalars = sum(
            values.size for values in tree.to_dataset().data_vars.values() if "draw" in values.dims
        )
        more = scalars / TRIAL_DRAWS * (schedule.draws - TRIAL_DRAWS)
        disk.append(blocks * (size + SCALAR_BYTES * max(more, 0.0)))
    gradient, draw = statistics.mean(per_step), statistics.mean(per_draw)
    step = gradient * STEP_COST if automatic else gradient
    each = schedule.num_steps * step + schedule.draws * draw + statistics.mean(setup)
    pilot = PILOT_SHARE * plan.kernel.budget * gradient if isinstance(plan.kernel, Auto) else 0.0
    assert mode is not None
    return Cost(
        units=len(units),
        chains=schedule.chains,
        steps=schedule.num_steps,
        draws=schedule.draws,
        mode=mode,
        seconds_per_step=step,
        seconds_per_draw=draw,
        seconds=len(units) * each + pilot,
        memory_bytes=peak_bytes(),
        disk_bytes=round(len(units) * statistics.mean(disk)),
        pilot=automatic,
    )


def on_disk(sizes: Mapping[str, int]) -> int:
    """What files take by name, in whole pages, with a page for each folder and their root."""
    folders = {parent for name in sizes for parent in PurePosixPath(name).parents}
    return PAGE * (sum(-(-size // PAGE) for size in sizes.values()) + len(folders))


def peak_bytes() -> int:
    """The most memory this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _is_draw(step: int) -> bool:
    since = step - TRIAL_BURNIN
    return since >= 0 and (since + 1) % TRIAL_STEPS_PER_DRAW == 0


def _chosen(kernel: Auto, schedule: Schedule, *, accompanied: bool) -> Schedule:
    """The lengths that the pilot will give the chains."""
    lengths = Lengths.of(kernel, accompanied=accompanied)
    return replace(
        schedule,
        burnin=lengths.burnin,
        draws=lengths.draws,
        steps_per_draw=lengths.steps_per_draw,
    )
