"""What a study will cost, before it runs: units of work, time, memory and disk.

A few real steps and draws of the component that stages are of, and of a few others, are run on this
machine, with the study's model, data, probes and way to compute, and scaled up; so is what is
measured of checkpoints.

Here: the trial of chains, and the sum.
Not here: measures (measuring.py), the study itself (run.py), how chains are computed (sampling/).
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import xarray as xr

from creode.data import Samples
from creode.posterior import LocalPosterior
from creode.sampling import BAOAB, Auto, Plan, Schedule, run_posterior
from creode.sampling.calibration import PILOT_SHARE, STEP_COST, Lengths
from creode.sampling.choice import ResolvedMode
from creode.sampling.observables import WeightFunction
from creode.sampling.prefix import pays
from creode.sampling.probes import as_probes, pairs_with_minibatches
from creode.sampling.unit import decide_mode
from creode.store.units import serialise
from creode.study.config import StudyConfig
from creode.study.draws import TRACE
from creode.study.margins import margins_of, observables_of
from creode.study.measuring import measuring, on_disk
from creode.study.run import list_units, load_study_model, subject_of
from creode.study.traced import check_pairs, recorded

TRIAL_BURNIN, TRIAL_DRAWS, TRIAL_STEPS_PER_DRAW = 4, 5, 3  # five blocks of draws, as in a run
TRIED = 3  # components that are tried, besides the subject
SCALAR_BYTES = 8
TRACE_COPIES = 3  # of full traces in memory: recorded, in the unit's tree, as files


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
    gradients: int  # samples that a gradient is taken of, in all
    forwards: int  # samples that are scored without one, in all
    measuring_seconds: float  # of the time in all, what is not chains: models, measures, outputs
    seconds: float  # in all
    memory_bytes: int  # peak of the process
    disk_bytes: int  # of the draws and measures
    pilot: bool  # nβ, γ and step size are yet to be chosen; the time for that is counted in full


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """What one component's chains took."""

    mode: ResolvedMode
    step: float  # seconds, of all chains
    draw: float  # seconds that a draw of all chains adds
    setup: float  # seconds before the first step
    disk_bytes: float  # of a unit
    trace_bytes: int  # of full traces of a unit


def plan_study(study: StudyConfig) -> Cost:
    """Time a few steps, draws and measures of a study, and scale them up.

    Raises:
        ValueError: the study cannot be run.
    """
    series, plan, task = study.series(), study.plan(), study.build_task()
    model = load_study_model(study, series[-1])
    source = study.model if series[-1] is None else series[-1].path
    data = study.load(study.data, source)
    every = {name: study.load(probe, source) for name, probe in study.every_probe.items()}
    probes = as_probes(every)
    check_pairs(study, probes)
    observables = observables_of(study, probes, margins_of(study, source))
    units = list_units(study, series, model)
    runs = 1 if study.control is None else 2  # the control is as many units again
    kernel, schedule = plan.kernel, plan.schedule.fitted_to(data)
    automatic = isinstance(kernel, Auto)
    if isinstance(kernel, Auto):
        schedule = _chosen(kernel, schedule, accompanied=study.localization == "auto")
        kernel = BAOAB(step_size=1e-9, friction=1.0)  # costs what any step of it costs
    subject = subject_of(unit.component for unit in units if unit.checkpoint is series[0])
    counts = _stand_ins([unit.component for unit in units], subject)
    whole = LocalPosterior(
        model, task, data,
        nbeta=1.0 if study.nbeta == "auto" else study.nbeta,
        localization=1.0 if study.localization == "auto" else study.localization,
    )  # fmt: skip
    planned = replace(plan, kernel=kernel, schedule=schedule)
    trials: dict[str, _Trial] = {}
    forwards = 0
    for component, count in counts.items():
        scored, own = recorded(study, probes, planned, component, subject)
        posterior = replace(whole, component=component)
        trials[component] = _try(
            posterior, scored, own, observables, next(iter(trials.values()), None)
        )
        forwards += count * _forwards(scored, schedule, len(data))

    def mean(name: str) -> float:
        return statistics.fmean(
            (float(getattr(trial, name)) for trial in trials.values()), weights=counts.values()
        )

    beside = measuring(study, series, task, data, planned)
    step = mean("step") * (STEP_COST if automatic else 1.0)
    each = schedule.num_steps * step + schedule.draws * mean("draw") + mean("setup")
    pilot = PILOT_SHARE * plan.kernel.budget * mean("step") if isinstance(plan.kernel, Auto) else 0
    gradients = schedule.chains * schedule.gradient_evaluations(len(data)) * schedule.batch_size
    traces = max(trial.trace_bytes for trial in trials.values())
    return Cost(
        units=runs * len(units),
        chains=schedule.chains,
        steps=schedule.num_steps,
        draws=schedule.draws,
        mode=trials[subject].mode,
        seconds_per_step=step,
        seconds_per_draw=mean("draw"),
        gradients=runs * len(units) * gradients + beside.gradients,
        forwards=runs * forwards + beside.forwards,
        measuring_seconds=beside.seconds,
        seconds=runs * len(units) * each + pilot + beside.seconds,
        memory_bytes=peak_bytes() + max(TRACE_COPIES * traces, beside.memory_bytes),
        disk_bytes=round(runs * len(units) * mean("disk_bytes")) + beside.disk_bytes,
        pilot=automatic,
    )


