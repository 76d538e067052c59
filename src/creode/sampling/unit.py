"""One unit of work: all chains of one posterior, block by block, resumed where they stopped.

Here: checks before the first step, blocks of chains, snapshots, the labelled result.
Not here: the loop (engine.py), the choice between in turn and side by side (choice.py), what is
"auto" (automatic.py).
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
import xarray as xr

from creode.data import Samples
from creode.fingerprint import model_fingerprint, task_fingerprint
from creode.posterior import LocalPosterior
from creode.sampling.auto import Auto
from creode.sampling.baoab import BAOAB
from creode.sampling.block import unit_losses
from creode.sampling.borrow import borrowed
from creode.sampling.choice import ResolvedMode, choose_mode, make_block
from creode.sampling.control import ControlledBlock, gradient_of_all
from creode.sampling.ending import BY_BUDGET, Limits
from creode.sampling.engine import Engine, Enough, Problem
from creode.sampling.flat import FlatWeights
from creode.sampling.kernel import Kernel, Target
from creode.sampling.memory import check_memory
from creode.sampling.observables import WeightFunction, at_anchor, describe_observables
from creode.sampling.passes import pass_size
from creode.sampling.prefix import cached_rows, frozen_prefix, pays
from creode.sampling.probes import (
    DATA_PROBE,
    Probe,
    baseline,
    data_subset,
    pairs_with_minibatches,
)
from creode.sampling.schedule import Execution, Schedule
from creode.tasks import validate
from creode.version import __version__

if TYPE_CHECKING:
    from creode.store import Store

Progress = Callable[[int, int], None]  # chain-steps done, chain-steps in all
SINGLE_UNIT = ("anchor", "draws")  # the unit of a call of `sample`


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a posterior is sampled: kernel, schedule, execution."""

    kernel: Kernel | Auto
    schedule: Schedule = field(default_factory=Schedule)
    execution: Execution = field(default_factory=Execution)
    most_halvings: int = 0  # of the step size, when a block of chains loses one of them
    limits: Limits = field(default_factory=Limits)  # where chains end before their last draw
    rows: bool | None = None  # the frozen prefix of the data's rows is kept; None: if it pays
    pairs: bool | None = None  # minibatches compared with themselves at w*; None: if affordable

    def record(self) -> dict[str, Any]:
        """The plan as plain values, for a run's record."""
        return {
            "sampler": {"name": self.kernel.name, **asdict(cast("Any", self.kernel))},
            "schedule": asdict(self.schedule),
            "execution": asdict(self.execution),
        }


def describe(
    posterior: LocalPosterior,
    probes: Mapping[str, Samples],
    observables: Mapping[str, WeightFunction | str] | None = None,
) -> dict[str, Any]:
    """What identifies a posterior, its probes and observables, as plain values."""
    component = posterior.component
    if not isinstance(component, str):
        component = Samples(columns={k: v[None] for k, v in component.items()}).fingerprint()
    return {
        "posterior": {
            "model": model_fingerprint(posterior.model),
            "task": task_fingerprint(posterior.task),
            "data": posterior.data.fingerprint(),
            "nbeta": posterior.nbeta,
            "localization": posterior.localization,
            "component": component,
        },
        "probes": {name: samples.fingerprint() for name, samples in probes.items()},
        "observables": describe_observables(observables or {}),
    }


