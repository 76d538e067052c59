"""A run with anything left "auto": a pilot, the chains it chose, and their companion.

Here: the one way to run a posterior, whether its settings are chosen or given; the companion at
twice the localization, whose losses tell how much the tether hides.
Not here: how settings are chosen (calibration.py), chains (unit.py), the extrapolation
(geometry/tether.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import xarray as xr

from creode.data import Samples
from creode.posterior import LocalPosterior
from creode.sampling.auto import Auto
from creode.sampling.baoab import BAOAB
from creode.sampling.calibration import Calibration
from creode.sampling.ending import Limits
from creode.sampling.observables import WeightFunction
from creode.sampling.pilot import calibrate
from creode.sampling.unit import (
    SINGLE_UNIT,
    Plan,
    Progress,
    decide_mode,
    on_device,
    prepare,
    run_chains,
)

if TYPE_CHECKING:
    from creode.store import Store

TIGHTER = "tighter"  # names the companion in the keys of the store
TIGHTENING = 2.0  # its localization over that of the run; geometry/tether.py builds on it
MOST_HALVINGS = 3


def run_posterior(
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
    """Run the chains of a posterior that the store does not hold yet; settle what is "auto".

    Args:
        posterior: what is sampled.
        probes, unit, observables, store, checkpoint, on_progress: as for `run_chains`.
        plan: kernel or `Auto`, schedule, execution.
    """
    unknown = sorted(set(plan.schedule.traces) - set(probes))
    if unknown:
        raise ValueError(f"traces names {unknown}; the probes are {sorted(probes)}.")
    plan = replace(plan, schedule=plan.schedule.fitted_to(posterior.data))
    posterior = on_device(posterior, plan.execution.device)
    if not isinstance(plan.kernel, Auto):
        posterior.strengths()
        return run_chains(
            posterior, probes, plan, unit=unit, observables=observables, store=store,
            checkpoint=checkpoint, on_progress=on_progress,
        )  # fmt: skip
    if plan.schedule.control_variates:
        raise ValueError(
            "sampler 'auto' measures the noise of plain minibatch gradients; with "
            "control_variates give a kernel, nbeta and localization of your own."
        )
    auto = plan.kernel
    chosen = find_calibration(posterior, probes, plan, store)
    posterior = replace(posterior, nbeta=chosen.nbeta, localization=chosen.localization)
    plan = replace(
        plan,
        kernel=chosen.kernel,
        schedule=chosen.schedule(plan.schedule),
        most_halvings=MOST_HALVINGS,
    )
    # Readings of a study are of one length, whatever they cost.
    left = auto.budget - chosen.pilot_evaluations if unit == SINGLE_UNIT else None
    limits = Limits(
        relative_error=auto.relative_error,
        gradients=None if left is None else round(left * chosen.share_of_budget),
    )
    draws = run_chains(
        posterior, probes, replace(plan, limits=limits), unit=unit, observables=observables,
        store=store, checkpoint=checkpoint, on_progress=on_progress,
    )  # fmt: skip
    if not chosen.tighter_draws:
        return draws
    tighter = replace(posterior, localization=TIGHTENING * chosen.localization)
    shorter = replace(
        plan.schedule, burnin=chosen.tighter_burnin, draws=chosen.tighter_draws, traces=()
    )
    if left is not None:
        limits = replace(limits, gradients=left - draws.attrs["gradient_evaluations"])
    companion = run_chains(
        tighter, {}, replace(plan, schedule=shorter, limits=limits),
        unit=(*unit, TIGHTER), store=store,
    )  # fmt: skip
    return with_tighter(draws, companion)


def with_tighter(draws: xr.DataTree, companion: xr.DataTree) -> xr.DataTree:
    """The draws with `tighter_excess` (chain, tighter_draw), L(w) − L(w*) of the companion.

    The attribute tighter_evaluations says what it cost, in gradients of a chain.
    """
    excess = (companion["loss"] - companion["init_loss"]).rename(draw="tighter_draw")
    root = draws.to_dataset().assign(tighter_excess=excess)
    root.attrs["tighter_evaluations"] = companion.attrs["gradient_evaluations"]
    return xr.DataTree(root, children={name: node.copy() for name, node in draws.children.items()})


def find_calibration(
    posterior: LocalPosterior,
    probes: Mapping[str, Samples],
    plan: Plan,
    store: Store | None = None,
    *,
    on_round: Progress | None = None,
) -> Calibration:
    """What an automatic plan comes to: as the run's record says, else by a pilot, then recorded.

    Raises:
        TypeError: the plan has a kernel of its own, so there is nothing to find.
    """
    if not isinstance(plan.kernel, Auto):
        raise TypeError(f"only sampler 'auto' is calibrated, got {plan.kernel!r}.")
    known = None if store is None else store.resolved.get("calibration")
    if known is not None:
        return Calibration.of(known)
    posterior = on_device(posterior, plan.execution.device)
    schedule = plan.schedule.fitted_to(posterior.data)
    trial = BAOAB(step_size=1e-9, friction=1.0)  # costs what any step of it costs
    tried = replace(plan, kernel=trial, schedule=schedule)
    given = replace(posterior, nbeta=1.0, localization=1.0)
    prepare(given, probes, tried, ())  # what is wrong is said before the pilot
    mode = decide_mode(given, tried, store)
    chosen = calibrate(
        posterior, plan.kernel, schedule, plan.execution, mode=mode, on_round=on_round
    )
    if store is not None:
        store.resolve("calibration", chosen.record())
    return chosen