def _stand_ins(names: Sequence[str], subject: str) -> dict[str, int]:
    """The components that are tried, and how many units each stands for.

    The subject is tried for itself. The deeper a component lies, the less of the model its steps
    pass through, so the others are parted into few groups in their order, and the middle of each is
    tried.
    """
    each = Counter(names)
    counts = {subject: each.pop(subject)}
    others = list(each)  # in their order
    for group in np.array_split(np.arange(len(others)), min(TRIED, max(len(others), 1))):
        if len(group):
            counts[others[group[len(group) // 2]]] = sum(each[others[i]] for i in group)
    return counts


def peak_bytes() -> int:
    """The most memory this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _try(
    posterior: LocalPosterior,
    probes: Mapping[str, Samples],
    plan: Plan,
    observables: Mapping[str, WeightFunction | str],
    before: _Trial | None,
) -> _Trial:
    """Run a few steps of one block of a component's chains; `before`: another component's."""
    schedule = plan.schedule
    few = replace(
        schedule,
        burnin=TRIAL_BURNIN,
        draws=TRIAL_DRAWS,
        steps_per_draw=TRIAL_STEPS_PER_DRAW,
    )
    tried = replace(plan, schedule=few)
    mode = decide_mode(posterior, tried, None) if before is None else before.mode
    width = schedule.chains if mode == "vectorised" else 1
    blocks = schedule.chains // width
    tried = replace(
        tried,
        schedule=replace(few, chains=width),
        execution=replace(plan.execution, mode=mode),
        pairs=pairs_with_minibatches(schedule, len(posterior.data)),  # as the whole run will
        rows=pays(schedule, len(posterior.data)),
    )
    ends = [time.perf_counter()]
    tree = run_posterior(
        posterior,
        probes,
        tried,
        observables=observables,
        on_progress=lambda done, total: ends.append(time.perf_counter()),
    )
    took = [after - start for start, after in pairwise(ends)]
    plain = statistics.median(took[step] for step in range(1, len(took)) if not _is_draw(step))
    drawn = statistics.median(took[step] for step in range(len(took)) if _is_draw(step))
    size = on_disk({name: len(content) for name, content in serialise(tree).items()})
    more = schedule.draws - TRIAL_DRAWS
    traces = sum(node[TRACE].nbytes for node in tree.subtree if TRACE in node.data_vars)
    by_draw = SCALAR_BYTES * _scalars(tree) + traces / TRIAL_DRAWS
    return _Trial(
        mode=mode,
        step=blocks * plain,
        draw=blocks * max(drawn - plain, 0.0),
        setup=took[0],
        disk_bytes=blocks * (size + max(by_draw * more, 0.0)),
        trace_bytes=round(blocks * traces * schedule.draws / TRIAL_DRAWS),
    )


def _scalars(tree: xr.DataTree) -> float:
    """Numbers that are kept of each draw of a block."""
    values = tree.to_dataset().data_vars.values()
    return sum(one.size for one in values if "draw" in one.dims) / TRIAL_DRAWS


def _forwards(probes: Mapping[str, Samples], schedule: Schedule, num_samples: int) -> int:
    """Samples of a unit that are scored at w* and at every draw."""
    pairs = pairs_with_minibatches(schedule, num_samples)
    scored = sum(map(len, probes.values())) + (0 if pairs else schedule.batch_size)
    at_anchor = scored + (num_samples if pairs else 0)
    return at_anchor + schedule.chains * schedule.draws * scored


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
