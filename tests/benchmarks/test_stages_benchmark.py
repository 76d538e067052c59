"""Trajectories of the benchmark of stages, and how they are scored."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import stages as benchmark  # noqa: E402


def told(places, kinds, midpoints):
    def steps(u):
        return benchmark.FIRST * (benchmark.LAST / benchmark.FIRST) ** np.asarray(u, float)

    ends = (("low", -0.01), ("step", 0.0), ("high", 0.01))
    return xr.Dataset(
        {
            **{f"boundary_{n}": ("boundary", steps(np.add(places, d))) for n, d in ends},
            "boundary_kind": ("boundary", np.array(kinds)),
            "stage_midpoint": ("stage", steps(midpoints)),
            "stage_midpoint_low": ("stage", steps(np.subtract(midpoints, 0.01))),
            "stage_midpoint_high": ("stage", steps(np.add(midpoints, 0.01))),
        }
    )


@pytest.mark.parametrize("family", benchmark.FAMILIES)
def test_a_case_is_the_same_whenever_it_is_made_and_as_described(family):
    one, same = (benchmark.case(family, 5, 2) for _ in range(2))
    assert one.readings.identical(same.readings)
    assert not one.readings.identical(benchmark.case(family, 6, 2).readings)
    assert 20 <= one.readings.sizes["checkpoint"] <= 60
    assert 0.01 <= one.error <= 0.1
    u = np.linspace(0, 1, one.readings.sizes["checkpoint"])
    extent = np.ptp(one.truth.curve(np.linspace(0, 1, 1001))) or 1.0
    off = (one.readings["llc"] - one.truth.curve(u)) / extent
    assert float(np.sqrt((off**2).mean())) == pytest.approx(one.error, rel=0.6)


def test_scores_count_what_is_found_covered_and_extra(monkeypatch):
    truth = benchmark.Truth(np.zeros_like, np.array([0.3, 0.7]), "boundary")
    given = benchmark.Case(xr.Dataset(), truth, 0.05)
    out = told([0.305, 0.66, 0.9], ["onset", "end", "maximum"], [np.nan])
    monkeypatch.setattr(benchmark, "stages", lambda _: out)
    score = benchmark.score(given)
    assert (score.found, score.true, score.extra) == (2, 2, 1)
    assert (score.covered, score.judged) == (1, 2)
    turn = given._replace(truth=truth._replace(what="turn", places=np.array([0.9])))
    assert benchmark.score(turn)[:5] == (1, 1, 0, 1, 1)
    given = benchmark.case("1 step", 1, 0)
    (place,), edges = given.truth.places, given.truth.edges
    out = told([edges[0], edges[1] + 0.04], ["onset", "end"], [np.nan, place - 0.2, np.nan])
    score = benchmark.score(given)
    assert (score.found, score.extra, score.judged, score.oracle) == (0, 1, 0, 1)
    assert (score.edges_covered, score.edges_judged) == (1, 2)
