"""Sensitivity: how λ̂ depends on the step size, nβ and γ around a choice of them.

Each cell of a small grid is sampled afresh, from w*, by chains of its own, and read. A cell at (e,
b, g) has inverse temperature b·nβ and localization g·γ, and e times the step that the rule of the
automatic sampler gives *there*, ∝ 1/√(nβh + γ): so ε moves the bias of the step and nothing else,
and nβ and γ move the posterior and nothing else. Friction follows the rule too, with nβ and γ but
not with e: where minibatches heat the chain, a larger step heats it more. Every cell runs for as
many relaxation times of its tether as every other, so cells differ in what they sample and not in
how well they mixed: steps go as η/(γε).

Here: the cells, their settings, their chains and readings, and the result with its slopes.
Not here: the choice itself (sampling/calibration.py), what a slope says (geometry/plateau.py), the
picture (viewer/), the files of a study (sensitivity_records.py).
Symbols: e, b, g factors; h curvature, ρ noise, η friction, ε step size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import xarray as xr

from creode.geometry.llc import llc
from creode.geometry.over_study import NOT_RUN
from creode.geometry.plateau import plateau
from creode.posterior import LocalPosterior
from creode.sampling.automatic import run_posterior
from creode.sampling.baoab import BAOAB, UNSTABLE
from creode.sampling.calibration import (
    BURNIN_SHARE,
    DAMPING,
    HEAT,
    USUAL_STEP,
    Calibration,
)
from creode.sampling.schedule import Execution, Schedule
from creode.sampling.unit import Plan, Progress, decide_mode, on_device

if TYPE_CHECKING:
    from creode.store import Store

AXES = ("epsilon", "nbeta", "gamma")
CELL_SHARE = 0.5  # of the steps of the run, for the cell of the choice
LEAST_STEPS = 40
SETTINGS = ("step_size", "friction", "steps")
READ = ("llc", "llc_se", "llc_variance", "ess", "rhat", "rhat_distance", "virial", "temperature")
WORDS = ("reasons", "notes")
UNIT = "sensitivity"  # names the cells' chains in their seeds

OnCell = Callable[[str, int, int], None]  # the cell, chain-steps done, chain-steps in all


class Factors(NamedTuple):
    """A cell, by what the chosen settings are multiplied with."""

    epsilon: float
    nbeta: float
    gamma: float

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"ε × {self.epsilon:g}, nβ × {self.nbeta:g}, γ × {self.gamma:g}"

    @property
    def slug(self) -> str:
        """Its name in the seeds and on disk."""
        return "_".join(f"{name}_{factor:g}" for name, factor in self._asdict().items())

    @property
    def num_moved(self) -> int:
        """In how many directions it differs from the choice."""
        return sum(factor != 1 for factor in self)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Which cells are sampled, and for how long.

    "axes" are the choice and what differs from it in one direction; "corners" also what differs in
    all three by the outermost factors; "full" is the product.
    """

    epsilon: tuple[float, ...] = (0.5, 1.0, 1.5)
    nbeta: tuple[float, ...] = (0.25, 1.0, 4.0)
    gamma: tuple[float, ...] = (0.5, 1.0, 2.0)
    cells: Literal["axes", "corners", "full"] = "axes"
    steps: int | None = None  # of a chain at the choice; None: CELL_SHARE of the run's

    def __post_init__(self) -> None:
        for name in AXES:
            factors = tuple(sorted(getattr(self, name)))
            if 1 not in factors or not all(math.isfinite(f) and f > 0 for f in factors):
                raise ValueError(
                    f"{name} must hold finite factors > 0 with 1, the choice itself, among them, "
                    f"got {getattr(self, name)!r}; for example {getattr(Grid, name)}."
                )
            if len(set(factors)) < len(factors):
                raise ValueError(f"{name} names a factor twice: {getattr(self, name)!r}.")
            object.__setattr__(self, name, factors)
        if self.cells not in ("axes", "corners", "full"):
            raise ValueError(f"cells must be 'axes', 'corners' or 'full', got {self.cells!r}.")
        if self.steps is not None and self.steps < LEAST_STEPS:
            raise ValueError(
                f"a cell needs at least {LEAST_STEPS} steps of a chain, got {self.steps!r}; "
                "half of the run's is usual."
            )

    def chosen(self) -> list[Factors]:
        """The cells, the choice first."""
        every = [Factors(*factors) for factors in product(*(getattr(self, name) for name in AXES))]
        every.sort(key=lambda cell: cell.num_moved)
        if self.cells == "full":
            return every
        ends = [{getattr(self, name)[0], getattr(self, name)[-1]} for name in AXES]
        corner = [all(f in end for f, end in zip(cell, ends, strict=True)) for cell in every]
        with_corners = self.cells == "corners"
        return [
            cell
            for cell, at_corner in zip(every, corner, strict=True)
            if cell.num_moved <= 1 or (with_corners and at_corner)
        ]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell's settings."""

    factors: Factors
    nbeta: float
    localization: float
    kernel: BAOAB
    schedule: Schedule = field(default_factory=Schedule)


