"""How many steps of a staircase could be placed by somebody who knows how it was made?

    python benchmarks/stage_bounds.py --seed 9 --cases 16

The trajectories are those of stages.py. Draws from the posterior of a staircase given its readings,
with the very prior it was made from: places, widths and heights as `stages.steps` draws them, a
level of 0, and one unknown factor of 0.7 to 1.3 by which errors are told wrongly. From these draws
as many places are told as there are steps, those that on average hold most steps within 5 % of log
time: about as many as any rule can be expected to find. The number of steps is known, or else 1 to
4 alike likely, and then the likeliest counts.

Here: that sampler (sequential Monte Carlo from the prior to the posterior), what it places.
Not here: the trajectories (stages.py), stages (creode.development).
Source: Del Moral, Doucet and Jasra 2006, J. R. Stat. Soc. B 68; moves along differences of
particles, ter Braak 2006, Stat. Comput. 16.
Dimensions: W particles, K steps, N readings.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from report import Report, note
from scipy.special import expit, logsumexp
from stages import FAMILIES, FIRST, LAST, NEAR, Case, case

Array = NDArray[np.float64]
PARTICLES = 600
MOVES = 8  # of every particle at each temperature
PLACES = np.linspace(0.1, 0.9, 161)  # that may be told
STAIRCASES = [family for family in FAMILIES if "step" in family]


class Staircases(NamedTuple):
    """Particles: places, widths and heights (W, K), and the factor of the errors (W,)."""

    place: Array
    width: Array
    height: Array
    told: Array

    def at(self, index: Array | NDArray[np.intp]) -> Staircases:
        return Staircases(*(values[index] for values in self))

    def possible(self) -> NDArray[np.bool_]:
        """Those that the prior allows."""
        apart = np.diff(self.place, axis=1)
        room = 5 * (self.width[:, 1:] + self.width[:, :-1])
        allowed = (apart > 0.12).all(1) & (apart > room).all(1) & (np.abs(self.told - 1) < 0.3)
        for values, low, high in (
            (self.place, 0.1, 0.9),
            (self.width, 0.005, 0.03),
            (self.height, 0.4, 1.0),
        ):
            allowed &= ((values > low) & (values < high)).all(1)
        return allowed


def prior(rng: np.random.Generator, num: int) -> Staircases:
    kept: list[Staircases] = []
    while sum(len(one.told) for one in kept) < PARTICLES:
        shape = (20 * PARTICLES, num)
        drawn = Staircases(
            np.sort(rng.uniform(0.1, 0.9, shape), 1),
            rng.uniform(0.005, 0.03, shape),
            rng.uniform(0.4, 1.0, shape),
            rng.uniform(0.7, 1.3, shape[0]),
        )
        kept.append(drawn.at(drawn.possible()))
    joined = Staircases(*(np.concatenate(values) for values in zip(*kept, strict=True)))
    return joined.at(np.arange(PARTICLES))


def posterior(given: Case, num: int, rng: np.random.Generator) -> tuple[Staircases, float]:
    """Particles of the posterior, and the log marginal likelihood but for a constant."""
    u = np.log(given.readings["checkpoint"].values / FIRST) / np.log(LAST / FIRST)
    y, se = given.readings["llc"].values, given.readings["llc_se"].values

    def log_likelihood(some: Staircases) -> Array:
        away = (u[:, None] - some.place[:, None]) / some.width[:, None]
        misfit = (np.einsum("wnk,wk->wn", expit(away), some.height) - y) / se
        out: Array = -0.5 * (misfit**2).sum(1) * some.told**2 + len(u) * np.log(some.told)
        return out

    now = prior(rng, num)
    level, power, log_z = log_likelihood(now), 0.0, 0.0
    while power < 1:
        step = _step(level, 1 - power)
        power = 1.0 if step == 1 - power else power + step
        log_z += float(logsumexp(step * level)) - np.log(PARTICLES)
        weight = np.exp(step * (level - level.max()))
        even = (rng.random() + np.arange(PARTICLES)) / PARTICLES
        chosen = np.searchsorted(np.cumsum(weight / weight.sum()), even).clip(max=PARTICLES - 1)
        now, level = now.at(chosen), level[chosen]
        for move in range(MOVES):
            new = _elsewhere(now, rng) if move % 4 == 3 else _along(now, rng)
            allowed = new.possible()
            proposed = np.full(PARTICLES, -np.inf)
            proposed[allowed] = log_likelihood(new.at(allowed))
            better = np.log(rng.random(PARTICLES)) < power * (proposed - level)
            for old, other in zip(now, new, strict=True):
                old[better] = other[better]
            level[better] = proposed[better]
    return now, log_z


def _step(level: Array, most: float) -> float:
    """The increase of the power that leaves half of the particles effective."""

    def effective(step: float) -> float:
        weight = np.exp(step * (level - level.max()))
        return float(weight.sum() ** 2 / (weight**2).sum())

    low, high = 0.0, most
    if effective(most) >= PARTICLES / 2:
        return most
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) >= PARTICLES / 2 else (low, middle)
    return low


def _along(now: Staircases, rng: np.random.Generator) -> Staircases:
    """Moves along the difference of two other particles, of all steps or of some."""
    one, other = (rng.integers(PARTICLES, size=PARTICLES) for _ in range(2))
    shape = now.place.shape
    scale = 2.38 / np.sqrt(6 * shape[1]) * rng.choice([0.3, 1.0, 2.5], (PARTICLES, 1))
    some = rng.random(shape) < rng.choice([0.5, 1.0])
    jitter = (1e-3, 1e-4, 1e-2)
    steps = [
        values + some * (scale * (values[one] - values[other]) + s * rng.standard_normal(shape))
        for values, s in zip(now[:3], jitter, strict=True)
    ]
    told = now.told + scale[:, 0] * (now.told[one] - now.told[other])
    return Staircases(*steps, told + 1e-2 * rng.standard_normal(PARTICLES))


def _elsewhere(now: Staircases, rng: np.random.Generator) -> Staircases:
    """One step of each anew from the prior."""
    rows, num = np.arange(PARTICLES), now.place.shape[1]
    which = rng.integers(num, size=PARTICLES)
    anew = [values.copy() for values in now[:3]]
    for values, (low, high) in zip(anew, ((0.1, 0.9), (0.005, 0.03), (0.4, 1.0)), strict=True):
        values[rows, which] = rng.uniform(low, high, PARTICLES)
    order = np.argsort(anew[0], 1)
    return Staircases(*(np.take_along_axis(values, order, 1) for values in anew), now.told.copy())


def told_places(drawn: Array) -> Array:
    """As many places as draws (W, K) have steps, which hold most of these within 5 %."""
    near = np.abs(drawn[:, :, None] - PLACES) < NEAR
    num = drawn.shape[1]

    def best(rest: list[int]) -> list[int]:
        held = near[:, :, rest].any(2)[:, :, None]
        return [*rest, int((near | held).mean((0, 1)).argmax())]

    kept: list[int] = []
    for _ in range(num):
        kept = best(kept)
    while True:
        trials = [best(kept[:i] + kept[i + 1 :]) for i in range(num)]
        better = max(trials, key=lambda some: near[:, :, some].any(2).mean())
        if near[:, :, better].any(2).mean() <= near[:, :, kept].any(2).mean() + 1e-9:
            return PLACES[kept]
        kept = better


def found(given: Case, places: Array) -> int:
    away = np.abs(places[:, None] - given.truth.places)
    return int((away.min(0) < NEAR).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the trajectories")
    parser.add_argument("--cases", type=int, default=60, help="trajectories a family")
    parser.add_argument("--only", nargs="*", choices=STAIRCASES, help="families")
    parser.add_argument("--quick", action="store_true", help="try the script, measure nothing")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    count = 1 if given.quick else given.cases
    report = Report("stage_bounds", out=given.out, seed=given.seed, cases=count)
    for family in given.only or STAIRCASES:
        known, unknown, right = [], [], []
        num = FAMILIES[family][1]
        for k in range(count):
            one = case(family, given.seed, k)
            rng = np.random.default_rng([given.seed, num, k])
            read = {n: posterior(one, n, rng) for n in range(1, 5)}
            places = {n: told_places(drawn.place) for n, (drawn, _) in read.items()}
            likeliest = max(read, key=lambda n: read[n][1])
            known.append(found(one, places[num]) / num)
            unknown.append(found(one, places[likeliest]) / num)
            right.append(float(likeliest == num))
        note(f"{family}: done")
        for name, shares in (
            ("found within 5 %, number known", known),
            ("found within 5 %, number unknown", unknown),
            ("number right", right),
        ):
            mean = f"{100 * np.mean(shares):.0f} %"
            report.add(family, name, shares, unit="share", notes=mean)
    print(report.table())


if __name__ == "__main__":
    main()
