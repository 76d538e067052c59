"""Singular models with a known learning coefficient, and a run killed at random moments."""

import json
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
from sampling_cases import draw, noisy_quadratic
from creode.store import Store
Store.snapshot_due = lambda self: True
testbed = noisy_quadratic()
draw(testbed, out=sys.argv[1], draws=60, chains=3, probes={"p": testbed.data}, traces=("p",),
     on_progress=lambda done, total: print(done, flush=True))
"""


@pytest.mark.slow
def test_a_run_killed_at_five_random_moments_ends_with_the_same_bytes(tmp_path):
    def start(out):
        path = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
        command = [sys.executable, "-c", CHILD, str(out), json.dumps(path)]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    def finish(out):
        child = start(out)
        child.communicate()
        assert child.returncode == 0

    finish(tmp_path / "whole")
    rng = random.Random(0)
    for _ in range(5):
        child = start(tmp_path / "killed")
        for _ in range(rng.randint(10, 70)):  # of 375 chain-steps
            assert child.stdout.readline()
        time.sleep(rng.uniform(0, 0.02))
        child.kill()
        assert child.wait() == -signal.SIGKILL
        child.stdout.close()
    finish(tmp_path / "killed")
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")