def run_chains(
    posterior: LocalPosterior,
    probes: Mapping[str, Samples],
    plan: Plan,
    *,
    unit: tuple[str, ...] = SINGLE_UNIT,
    observables: Mapping[str, WeightFunction | str] | None = None,
    store: Store | None = None,
    checkpoint: int | None = None,
    on_progress: Progress | None = None,
) -> xr.DataTree:
    """Run every block of chains of one posterior that the store does not hold yet.

    Args:
        posterior: what is sampled, on the device of the run; nβ and γ are numbers.
        probes: named samples whose losses are recorded at every draw.
        plan: kernel, schedule (its batch no larger than the data), execution; nothing is "auto".
        unit: names this unit of work, in the seeds and in the store.
        observables: what is observed beside the loss, checked; see `creode.sample`.
        store: where finished blocks and snapshots go; None keeps all in memory.
        checkpoint: training steps of the model, kept with the draws.
        on_progress: called with (chain-steps done, chain-steps in all).
    """
    schedule = plan.schedule
    problem: Problem | None = None
    if store is None or "mode" not in store.resolved:
        # What is wrong is said before timing.
        problem = prepare(posterior, probes, plan, unit, observables)
    mode = decide_mode(posterior, plan, store)
    width = schedule.chains if mode == "vectorised" else 1
    blocks: list[xr.DataTree] = []
    for first in range(0, schedule.chains, width):
        chains = range(first, min(first + width, schedule.chains))
        key = (*unit, f"block_{first}")
        if store is not None and store.has(key):
            blocks.append(cast(xr.DataTree, store.read(key)["/".join(key)]))
            continue
        problem = problem or prepare(posterior, probes, plan, unit, observables)
        for halvings in range(plan.most_halvings + 1):
            attempt = key if not halvings else (*key, f"halved_{halvings}")
            tree = _run_block(
                posterior,
                replace(problem, kernel=_halved(problem.kernel, halvings)),
                plan,
                mode,
                chains,
                on_step=_report(on_progress, first, width, schedule),
                enough=plan.limits.rule(blocks, share=width / schedule.chains),
                snapshots=partial(_snapshots, store, attempt),
            )
            if not bool((tree["failed_at"] >= 0).any()):
                break
        if checkpoint is not None:
            tree.attrs["checkpoint"] = checkpoint
        if store is not None:
            store.write(key, tree)
        blocks.append(tree)
    return merge_chains(blocks)


def _run_block(
    posterior: LocalPosterior,
    problem: Problem,
    plan: Plan,
    mode: ResolvedMode,
    chains: Sequence[int],
    *,
    on_step: Callable[[int], None] | None,
    enough: Enough | None,
    snapshots: Callable[[Engine], Callable[[Engine], None] | None],
) -> xr.DataTree:
    """One block of chains; its weights and gradients are gone when it returns."""
    flat = FlatWeights(posterior.model, posterior.selection())
    schedule = plan.schedule
    of_all = (
        gradient_of_all(posterior, flat, plan.execution, schedule.batch_size)
        if schedule.control_variates
        else None
    )
    with borrowed(posterior.model):
        shown = posterior if problem.rows is None else replace(posterior, task=problem.rows.task)
        block = make_block(shown, flat, plan.execution, mode=mode, chains=len(chains))
        if of_all is not None:
            block = ControlledBlock(block, torch.cat(flat.anchor(0, flat.size)), of_all)
        engine = Engine(problem, block, flat, chains)
        engine.run(on_step=on_step, on_state=snapshots(engine), enough=enough)
        tree: xr.DataTree = engine.tree()
    tree.attrs = _attrs(posterior, problem, plan, flat.size)
    cost = 2 if schedule.control_variates else 1
    tree.attrs["gradient_evaluations"] += cost * (engine.evaluations - schedule.num_steps)
    if engine.stride is not None:
        tree.attrs["step_length"] = engine.stride.fixed
    if engine.ended_by is not None or plan.limits.relative_error is not None:
        tree.attrs["ended_by"] = engine.ended_by or BY_BUDGET
    return tree


def merge_chains(blocks: Sequence[xr.DataTree]) -> xr.DataTree:
    """One tree of all chains from the trees of their blocks."""
    nodes = {}
    for path, node in blocks[0].subtree_with_keys:
        if node.has_data:
            nodes["/" if path == "." else path] = xr.concat(
                [(block if path == "." else block[path]).to_dataset() for block in blocks],
                dim="chain",
                data_vars="minimal",
                coords="minimal",
                compat="override",
                combine_attrs="override",
            )
    return xr.DataTree.from_dict(nodes)


def decide_mode(posterior: LocalPosterior, plan: Plan, store: Store | None) -> ResolvedMode:
    """In turn or side by side: as the run's record says, else by timing, which is then recorded."""
    recorded = None if store is None else store.resolved.get("mode")
    if recorded is not None:
        return recorded  # type: ignore[no-any-return]
    assert not isinstance(plan.kernel, Auto)  # settled before
    mode = choose_mode(posterior, plan.kernel, plan.schedule, plan.execution)
    if store is not None:
        store.resolve("mode", mode)
    return mode


