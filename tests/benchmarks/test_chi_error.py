"""Errors of susceptibilities as the benchmark states them, against noise of known size."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SOURCE = Path(__file__).resolve().parents[2] / "benchmarks" / "chi_error.py"
spec = importlib.util.spec_from_file_location("benchmark_chi_error", SOURCE)
chi_error = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = chi_error
spec.loader.exec_module(chi_error)
Effort, Ran = chi_error.Effort, chi_error.Ran
HEADS = ("l0h0", "l1h0")


def ran(chains, seconds=1.0, error=None, two_chain=None):
    return Ran(
        seconds=seconds, cpu_seconds=2 * seconds, disk_bytes=0, peak_bytes=0, chains=chains,
        two_chain=two_chain, error=error, facts={},
    )  # fmt: skip


def runs_of(scale, *, rounds=4, chains=4, units=4000, shared=0.0, seed=0):
    """χ of mean square `scale`² at every unit, noise of a chain 2·scale, of a whole round
    `shared`·scale."""
    rng = np.random.default_rng(seed)
    truth = {head: rng.normal(size=units) * scale for head in HEADS}
    found = []
    for _ in range(rounds):
        run = {}
        for head, chi in truth.items():
            noise = 2 * rng.normal(size=(chains, units)) + shared * rng.normal(size=units)
            values = chi + scale * noise
            run[head] = ran(values, error=np.full(units, scale), two_chain=3 * values.mean(0))
        found.append(run)
    return found


def test_relative_errors_are_those_of_the_noise_whatever_the_scale():
    for scale in (1e-3, 50.0):
        error = chi_error.relative_error(runs_of(scale), HEADS)
        assert error.by_chains == pytest.approx(2 / 4**0.5, rel=0.03)
        assert error.by_rounds == pytest.approx(1.0, rel=0.05)
        assert error.told == pytest.approx(1.0, rel=0.03)
    assert chi_error.two_chain_error(runs_of(7.0), HEADS) == pytest.approx(1.0, rel=0.05)


def test_noise_that_chains_share_shows_between_rounds_alone():
    error = chi_error.relative_error(runs_of(1.0, shared=2.0, rounds=8), HEADS)
    assert error.by_chains == pytest.approx(1.0, rel=0.1)
    assert error.by_rounds == pytest.approx(5**0.5, rel=0.1)


def test_agreement_of_one_truth_falls_with_the_noise_alone():
    one, other = runs_of(1.0), runs_of(1.0)
    assert chi_error.agreement(one, other, HEADS) == pytest.approx(1.0)
    fresh = runs_of(1.0, seed=1)
    assert abs(chi_error.agreement(one, fresh, HEADS)) < 0.05


def test_costs_are_scaled_to_all_heads_and_the_full_model_counts_once():
    effort = Effort(heads=HEADS, num_heads=16, rounds=1, threads=1, quick=True)
    run = {"l0h0": ran(None, 2.0), "l1h0": ran(None, 3.0)}
    assert chi_error.of_all_heads([run], "seconds", effort) == [40.0]
    assert chi_error.of_all_heads([run | {"full": ran(None, 7.0)}], "cpu_seconds", effort) == [94.0]
