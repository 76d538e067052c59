"""Automatic runs as a whole: the companion at twice the tether, lost chains, interruption."""

import functools

import numpy as np
import pytest
import torch

import creode
from creode.sampling import BAOAB, Auto, Execution, Plan, Schedule, unit
from creode.sampling.ending import Limits
from creode.sampling.stride import Stride
from creode.store import Store
from creode.study import open_draws
from creode.study.config import SamplerConfig
from creode.testbeds import quadratic
from oracles import llc_quadratic
from sampling_cases import EIGENVALUES, assert_same, noisy_quadratic

SEQUENTIAL = Execution(mode="sequential")


def automatic(testbed, out=None, *, budget=800, mode="sequential", nbeta="auto", **auto):
    posterior = creode.LocalPosterior(testbed.model, testbed.task, testbed.data, nbeta=nbeta)
    return creode.sample(
        posterior, sampler=Auto(budget=budget, **auto), chains=2, batch_size=len(testbed.data),
        execution=Execution(mode=mode), out=out,
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["sequential", "vectorised"])
def test_the_companion_is_drawn_at_twice_the_tether(mode):
    draws = automatic(quadratic(EIGENVALUES, num_samples=4), budget=6000, mode=mode, nbeta=0.5)
    gamma = draws.attrs["localization"]
    reading = creode.llc(draws)
    shift = llc_quadratic(EIGENVALUES, 0.5, gamma) - llc_quadratic(EIGENVALUES, 0.5, 2 * gamma)
    assert abs(float(reading.tether_shift) - shift) < 4 * float(reading.tether_shift_se)
    assert float(reading.tether_shift_se) < 0.2 * shift
    assert not np.allclose(draws["tighter_excess"].values[0], draws["tighter_excess"].values[1])


def test_without_extrapolation_there_is_no_companion():
    draws = automatic(noisy_quadratic(), extrapolate=False)
    assert "tighter_excess" not in draws
    reading = creode.llc(draws)
    assert float(reading.llc) == float(reading.llc_tethered)


def test_a_run_directory_gives_the_companion_back(tmp_path):
    draws = automatic(noisy_quadratic(), out=str(tmp_path / "run"))
    assert_same(draws, open_draws(tmp_path / "run"))
    assert "tighter_excess" in open_draws(tmp_path / "run")


@pytest.mark.parametrize("mode", ["sequential", "vectorised"])
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path, monkeypatch, mode):
    whole = automatic(noisy_quadratic(), mode=mode)
    write, written = Store.write, []

    def interrupted(store, key, tree):
        write(store, key, tree)
        written.append(key)
        if len(written) in (1, 2):
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "write", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            automatic(noisy_quadratic(), out=str(tmp_path / "run"), mode=mode)
    resumed = automatic(noisy_quadratic(), out=str(tmp_path / "run"), mode=mode)
    assert_same(whole, resumed)
    assert len(written) == len(set(written))


def test_a_block_that_lost_a_chain_runs_again_with_half_the_step():
    testbed = quadratic(EIGENVALUES, num_samples=4)
    posterior = creode.LocalPosterior(
        testbed.model, testbed.task, testbed.data, nbeta=100.0, localization=1.0
    )
    unstable = BAOAB(step_size=5 / (100 * max(EIGENVALUES)) ** 0.5, friction=1.0)
    plan = Plan(
        kernel=unstable, schedule=Schedule(chains=2, draws=40, burnin=1000, batch_size=4),
        execution=SEQUENTIAL,
    )  # fmt: skip
    lost = unit.run_chains(posterior, {}, plan)
    assert bool((lost["failed_at"] >= 0).all())
    kept = unit.run_chains(posterior, {}, Plan(**vars(plan) | {"most_halvings": 2}))
    assert bool((kept["failed_at"] < 0).all())
    quarter = BAOAB(step_size=unstable.step_size / 4, friction=1.0)
    assert_same(kept, unit.run_chains(posterior, {}, Plan(**vars(plan) | {"kernel": quarter})))


def test_the_callers_model_leaves_as_it_came():
    testbed = noisy_quadratic()
    before = {name: p.detach().clone() for name, p in testbed.model.named_parameters()}
    automatic(testbed)
    for name, parameter in testbed.model.named_parameters():
        assert torch.equal(parameter, before[name])


