"""λ̂ around a choice: settings of the cells, readings against closed forms, order, refusals."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

import creode
from creode.sampling import Calibration, Execution, Schedule, calibration
from creode.sampling.automatic import run_posterior
from creode.sampling.unit import Plan
from creode.store import Store
from creode.study import Grid, sensitivity
from creode.study.sensitivity import LEAST_STEPS, settings_around
from creode.testbeds import quadratic
from oracles import llc_quadratic
from sampling_cases import EIGENVALUES, noisy_quadratic

SEQUENTIAL = Execution(mode="sequential")
NBETA, GAMMA, H = 20.0, 2.0, 4.0
STIFFEST = math.sqrt(NBETA * H + GAMMA)


def choice(**changes):
    fields = {
        "nbeta": NBETA, "localization": GAMMA,
        "step_size": calibration.RELATIVE_STEP / STIFFEST,
        "relative_step": calibration.RELATIVE_STEP,
        "friction": calibration.DAMPING * GAMMA**0.5, "burnin": 250, "draws": 150,
        "steps_per_draw": 5, "curvature": H, "noise": 0.0, "information": None,
        "pilot_evaluations": 0,
    }  # fmt: skip
    return Calibration(**fields | changes)


def heat_bound(noise):
    return calibration.USUAL_STEP * noise * STIFFEST / (2 * calibration.HEAT)


def around(testbed, chosen=None, *, batch_size=None, chains=2, mode="sequential", **grid):
    posterior = creode.LocalPosterior(testbed.model, testbed.task, testbed.data)
    return sensitivity(
        posterior, chosen or choice(), grid=Grid(**grid), execution=Execution(mode=mode),
        schedule=Schedule(chains=chains, batch_size=batch_size or len(testbed.data)),
    )  # fmt: skip


def test_the_axes_the_corners_and_the_product():
    axes, corners, full = (Grid(cells=cells).chosen() for cells in ("axes", "corners", "full"))
    assert (len(axes), len(corners), len(full)) == (7, 15, 27)
    assert {*axes} < {*corners} < {*full}
    for cells in (axes, corners, full):
        assert cells[0] == (1, 1, 1)
    assert {cell.num_moved for cell in axes} == {0, 1}
    assert {cell.num_moved for cell in corners} == {0, 1, 3}


def test_the_cell_of_the_choice_has_the_settings_chosen():
    chosen = choice()
    cell = settings_around(chosen, Grid(), Schedule())[0]
    assert (cell.nbeta, cell.localization) == (chosen.nbeta, chosen.localization)
    assert cell.kernel == chosen.kernel
    assert cell.schedule.num_steps == pytest.approx(1000 / 2, rel=0.02)
    noisy = choice(noise=0.5, friction=heat_bound(0.5))
    assert settings_around(noisy, Grid(), Schedule())[0].kernel == noisy.kernel


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_every_cell_has_the_step_and_the_heat_of_the_rule_and_as_many_relaxations(noise):
    damping = calibration.DAMPING * GAMMA**0.5
    chosen = choice(noise=noise, friction=max(damping, heat_bound(noise)))
    cells = settings_around(chosen, Grid(cells="full", steps=10_000), Schedule())
    times = []
    for cell in cells:
        assert cell.nbeta == cell.factors.nbeta * NBETA
        assert cell.localization == cell.factors.gamma * GAMMA
        stiffest = math.sqrt(cell.nbeta * H + cell.localization)
        step, friction = cell.kernel.step_size, cell.kernel.friction
        relative = calibration.RELATIVE_STEP * cell.factors.epsilon
        assert step * stiffest == pytest.approx(relative)
        assert cell.kernel.relative_step == pytest.approx(relative)
        usual = step * calibration.USUAL_STEP / calibration.RELATIVE_STEP
        heat = usual * noise * stiffest**2 / (2 * friction)
        assert heat <= calibration.HEAT * cell.factors.epsilon * (1 + 1e-9)
        if noise:
            assert heat == pytest.approx(calibration.HEAT * cell.factors.epsilon)
        else:
            assert friction == pytest.approx(calibration.DAMPING * cell.localization**0.5)
        # an overdamped tether relaxes in η/γ of time
        times.append(cell.schedule.num_steps * step * cell.localization / friction)
        assert cell.schedule.burnin == pytest.approx(0.25 * cell.schedule.num_steps, rel=0.1)
    np.testing.assert_allclose(times, times[0], rtol=0.1)


@pytest.fixture(scope="module")
def grid():
    return around(
        quadratic(EIGENVALUES, num_samples=4), chains=4, mode="vectorised", cells="corners",
        steps=800,
    )  # fmt: skip


def test_every_cell_is_read_as_its_own_posterior_says(grid):
    read = grid["reasons"] != "not run"
    assert int(read.sum()) == 15
    for place in np.argwhere(read.values):
        cell = grid.isel(dict(zip(("epsilon", "nbeta", "gamma"), place, strict=True)))
        exact = llc_quadratic(EIGENVALUES, float(cell["nbeta"]), float(cell["gamma"]))
        assert abs(float(cell["llc"]) - exact) < 4 * float(cell["llc_se"]), cell.coords
        assert float(cell["llc_se"]) < 0.15 * exact
    assert np.isnan(grid["llc"].where(~read, drop=False).values[~read.values]).all()
    assert not grid["ok"].values[~read.values].any()


def test_the_slopes_are_those_of_a_quadratic(grid):
    def slope(name, low, high):
        def at(factor):
            nbeta, gamma = (NBETA * factor, GAMMA) if name == "nbeta" else (NBETA, GAMMA * factor)
            return llc_quadratic(EIGENVALUES, nbeta, gamma)

        return math.log(at(high) / at(low)) / math.log(high / low)

    exact = {"epsilon": 0.0, "nbeta": slope("nbeta", 0.25, 4), "gamma": slope("gamma", 0.5, 2)}
    for name, value in exact.items():
        found = grid.sel(direction=name)
        error = float(found["slope_se"])
        assert error < 0.06
        assert abs(float(found["slope"]) - value) < 4 * error
    assert exact["nbeta"] > 4 * float(grid["slope_se"].sel(direction="nbeta"))  # it can be missed


def test_what_it_cost_is_said(grid):
    steps = float(grid["steps"].sum())
    assert 1.1 * steps < grid.attrs["gradient_evaluations"] < 1.3 * steps  # looks, and few parts
    assert grid.attrs["num_cells"] == 15
    assert (grid.attrs["nbeta"], grid.attrs["localization"]) == (NBETA, GAMMA)


def test_a_cell_is_the_same_whatever_the_grid_around_it():
    testbed = noisy_quadratic()
    few, many = (
        around(testbed, batch_size=8, steps=60, **grid)
        for grid in ({"epsilon": (1.0,), "gamma": (1.0,), "cells": "axes"}, {"cells": "corners"})
    )
    shared = many.sel(epsilon=few["epsilon"], nbeta=few["nbeta"], gamma=few["gamma"])
    for name in ("llc", "llc_se", "virial", "steps", "reasons"):
        xr.testing.assert_equal(few[name], shared[name])


def test_an_interrupted_grid_goes_on_and_a_larger_one_samples_only_what_is_new(tmp_path):
    testbed = noisy_quadratic()
    posterior = creode.LocalPosterior(testbed.model, testbed.task, testbed.data)
    sampled = []

    def read(where, cells="axes", stop=math.inf):
        sampled.clear()

        def watch(cell, done, total):
            if cell not in sampled:
                sampled.append(cell)
            if len(sampled) > stop:
                raise KeyboardInterrupt

        with Store.open(tmp_path / where, {"kind": "sensitivity"}) as store:
            return sensitivity(
                posterior, choice(), grid=Grid(cells=cells, steps=60), execution=SEQUENTIAL,
                schedule=Schedule(chains=2, batch_size=8), store=store, on_progress=watch,
            )  # fmt: skip

    whole = read("whole")
    assert len(sampled) == 7
    with pytest.raises(KeyboardInterrupt):
        read("parts", stop=4)
    xr.testing.assert_identical(read("parts"), whole)
    assert len(sampled) == 3
    more = read("parts", "corners")
    assert len(sampled) == 8
    shared = more["reasons"].where(whole["reasons"] != "not run", drop=True)
    assert (shared != "not run").all()


def test_a_cell_is_what_its_settings_alone_give():
    testbed = noisy_quadratic()
    grid = around(testbed, batch_size=8, steps=80, cells="axes")
    cell = settings_around(choice(), Grid(steps=80), Schedule(chains=2, batch_size=8))[3]
    posterior = creode.LocalPosterior(
        testbed.model, testbed.task, testbed.data, nbeta=cell.nbeta, localization=cell.localization
    )
    plan = Plan(kernel=cell.kernel, schedule=cell.schedule, execution=SEQUENTIAL)
    draws = run_posterior(posterior, {}, plan, unit=("sensitivity", cell.factors.slug))
    here = grid.sel(epsilon=cell.factors.epsilon, nbeta=cell.nbeta, gamma=cell.localization)
    assert float(here["llc"]) == float(creode.llc(draws).llc)


def test_a_cell_that_is_lost_says_so_and_leaves_the_others_alone():
    testbed = quadratic(EIGENVALUES, num_samples=4)
    center = next(testbed.model.parameters()).detach().flatten()[0].clone()

    def fenced(model, batch):  # no number beyond 1.6, five standard deviations of the choice
        away = next(model.parameters()).flatten()[0] - center
        return testbed.task(model, batch) + 0 * (2.56 - away**2).sqrt()

    posterior = creode.LocalPosterior(testbed.model, fenced, testbed.data)
    out = sensitivity(
        posterior, choice(), execution=SEQUENTIAL, schedule=Schedule(chains=2, batch_size=4),
        grid=Grid(steps=400, epsilon=(1.0,), nbeta=(1e-3, 1.0), gamma=(1.0,)),
    )  # fmt: skip
    lost, kept = (out.isel(nbeta=place).squeeze() for place in (0, 1))
    assert np.isnan(float(lost["llc"]))
    assert not bool(lost["ok"])
    assert "became non-finite" in str(lost["reasons"].item())
    assert np.isfinite(float(kept["llc"])), str(kept["reasons"].item())
    assert "fewer than two" in str(out["sentence"].sel(direction="nbeta").item())


def test_a_step_that_is_unstable_is_refused():
    with pytest.raises(ValueError, match=r"epsilon goes up to 2, .* room below 1.8"):
        settings_around(choice(), Grid(epsilon=(1.0, 2.0)), Schedule())


def test_without_a_tether_gamma_is_not_varied():
    out = around(
        quadratic(EIGENVALUES, num_samples=4), choice(localization=0.0, friction=4.0), steps=60
    )
    assert out.sizes == {"epsilon": 3, "nbeta": 3, "gamma": 1, "direction": 3}
    assert out.attrs["num_cells"] == 5


def test_progress_counts_every_chain_step():
    seen, testbed = [], noisy_quadratic()
    posterior = creode.LocalPosterior(testbed.model, testbed.task, testbed.data)
    out = sensitivity(
        posterior, choice(), grid=Grid(steps=60), execution=SEQUENTIAL,
        schedule=Schedule(chains=2, batch_size=8), on_progress=lambda *told: seen.append(told),
    )  # fmt: skip
    done = [told[1] for told in seen]
    assert done == sorted(done)
    assert done[-1] == seen[-1][2] == 2 * out["steps"].sum()
    assert len({told[0] for told in seen}) == 7


def test_the_callers_model_leaves_as_it_came():
    testbed = noisy_quadratic()
    before = {name: p.detach().clone() for name, p in testbed.model.named_parameters()}
    around(testbed, batch_size=8, steps=60)
    for name, parameter in testbed.model.named_parameters():
        assert torch.equal(parameter, before[name])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epsilon": (0.5, 2.0)}, "epsilon must hold finite factors > 0 with 1"),
        ({"nbeta": (1.0, -1.0)}, "nbeta must hold finite factors > 0 with 1"),
        ({"gamma": (1.0, math.inf)}, "gamma must hold finite factors"),
        ({"gamma": (1.0, 2.0, 2.0)}, "gamma names a factor twice"),
        ({"cells": "some"}, "cells must be 'axes', 'corners' or 'full', got 'some'"),
        ({"steps": LEAST_STEPS - 1}, "at least 40 steps of a chain, got 39"),
    ],
)
def test_a_grid_that_is_none_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Grid(**fields)


def test_a_control_has_no_sensitivity():
    with pytest.raises(ValueError, match="nbeta is 0, so llc is 0 whatever the settings"):
        settings_around(choice(nbeta=0.0), Grid(), Schedule())


def test_a_step_that_was_given_is_scaled_and_kept():
    given = replace(choice(), step_size=0.01)
    cell = settings_around(given, Grid(), Schedule())[0]
    assert cell.kernel == replace(given.kernel, step_size=0.01)
