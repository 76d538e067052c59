"""How often does the alarm ring for nothing, and how soon for something?

    python benchmarks/alarm.py --seed 1 --out alarm.jsonl

Made-up runs of 70 log-spaced checkpoints: over the first ten the loss falls and the reading goes up
and down by hundreds of errors; then the loss is flat, with noise, and the reading stays where it is
but for its noise, which comes in several kinds. In half of the runs it changes at checkpoint 40, by
a step or by a ramp of eight checkpoints, of 1 to 10 errors. Every run goes through
`creode.development.Alarm` checkpoint by checkpoint, at several settings of it.

Here: the runs, shares of runs that ring, delays in checkpoints.
Not here: the alarm (creode.development), how the table is printed (report.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from report import Report, note

from creode.development import Alarm, AlarmConfig, Reading
from creode.training import log_spaced

NUM, EARLY, CHANGE, RAMP = 70, 10, 40, 8
STEPS = log_spaced(10, 100_000, NUM)
SIZES = (1.0, 2.0, 3.0, 5.0, 10.0)
Noise = Callable[[np.random.Generator], tuple[np.ndarray, float]]  # (NUM,) noise, stated error

CONFIGS = {
    "defaults": AlarmConfig(),
    "no wander": AlarmConfig(wander=(0.0,)),
    "no wander, no drift": AlarmConfig(wander=(0.0,), drift=0),
    "much wander": AlarmConfig(wander=(0.0, 0.1, 1.0)),
}


def gaussian(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(NUM)


def correlated(rng: np.random.Generator, rho: float) -> np.ndarray:
    noise = rng.standard_normal(NUM)
    for i in range(1, NUM):
        noise[i] = rho * noise[i - 1] + (1 - rho**2) ** 0.5 * noise[i]
    return noise


def drifting(rng: np.random.Generator, size: float) -> np.ndarray:
    """Linear in the log step, by `size` errors from the end of the fall on."""
    t = np.log(STEPS)
    return gaussian(rng) + size * (t - t[EARLY]) / (t[-1] - t[EARLY])


def settling(rng: np.random.Generator, size: float) -> np.ndarray:
    """A fall by `size` errors that slows down and ends, in the middle of the run."""
    t = np.arange(NUM) - EARLY
    return gaussian(rng) + size * np.exp(-np.clip(t, 0, None) / 12)


def wandering(rng: np.random.Generator, variance: float) -> np.ndarray:
    return gaussian(rng) + (variance**0.5 * rng.standard_normal(NUM)).cumsum()


NOISES: dict[str, Noise] = {
    "normal, errors right": lambda rng: (gaussian(rng), 1.0),
    "normal, errors 30 % too small": lambda rng: (gaussian(rng), 1 / 1.3),
    "normal, errors 30 % too large": lambda rng: (gaussian(rng), 1.3),
    "Student t, 5 degrees": lambda rng: (rng.standard_t(5, NUM) / (5 / 3) ** 0.5, 1.0),
    "drift in log step, 10 errors": lambda rng: (drifting(rng, 10), 1.0),
    "settling by 30 errors": lambda rng: (settling(rng, 30), 1.0),
    "autocorrelation 0.3": lambda rng: (correlated(rng, 0.3), 1.0),
    "wandering, variance 0.1": lambda rng: (wandering(rng, 0.1), 1.0),
}


def replay(rng: np.random.Generator, noise: Noise, change: np.ndarray, config: AlarmConfig) -> int:
    """The checkpoint at which one run first rings; -1 if never."""
    wave, se = noise(rng)
    early = np.clip(EARLY - np.arange(NUM), 0, None)
    loss = 0.1 + 4 * (early / EARLY) ** 2 + 2e-3 * rng.standard_normal(NUM)
    values = 1000 + 300 * np.sin(early) * (early > 0) + wave + change
    alarm = Alarm(config)
    for i, step in enumerate(STEPS):
        if alarm.update(step, {"loss": Reading(loss[i]), "llc": Reading(values[i], se)}):
            return i
    return -1


def changes(size: float) -> dict[str, np.ndarray]:
    since = np.arange(NUM) - CHANGE + 1
    return {"step": size * (since > 0), "ramp": size * np.clip(since / RAMP, 0, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=0, help="0 was developed on; judge on another")
    parser.add_argument("--runs", type=int, default=400, help="without a change, of each noise")
    parser.add_argument("--power", type=int, default=100, help="with a change, of each size")
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--quick", action="store_true", help="a few runs; measures nothing")
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    given = parser.parse_args()
    runs, power = (5, 3) if given.quick else (given.runs, given.power)
    report = Report("alarm", out=given.out, seed=given.seed)
    for number, name in enumerate(given.configs):
        # `least` is of the level and would hide small changes of a level chosen at will.
        config = CONFIGS[name]
        settings = AlarmConfig(**{**config.__dict__, "least": 0.0})
        for kind, (text, noise) in enumerate(NOISES.items()):
            rng = np.random.default_rng([given.seed, number, kind])
            none = np.zeros(NUM)
            rings = [float(replay(rng, noise, none, settings) >= 0) for _ in range(runs)]
            share = float(np.mean(rings))
            report.add(
                f"{name}: runs that ring without a change, stated {config.rate:.0%}", text,
                [share], unit="share", notes=f"± {(share * (1 - share) / runs) ** 0.5:.3f}",
                runs=runs,
            )  # fmt: skip
        for size in SIZES:
            for shape, change in changes(size).items():
                rng = np.random.default_rng([given.seed, number, 100 + int(10 * size)])
                noise = NOISES["normal, errors right"]
                first = np.array([replay(rng, noise, change, settings) for _ in range(power)])
                found = first >= CHANGE
                delays = (first[found] - CHANGE).tolist()
                soon = np.mean((first >= 0) & ~found)
                text = f"{shape} of {size:g} errors"
                report.add(
                    f"{name}: runs that ring after a change",
                    text,
                    [float(found.mean())],
                    unit="share",
                    notes=f"{soon:.1%} before it",
                    runs=power,
                )
                if delays:
                    report.add(
                        f"{name}: delay of those that ring", text, delays, unit="checkpoints"
                    )
        note(f"{name}: done")
    print("\n" + report.table())


if __name__ == "__main__":
    main()
