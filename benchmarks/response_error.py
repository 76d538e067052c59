"""What a given error of χ costs: seconds of a draw times the error² that it leaves; and devinterp.

    python benchmarks/response_error.py --peers runs/peers --work runs/response --threads 1

χ of a token is a small covariance of two large fluctuations, so its relative error after a few
hundred draws says little of a method. The error itself is known from few draws, as the mean over
thousands of tokens of how chains differ, and so is what a draw takes. All chains have a burn-in
here. At a finite step SGLD samples a wider law than the posterior: the mean loss shows by how much,
and its χ is larger, with its error.

Here: settings of both sides, rounds, the table.
Not here: one run (contenders/), the decoder (trained.py), the cost of all heads (response.py).
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import peers
from chi_error import Effort
from report import Report, note
from trained import Trained

import response
from response import PEER, Bench

# Where the tether is all that holds, a step with h √γ about √2 forgets at once where it came from.
STEP = {"name": "baoab", "step_size": 0.08, "friction": 12.0}
SETTINGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "creode, two steps": ("creode", {"burnin": 8}),
    "creode, one step": (
        "creode",
        {"kernel": STEP, "steps_per_draw": 1, "burnin": 8, "batch_size": 8, "observable": "probe"},
    ),
    **{
        f"devinterp, {lr:g}, batches of {size}, steps {steps}": (
            "devinterp, probe as its sampling task",
            {"lr": lr, "batch_size": size, "steps_per_draw": steps, "burnin": round(12e-3 / lr)},
        )
        for lr, size, steps in (
            (1e-3, 32, 1),
            (1e-3, 8, 1),
            (1e-3, 8, 3),
            (2e-3, 8, 1),
            (2.5e-4, 8, 12),
        )
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peers", type=Path, default=peers.DEFAULT, help="the peers' environments")
    parser.add_argument("--work", type=Path, default=Path("runs/response"), help="the decoder")
    parser.add_argument("--head", default="l0h0", help="that is sampled")
    parser.add_argument("--draws", type=int, default=24, help="of each of four chains")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each setting")
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--only", nargs="+", choices=list(SETTINGS), help="some settings")
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    given = parser.parse_args()
    trained = Trained(
        folder=given.work / "decoder", shape=response.SHAPE, num_data=response.DATA,
        num_probe=response.PROBE, steps=response.TRAINING_STEPS,
    )  # fmt: skip
    trained.make()
    effort = Effort(
        heads=[given.head], num_heads=1, rounds=given.rounds, threads=given.threads, quick=False
    )
    bench = Bench(trained, peers.interpreters(given.peers, PEER), effort)
    names = given.only or list(SETTINGS)
    report = Report("response_error", out=given.out, threads=given.threads)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    for seed in range(given.seed, given.seed + given.rounds):
        random.Random(seed).shuffle(names)
        for name in names:
            contender, settings = SETTINGS[name]
            with tempfile.TemporaryDirectory() as folder:
                ran = bench.run(
                    contender, given.head, seed, Path(folder) / "out", draws=given.draws, **settings
                )
            assert ran.chains is not None
            draws = ran.chains.shape[0] * given.draws
            variance = float(ran.chains.var(0, ddof=1).mean()) * given.draws
            found[name].append((ran.cpu_seconds / draws, variance, ran.facts["mean_loss"]))
            note(f"  {seed}: {name}: {found[name][-1]}")
    for name in (name for name in SETTINGS if name in found):
        seconds, variance, loss = (np.array(column) for column in zip(*found[name], strict=True))
        report.add(name, "CPU of a draw", list(seconds), unit="s")
        report.add(name, "error of chi of one draw", list(variance**0.5), unit="nats²")
        report.add(name, "mean loss of the probe", list(loss), unit="nats")
        work = list(seconds * variance.mean())
        report.add(name, "CPU × error²", work, unit="s nats⁴", settings=SETTINGS[name][1])
    print("\n" + report.table())


if __name__ == "__main__":
    main()
