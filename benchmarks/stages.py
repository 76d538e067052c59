"""Are stages found where they are, and none where there are none?

    python benchmarks/stages.py --seed 1 --out stages.jsonl

Trajectories of known boundaries at 20 to 60 checkpoints, evenly in log step, with errors of 1 % to
10 % of the range, each checkpoint's its own, all of them told 0.7 to 1.3 times what they are.
The settings of creode.development.stages were chosen on seeds 0 and 7 to 9: judge them on others.

Families: 1 to 4 logistic steps (the truth is where they are steepest), a smooth rise and fall and
a triangle (where they turn), lines with 1 to 3 kinks, and three without a boundary: a constant, a
line in log step, and a gentle saturation. How many steps of a staircase can be placed at all is
told by least squares that know their number and shape and start at the truth.

Here: the trajectories, what is counted.
Not here: stages (creode.development).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from report import Report, note
from scipy.optimize import least_squares
from scipy.special import expit

from creode.development import stages

Array = NDArray[np.float64]
Curve = Callable[[Array], Array]
FIRST, LAST = 10.0, 1e5  # steps
NEAR = 0.05  # of log time: found
SAME = 0.1  # of log time: a boundary whose interval is judged
LOW_ERROR = 0.04  # of the range: errors up to it are shown apart


class Truth(NamedTuple):
    """A curve over log time from 0 to 1, and its boundaries."""

    curve: Curve
    places: Array
    what: str  # in the result: "midpoint", "turn" or "boundary"
    edges: Array = np.empty(0)  # of steps: where the rate is half of its peak


class Case(NamedTuple):
    """A trajectory."""

    readings: xr.Dataset
    truth: Truth
    error: float  # mean, as a share of the range


def steps(rng: np.random.Generator, num: int) -> Truth:
    while True:
        places, width = np.sort(rng.uniform(0.1, 0.9, num)), rng.uniform(0.005, 0.03, num)
        apart = np.diff(places)
        if (apart > 0.12).all() and (apart > 5 * (width[1:] + width[:-1])).all():
            break
    height = rng.uniform(0.4, 1.0, num)
    half = 2 * np.arccosh(np.sqrt(2.0)) * width
    return Truth(
        lambda u: expit((u[:, None] - places) / width) @ height,
        places,
        "midpoint",
        np.sort(np.concatenate([places - half, places + half])),
    )


def smooth_hump(rng: np.random.Generator, num: int) -> Truth:
    top, left, right = rng.uniform(0.35, 0.65), *rng.uniform(0.15, 0.35, 2)
    sign = rng.choice([-1.0, 1.0])

    def curve(u: Array) -> Array:
        return sign * np.exp(-0.5 * ((u - top) / np.where(u < top, left, right)) ** 2)

    return Truth(curve, np.array([top]), "turn")


def triangle(rng: np.random.Generator, num: int) -> Truth:
    top, end = rng.uniform(0.3, 0.7), rng.uniform(0.0, 0.5)
    return Truth(lambda u: np.interp(u, [0, top, 1], [0, 1, end]), np.array([top]), "turn")


def kinks(rng: np.random.Generator, num: int) -> Truth:
    while True:
        num_kinks = rng.integers(1, 4)
        places = np.sort(rng.uniform(0.15, 0.85, num_kinks))
        rate = rng.normal(0, 1, num_kinks + 1) * (rng.random(num_kinks + 1) < 0.75)
        corners = np.concatenate([[0.0], places, [1.0]])
        heights = np.append(0.0, np.cumsum(rate * np.diff(corners)))
        sharp = np.abs(np.diff(rate)).min() > np.ptp(heights)
        if sharp and (np.diff(places) > 0.18).all():
            break
    return Truth(lambda u: np.interp(u, corners, heights), places, "boundary")


def featureless(curve: Curve) -> Truth:
    return Truth(curve, np.empty(0), "boundary")


def saturation(rng: np.random.Generator, num: int) -> Truth:
    speed = rng.uniform(0.5, 1.5)
    return featureless(lambda u: 1 - np.exp(-speed * u))


FAMILIES: dict[str, tuple[Callable[[np.random.Generator, int], Truth], int]] = {
    "1 step": (steps, 1),
    "2 steps": (steps, 2),
    "3 steps": (steps, 3),
    "4 steps": (steps, 4),
    "smooth rise and fall": (smooth_hump, 1),
    "triangle": (triangle, 1),
    "lines with kinks": (kinks, 0),
    "constant": (lambda rng, _: featureless(np.zeros_like), 0),
    "line": (lambda rng, _: featureless(np.copy), 0),
    "gentle saturation": (saturation, 0),
}


def case(family: str, seed: int, number: int) -> Case:
    rng = np.random.default_rng([seed, list(FAMILIES).index(family), number])
    make, num = FAMILIES[family]
    truth = make(rng, num)
    u = np.linspace(0, 1, rng.integers(20, 61))
    extent = float(np.ptp(truth.curve(np.linspace(0, 1, 1001)))) or 1.0
    error = extent * np.clip(rng.uniform(0.01, 0.1) * rng.lognormal(0, 0.3, len(u)), 0.01, 0.1)
    value = truth.curve(u) + error * rng.standard_normal(len(u))
    told = error * rng.uniform(0.7, 1.3)
    readings = xr.Dataset(
        {"llc": ("checkpoint", value), "llc_se": ("checkpoint", told)},
        {"checkpoint": FIRST * (LAST / FIRST) ** u},
    )
    return Case(readings, truth, float(error.mean()) / extent)


class Score(NamedTuple):
    """How one trajectory was read."""

    found: int  # boundaries with one told within 5 % of log time
    true: int
    extra: int  # told beyond 5 % of all true ones
    covered: int  # by the interval of the one told nearest, of those within 10 %
    judged: int
    edges_covered: int  # the same of edges of steps
    edges_judged: int
    seconds: float
    error: float
    oracle: int  # found by least squares from the truth


def score(given: Case) -> Score:
    start = time.perf_counter()
    out = stages(given.readings)
    seconds = time.perf_counter() - start
    told = _told(out, "stage_midpoint", "")
    if given.truth.what != "midpoint":
        told = _told(out, "boundary", "_step")
    if given.truth.what == "turn":
        told = told[out["boundary_kind"].isin(["maximum", "minimum"]).values]
    away = np.abs(told[:, :1] - given.truth.places)  # (told, true)
    found = int((away.min(0, initial=np.inf) < NEAR).sum())
    extra = int((away.min(1, initial=np.inf) >= NEAR).sum()) if len(told) else 0
    if given.truth.what == "midpoint" and not len(out["boundary"]):
        extra = 0  # a trend without boundaries
    return Score(
        found,
        len(given.truth.places),
        extra,
        *_covered(told, given.truth.places),
        *_covered(_told(out, "boundary", "_step"), given.truth.edges),
        seconds,
        given.error,
        _oracle(given),
    )


def _oracle(given: Case) -> int:
    """Steps within 5 % when their number and shape are known and the search starts at the truth."""
    if given.truth.what != "midpoint":
        return 0
    u = np.log(given.readings["checkpoint"].values / FIRST) / np.log(LAST / FIRST)
    value, error = given.readings["llc"].values, given.readings["llc_se"].values
    places, edges = given.truth.places, given.truth.edges
    width = (edges[1::2] - edges[::2]) / (4 * np.arccosh(np.sqrt(2.0)))

    def shapes(theta: Array) -> Array:
        c, log_width = np.split(theta, 2)
        steps = expit((u[:, None] - c) / np.exp(log_width))
        return np.hstack([np.ones((len(u), 1)), steps]) / error[:, None]

    def misfit(theta: Array) -> Array:
        design = shapes(theta)
        return design @ np.linalg.lstsq(design, value / error, rcond=None)[0] - value / error

    n = len(places)
    bounds = [np.r_[np.zeros(n), np.full(n, np.log(1e-3))], np.r_[np.ones(n), np.zeros(n)]]
    fitted = least_squares(misfit, np.r_[places, np.log(width)], bounds=bounds).x[:n]
    return int((np.abs(fitted - places) < NEAR).sum())


def _told(out: xr.Dataset, name: str, middle: str) -> Array:
    """(told, 3): place, low, high, in log time."""
    ends = [out[f"{name}{end}"].values for end in (middle, "_low", "_high")]
    told: Array = np.log(np.stack(ends, 1) / FIRST) / np.log(LAST / FIRST)
    return told[np.isfinite(told).all(1)]


def _covered(told: Array, places: Array) -> tuple[int, int]:
    """Of the true places near one told: how many its interval holds, and how many there are."""
    covered = judged = 0
    for place in places:
        away = np.abs(told[:, 0] - place)
        if away.min(initial=np.inf) < SAME:
            _, low, high = told[away.argmin()]
            judged += 1
            covered += bool(low <= place <= high)
    return covered, judged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the trajectories")
    parser.add_argument("--cases", type=int, default=60, help="trajectories a family")
    parser.add_argument("--only", nargs="*", help="families")
    parser.add_argument("--quick", action="store_true", help="try the script, measure nothing")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    count = 2 if given.quick else given.cases
    report = Report("stages", out=given.out, seed=given.seed, cases=count)
    for family in given.only or FAMILIES:
        scores = [score(case(family, given.seed, k)) for k in range(count)]
        note(f"{family}: {sum(s.seconds for s in scores):.0f} s")
        summarise(report, family, scores)
    print(report.table())


def summarise(report: Report, family: str, scores: list[Score]) -> None:
    def add(measurement: str, values: list[float], notes: str = "") -> None:
        if values:
            mean = f"{100 * np.mean(values):.0f} %"
            report.add(family, measurement, values, unit="share", notes=f"{mean}{notes}")

    if scores[0].true:
        for name, some in (
            ("", scores),
            (", errors up to 4 %", [s for s in scores if s.error <= LOW_ERROR]),
            (", errors above 4 %", [s for s in scores if s.error > LOW_ERROR]),
        ):
            true = sum(s.true for s in some)
            add(f"found within 5 %{name}", [s.found / s.true for s in some], f" of {true}")
            if any(s.oracle for s in some):
                add(f"by least squares{name}", [s.oracle / s.true for s in some], f" of {true}")
        for what, counts in (
            ("in the 95 % interval", [(s.covered, s.judged) for s in scores]),
            ("edges in theirs", [(s.edges_covered, s.edges_judged) for s in scores]),
        ):
            covered, judged = np.sum(counts, 0)
            if judged:
                share = f"{100 * covered / judged:.0f} % of {judged}"
                report.add(family, what, [c / j for c, j in counts if j], unit="share", notes=share)
        add("all of them and no other", [float(s.found == s.true and not s.extra) for s in scores])
    add("any that is none", [float(s.extra > 0) for s in scores])
    report.add(family, "time", [s.seconds for s in scores], unit="s")


if __name__ == "__main__":
    main()