def sensitivity(
    posterior: LocalPosterior,
    calibration: Calibration,
    *,
    grid: Grid | None = None,
    schedule: Schedule | None = None,
    execution: Execution | None = None,
    store: Store | None = None,
    on_progress: OnCell | None = None,
) -> xr.Dataset:
    """λ̂ over step size × nβ × γ around the settings that a pilot chose.

    Args:
        posterior: what is sampled; the settings take the place of its nβ and γ. Its model leaves as
            it came.
        calibration: the choice, of `calibrate`.
        grid: the cells and their length.
        schedule: chains, batch size and seed, as for `calibrate`; its lengths are not used.
        execution: how steps are computed.
        store: where finished blocks of chains go, and are taken from; None keeps nothing.
        on_progress: called with (the cell, chain-steps done, chain-steps in all).

    Returns:
        Dims (epsilon, nbeta, gamma), NaN and not ok with the reason "not run" where the grid has no
        cell: llc, llc_se, at the cell's own localization (nothing is extrapolated), llc_variance,
        ess, rhat, rhat_distance, virial, temperature, ok, reasons, notes as of `creode.llc`;
        step_size, friction and steps (of a chain). The coordinate epsilon is a multiple of the step
        that the rule gives at a cell's nβ and γ; nbeta and gamma are themselves, with nbeta_factor
        and gamma_factor beside them. `slope`, `slope_se`, `level`, `sentence` (direction): whether
        λ̂ is on a plateau, see `creode.geometry.plateau`. The attributes say what it cost.

    Raises:
        ValueError: nβ of the choice is 0, so there is nothing to read.
    """

    schedule = (schedule or Schedule()).fitted_to(posterior.data)
    execution = execution or Execution()
    posterior = on_device(posterior, execution.device)
    cells = settings_around(calibration, grid or Grid(), schedule)
    first = replace(posterior, nbeta=cells[0].nbeta, localization=cells[0].localization)
    plan = Plan(kernel=cells[0].kernel, schedule=cells[0].schedule, execution=execution)
    execution = replace(execution, mode=decide_mode(first, plan, store))  # once for all cells
    total = sum(cell.schedule.num_steps for cell in cells) * schedule.chains

    result = _empty(cells, calibration, NOT_RUN)
    done = evaluations = 0
    for cell in cells:
        draws = run_posterior(
            replace(posterior, nbeta=cell.nbeta, localization=cell.localization),
            {},
            Plan(kernel=cell.kernel, schedule=cell.schedule, execution=execution),
            unit=(UNIT, cell.factors.slug),
            store=store,
            on_progress=_report(on_progress, cell, done, total),
        )
        done += cell.schedule.num_steps * schedule.chains
        evaluations += draws.attrs["gradient_evaluations"]
        reading = llc(draws)
        where = {name: result.get_index(name).get_loc(_place(name, cell)) for name in AXES}
        for name in (*READ, "ok", *WORDS):
            result[name][where] = reading[name].item()
        for name, value in _settings(cell).items():
            result[name][where] = value
    result.attrs = {
        "nbeta": calibration.nbeta,
        "localization": calibration.localization,
        "step_size": calibration.step_size,
        "chains": schedule.chains,
        "batch_size": schedule.batch_size,
        "seed": schedule.seed,
        "num_cells": len(cells),
        "gradient_evaluations": evaluations,  # of a chain, all cells
        **{
            name: draws.attrs[name]
            for name in ("component", "creode_version", "model_fingerprint", "data_fingerprint")
        },
    }
    return result.merge(plateau(result), combine_attrs="override")