def read_to(error, *, mode, budget=3000, out=None, **options):
    testbed = quadratic(EIGENVALUES, num_samples=4)
    asked = creode.LocalPosterior(testbed.model, testbed.task, testbed.data)
    sampler = Auto(budget=budget, relative_error=error)
    return creode.sample(
        asked, {"probe": testbed.data}, sampler=sampler, batch_size=4, out=out,
        execution=Execution(mode=mode), **options,
    )  # fmt: skip


@functools.cache
def vectorised_to(error):
    return read_to(error, mode="vectorised")


@pytest.mark.parametrize("mode", ["sequential", "vectorised"])
def test_chains_end_once_the_error_asked_for_is_reached(mode):
    to = vectorised_to if mode == "vectorised" else functools.partial(read_to, mode=mode)
    whole, early, never = (to(error) for error in (None, 0.05, 1e-4))
    assert "ended_by" not in whole.attrs
    assert (early.attrs["ended_by"], never.attrs["ended_by"]) == ("standard error", "budget")
    assert early.sizes["draw"] < whole.sizes["draw"] == never.sizes["draw"]
    reading = creode.llc(early)
    assert float(reading.llc_tethered_se) < (0.05 if mode == "vectorised" else 0.08) * 3.5
    assert float(reading.ess) >= 100
    assert early.attrs["gradient_evaluations"] < 0.9 * whole.attrs["gradient_evaluations"]


def test_what_is_kept_of_chains_that_end_early_is_the_beginning_of_whole_ones():
    whole, early = (vectorised_to(error) for error in (None, 0.05))
    draws = early.sizes["draw"]
    for name in ("loss", "virial", "observed"):
        assert np.array_equal(early[name].values, whole[name].values[:, :draws])
    blocks = int(early["block_of_draw"].max()) + 1
    probe = early["probes/probe"].to_dataset()
    assert probe.sizes["block"] == blocks < whole["probes/probe"].sizes["block"]
    trace = early["observed"].sel(observable="loss")
    apart = trace - trace.mean("draw")
    unit = early["probes/probe"]["loss"] - early["probes/probe"]["loss"].mean("draw")
    by_hand = (apart * unit).sum("draw") / (draws - 1)
    kept = probe["cov"].sel(observable="loss").mean("block")
    np.testing.assert_allclose(kept.mean("sample"), by_hand, rtol=1e-6)


def test_an_early_end_is_found_again_after_an_interruption(tmp_path):
    whole = read_to(0.05, mode="sequential", chains=2, budget=3000)

    class StoppedError(Exception):
        pass

    def stop(done, total):
        if done >= 1200:
            raise StoppedError

    with pytest.raises(StoppedError):
        read_to(0.05, mode="sequential", chains=2, budget=3000, out=str(tmp_path), on_progress=stop)
    again = read_to(0.05, mode="sequential", chains=2, budget=3000, out=str(tmp_path))
    assert_same(whole, again)


@pytest.mark.parametrize("error", [0, 1.0, -0.1, "small"])
def test_an_error_that_is_none_is_refused(error):
    with pytest.raises(ValueError, match="relative_error must be between 0 and 1"):
        Auto(relative_error=error)


def test_a_study_has_readings_of_one_length():
    with pytest.raises(ValueError, match="leave out relative_error"):
        SamplerConfig(name="auto", relative_error=0.1).build()


def test_a_run_whose_steps_come_in_many_parts_ends_within_its_budget(monkeypatch):
    """Here every step is said to need three parts."""
    whole = vectorised_to(None)
    parts = Stride.parts

    def dearer(stride, step):
        count, length = parts(stride, step)
        return (3 * count, length / 3) if stride.fixed else (count, length)

    monkeypatch.setattr(Stride, "parts", dearer)
    cut = read_to(None, mode="vectorised", budget=3000)
    assert cut.attrs["ended_by"] == "budget"
    assert cut.sizes["draw"] < whole.sizes["draw"]
    spent = cut.attrs["gradient_evaluations"] + cut.attrs["tighter_evaluations"]
    assert 0.5 * 3000 < spent <= 3000


def test_a_rule_without_limits_is_none():
    assert Limits().rule([], share=1.0) is None
