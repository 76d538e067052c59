"""Does it matter for λ̂ that flat directions have not mixed?

    python benchmarks/drift.py --out drift.jsonl

Chains whose losses have converged can still drift along flat directions, which R-hat of the
distance to w* tells. Deep linear networks are read at the settings the automatic sampler chooses,
by short chains of several seeds and once by chains ten times as long. If drift were harmful, the
short readings that drift would scatter about the long one by more than their errors say.

Here: the runs, the table by R-hat of the distance.
Not here: the networks (networks.py), the rule it justifies (creode.diagnostics.verdict).
"""

from __future__ import annotations

import argparse
import json
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from machine import available_cores, machine
from networks import shapes
from report import note

import creode
from creode.diagnostics.verdict import MAX_RHAT, MIN_ESS
from creode.sampling import Calibration, Execution, Plan, Schedule, find_calibration

LONGER = 10
BINS = (1.0, 1.05, 1.2, 1.5, 1.8, 2.2, 2.6, np.inf)


def read(
    posterior: creode.LocalPosterior, chosen: Calibration, seed: int, times: int = 1
) -> dict[str, float]:
    """λ̂ from chains so many times as long as chosen, with the same number of draws."""
    draws = creode.sample(
        posterior, sampler=chosen.kernel, burnin=chosen.burnin * times, draws=chosen.draws,
        steps_per_draw=chosen.steps_per_draw * times, batch_size=len(posterior.data), seed=seed,
        execution=Execution(mode="vectorised"),
    )  # fmt: skip
    reading = creode.llc(draws)
    names = ("llc", "llc_se", "rhat", "rhat_distance", "ess", "ok")
    return {name: float(reading[name]) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=31, help="of the networks")
    parser.add_argument("--depth", type=int, help="layers of each; default 2 to 12")
    parser.add_argument("--count", type=int, default=12, help="networks")
    parser.add_argument("--repeats", type=int, default=6, help="short runs of each")
    parser.add_argument("--budget", type=int, default=10_000, help="gradients of a chain")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore")
    rows = []
    sizes = {"least": 30, "most": 2000}
    for shape in shapes(given.count, **sizes, seed=given.seed, depth=given.depth):
        net = shape.make(shape.widths[0])
        posterior = creode.LocalPosterior(net.model, net.task, net.data)
        plan = Plan(
            kernel=creode.Auto(budget=given.budget, extrapolate=False),
            schedule=Schedule(batch_size=len(net.data)),
        )
        try:
            chosen = find_calibration(posterior, {}, plan)
        except ValueError as error:
            note(f"{shape.widths}: {error}")
            continue
        posterior = creode.LocalPosterior(
            net.model, net.task, net.data, nbeta=chosen.nbeta, localization=chosen.localization
        )
        long = read(posterior, chosen, seed=1000, times=LONGER)
        if not np.isfinite(long["llc"]):
            note(f"{shape.widths}: the long run lost a chain")
            continue
        for seed in range(given.repeats):
            short = read(posterior, chosen, seed)
            error = (short["llc_se"] ** 2 + long["llc_se"] ** 2) ** 0.5
            row = {
                "benchmark": "drift", "widths": shape.widths, "rank": shape.rank, **short,
                "long": long["llc"], "long_se": long["llc_se"],
                "long_rhat_distance": long["rhat_distance"],
                "z": (short["llc"] - long["llc"]) / error,
            }  # fmt: skip
            rows.append(row)
            print(json.dumps(row), flush=True)
            if given.out is not None:
                with given.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    print(f"\nreadings whose losses converged, by R-hat of the distance; {machine()}\n")
    for low, high in pairwise(BINS):
        z = np.array(
            [
                row["z"] for row in rows
                if row["rhat"] <= MAX_RHAT and row["ess"] >= MIN_ESS
                and low < row["rhat_distance"] <= high
            ]
        )  # fmt: skip
        if len(z):
            print(
                f"{low:.2f}–{high:.2f}: {len(z)} readings, mean z {z.mean():+.2f}, "
                f"rms z {np.sqrt((z**2).mean()):.2f}, within 1.96: {(abs(z) < 1.96).mean():.2f}"
            )


if __name__ == "__main__":
    main()