def settings_around(calibration: Calibration, grid: Grid, schedule: Schedule) -> list[Cell]:
    """The settings of every cell, the choice first; γ is not varied where it is 0.

    Raises:
        ValueError: nβ is 0, or a step would be unstable.
    """
    if calibration.nbeta == 0:
        raise ValueError("nbeta is 0, so llc is 0 whatever the settings; give another nbeta.")
    most = UNSTABLE / calibration.relative_step
    if max(grid.epsilon) >= most:
        raise ValueError(
            f"epsilon goes up to {max(grid.epsilon):g}, where steps are unstable; these settings "
            f"leave room below {most:.2g}."
        )
    if calibration.localization == 0:
        grid = replace(grid, gamma=(1.0,))
    steps = grid.steps or max(
        int(CELL_SHARE * calibration.schedule(schedule).num_steps), LEAST_STEPS
    )
    return [_cell(factors, calibration, steps, schedule) for factors in grid.chosen()]


def _cell(factors: Factors, chosen: Calibration, steps: int, schedule: Schedule) -> Cell:
    nbeta, gamma = factors.nbeta * chosen.nbeta, factors.gamma * chosen.localization
    stiffer = _stiffest(chosen, nbeta, gamma) / _stiffest(chosen, chosen.nbeta, chosen.localization)
    step_size = factors.epsilon * chosen.step_size / stiffer
    friction = _friction(chosen, stiffer, factors.gamma)
    slower = friction / chosen.friction * chosen.step_size / step_size / factors.gamma
    steps = max(round(steps * slower), LEAST_STEPS)
    burnin = int(steps * BURNIN_SHARE)
    steps_per_draw = max((steps - burnin) // chosen.draws, 1)
    return Cell(
        factors=factors,
        nbeta=nbeta,
        localization=gamma,
        kernel=BAOAB(
            step_size=step_size,
            friction=friction,
            relative_step=factors.epsilon * chosen.relative_step,
        ),
        schedule=replace(
            schedule,
            burnin=burnin,
            draws=(steps - burnin) // steps_per_draw,
            steps_per_draw=steps_per_draw,
            traces=(),
            control_variates=False,
        ),
    )


def _stiffest(chosen: Calibration, nbeta: float, gamma: float) -> float:
    return math.sqrt(nbeta * chosen.curvature + gamma)


def _friction(chosen: Calibration, stiffer: float, looser: float) -> float:
    """η of the rule: what damps the tether, ∝ √γ, or bounds the heat of noise, ∝ √(nβh + γ)."""
    here = _stiffest(chosen, chosen.nbeta, chosen.localization)
    noisy = USUAL_STEP * chosen.noise * here / (2 * HEAT)
    softest = DAMPING * math.sqrt(chosen.localization)
    damping = chosen.friction if noisy < 0.999 * chosen.friction else softest
    return max(damping * math.sqrt(looser), min(noisy, chosen.friction) * stiffer)


def _settings(cell: Cell) -> dict[str, float]:
    return {
        "step_size": cell.kernel.step_size,
        "friction": cell.kernel.friction,
        "steps": float(cell.schedule.num_steps),
    }


def _place(name: str, cell: Cell) -> float:
    return {"epsilon": cell.factors.epsilon, "nbeta": cell.nbeta, "gamma": cell.localization}[name]


def _empty(cells: list[Cell], chosen: Calibration, not_run: str) -> xr.Dataset:
    coords = {name: sorted({_place(name, cell) for cell in cells}) for name in AXES}
    shape = tuple(len(values) for values in coords.values())
    numbers = {name: (AXES, np.full(shape, np.nan)) for name in (*READ, *SETTINGS)}
    words = {name: (AXES, np.full(shape, "", dtype=object)) for name in WORDS}
    words["reasons"] = (AXES, np.full(shape, not_run, dtype=object))
    result = xr.Dataset({**numbers, "ok": (AXES, np.zeros(shape, dtype=bool)), **words}, coords)
    scale = chosen.localization or 1.0
    return result.assign_coords(
        nbeta_factor=result["nbeta"] / chosen.nbeta, gamma_factor=result["gamma"] / scale
    )


def _report(on_progress: OnCell | None, cell: Cell, before: int, total: int) -> Progress | None:
    if on_progress is None:
        return None
    return lambda done, _: on_progress(cell.factors.label, before + done, total)
