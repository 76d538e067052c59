"""Singular models with a known learning coefficient, and a run killed at random moments."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_sample import contents

import creode
from creode.sampling import BAOAB
from creode.testbeds import deep_linear, normal_crossing, superposition
from oracles import normal_crossing_moments


def read(testbed, *, nbeta, localization, sampler, **options):
    options = {"chains": 8, "draws": 500, "burnin": 1000, "steps_per_draw": 20} | options
    target = creode.LocalPosterior(
        testbed.model, testbed.task, testbed.data, nbeta=nbeta, localization=localization
    )
    return creode.llc(
        creode.sample(
            target,
            sampler=sampler,
            batch_size=len(testbed.data),
            execution=creode.Execution(mode="vectorised"),
            **options,
        )
    )


def agrees(reading, exact, *, share=0.0):
    """Within 4 standard errors (and `share` of an asymptotic truth); the error under 5 %."""
    value, error = float(reading.llc), float(reading.llc_se)
    assert error < 0.05 * exact, (value, error)
    assert abs(value - exact) < 4 * error + share * exact, (value, error, exact)


@pytest.mark.slow
@pytest.mark.parametrize("exponents", [(1, 1), (2,), (1, 2)])
def test_normal_crossings_have_the_law_at_finite_temperature(exponents):
    nbeta, gamma = 1000.0, 10.0
    exact = normal_crossing_moments(exponents, nbeta, gamma).mean
    reading = read(
        normal_crossing(exponents), nbeta=nbeta, localization=gamma,
        sampler=BAOAB(step_size=0.008, friction=3.0), steps_per_draw=30,
    )  # fmt: skip
    agrees(reading, exact)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("widths", "rank"), [((5, 3, 4), 0), ((5, 3, 4), 2), ((6, 8, 8, 5), 3), ((4, 4, 4), 1)]
)
def test_reduced_rank_and_deep_linear_networks_have_their_learning_coefficient(widths, rank):
    testbed = deep_linear(widths, rank, num_samples=widths[0], seed=1)
    reading = read(
        testbed, nbeta=1e6, localization=100.0, sampler=BAOAB(step_size=3e-4, friction=10.0),
        draws=500, burnin=5000, steps_per_draw=40,
    )  # fmt: skip
    agrees(reading, testbed.llc, share=0.10)


@pytest.mark.slow
def test_superposition_has_half_the_rank_of_its_hessian():
    testbed = superposition(5)
    reading = read(
        testbed, nbeta=1e5, localization=1.0, sampler=BAOAB(step_size=4e-3, friction=3.0)
    )
    agrees(reading, testbed.llc, share=0.10)


CHILD = """
import json, sys
import torch
torch.set_num_threads(1)
sys.path[:0] = json.loads(sys.argv[2])
from cases import draw, noisy_quadratic
from creode.store import Store
Store.snapshot_due = lambda self: True
testbed = noisy_quadratic()
draw(testbed, out=sys.argv[1], draws=150, chains=3, probes={"p": testbed.data}, traces=("p",))
"""


@pytest.mark.slow
def test_a_run_killed_at_five_random_moments_ends_with_the_same_bytes(tmp_path):
    def start(out):
        path = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
        return subprocess.Popen(
            [sys.executable, "-c", CHILD, str(out), json.dumps(path)], start_new_session=True
        )

    begin = time.monotonic()
    assert start(tmp_path / "whole").wait(600) == 0
    duration = time.monotonic() - begin
    rng, kills = random.Random(0), 0
    for _ in range(5):
        child = start(tmp_path / "killed")
        time.sleep(duration * rng.uniform(0.4, 0.95))
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            kills += 1
        child.wait()
    assert start(tmp_path / "killed").wait(600) == 0
    assert kills
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")