def prepare(
    posterior: LocalPosterior,
    probes: Mapping[str, Samples],
    plan: Plan,
    unit: tuple[str, ...],
    observables: Mapping[str, WeightFunction | str] | None = None,
) -> Problem:
    """Check everything that can be wrong, and take losses and observables at w*."""
    assert not isinstance(plan.kernel, Auto)  # settled before
    model, task, data, schedule = posterior.model, posterior.task, posterior.data, plan.schedule
    _check_weights(model)
    if schedule.control_variates and schedule.batch_size == len(data):
        raise ValueError(
            f"batch_size is all {len(data)} samples, so gradients have no noise; "
            "leave out control_variates, which would only double the cost."
        )
    pairs = pairs_with_minibatches(schedule, len(data)) if plan.pairs is None else plan.pairs
    with borrowed(model):
        for samples in (data, *probes.values()):
            validate(task, model, samples)
        named = dict(probes)
        if not pairs:
            named[DATA_PROBE] = data_subset(data, schedule.batch_size, schedule.seed)
        check_memory(model, task, named, schedule, 1 + len(observables or {}))
        size = pass_size(model, task, data, schedule.batch_size, plan.execution.microbatch)
        scored = [
            Probe(
                name,
                samples,
                unit_losses(model, task, samples, size),
                len(data) if name == DATA_PROBE else None,
            )
            for name, samples in named.items()
        ]
        again = pays(schedule, len(data)) if plan.rows is None else plan.rows
        rows = (
            cached_rows(
                model, task, posterior.selection(), data, size, plan.execution.forward_dtype
            )
            if again
            else None
        )
        return Problem(
            target=Target.of(posterior),
            kernel=plan.kernel,
            schedule=schedule,
            data=data if rows is None else rows.data,
            rows=rows,
            baseline=baseline(model, task, data, size) if pairs else None,
            probes=scored,
            observables=at_anchor(observables or {}, scored, model),
            prefix=frozen_prefix(
                model,
                task,
                posterior.selection(),
                named,
                size,
                plan.execution.forward_dtype,
            ),
            pass_size=size,
            unit=unit,
        )


def _halved(kernel: Kernel, times: int) -> Kernel:
    """The kernel with its step size halved so many times."""
    return kernel.halved(times) if times and isinstance(kernel, BAOAB) else kernel


def _snapshots(
    store: Store | None, key: tuple[str, ...], engine: Engine
) -> Callable[[Engine], None] | None:
    """Resume the engine from the unit's snapshot, and take new ones when they are due."""
    if store is None:
        return None
    state = store.load_snapshot(key)
    if state is not None:
        engine.restore(state)

    def on_state(engine: Engine) -> None:
        if store.snapshot_due():
            store.save_snapshot(key, engine.state())

    return on_state


def _report(
    on_progress: Progress | None, first: int, width: int, schedule: Schedule
) -> Callable[[int], None] | None:
    if on_progress is None:
        return None
    before, total = first * schedule.num_steps, schedule.chains * schedule.num_steps
    return lambda step: on_progress(before + step * width, total)


def on_device(posterior: LocalPosterior, device: str | None) -> LocalPosterior:
    """The posterior on the device asked for: a copy of the model if it lies elsewhere."""
    here = next(posterior.model.parameters()).device
    there = here if device is None else torch.device(device)
    if there.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but torch sees no CUDA device.")
    model = posterior.model
    if here.type != there.type or there.index not in (None, here.index):
        model = copy.deepcopy(model).to(there)
    return replace(posterior, model=model, data=posterior.data.to(there))


def _check_weights(model: torch.nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            bad = int((~torch.isfinite(parameter)).sum())
            raise ValueError(
                f"{bad} of {parameter.numel()} weights of {name!r} are NaN or infinite; "
                "load another checkpoint."
            )


def _attrs(
    posterior: LocalPosterior, problem: Problem, plan: Plan, num_parameters: int
) -> dict[str, Any]:
    schedule, component = problem.schedule, posterior.component
    record = replace(plan, kernel=problem.kernel).record()
    return {
        "nbeta": posterior.nbeta,
        "localization": posterior.localization,
        "num_parameters": num_parameters,
        "num_samples": len(problem.data),
        "batch_size": schedule.batch_size,
        "component": component if isinstance(component, str) else "masks",
        "layers_skipped": 0 if problem.prefix is None else problem.prefix.depth,
        "layers_cached": 0 if problem.rows is None else problem.rows.depth,
        "loss_from": "probe" if problem.baseline is None else "minibatch",
        "sampler": json.dumps(record["sampler"], sort_keys=True),
        "steps_per_draw": schedule.steps_per_draw,
        "burnin": schedule.burnin,
        "gradient_evaluations": schedule.gradient_evaluations(len(problem.data)),
        "seed": schedule.seed,
        "creode_version": __version__,
        "ignorance": float(getattr(posterior.task, "ignorance", math.nan)),
        "model_fingerprint": model_fingerprint(posterior.model),
        "data_fingerprint": posterior.data.fingerprint(),
    }
