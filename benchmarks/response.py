"""Susceptibilities of every head of a small decoder: seconds, error, disk, memory; and devinterp.

    python benchmarks/response.py --peers runs/peers --work runs/response --out response.jsonl

Every contender samples every chosen head in every round, in a process of its own, in shuffled
order; a round has its own seed. Errors are told twice: from how chains differ within a run, and
from how runs of different rounds differ. They are relative to the size of χ, since the contenders'
forms of χ differ by a factor of each component. Seconds to the same error follow from error² being
inversely proportional to the number of draws.

Here: the command, the contenders' settings, rounds, the limit.
Not here: the decoder and its sequences (trained.py), one component of one contender (contenders/),
errors of χ (chi_error.py).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peers
import torch
from alternating import ratios
from chi_error import (
    FULL,
    Array,
    Effort,
    Ran,
    agreement,
    of_all_heads,
    relative_error,
    two_chain_error,
)
from contender import RUNNERS
from machine import available_cores
from report import Report, note
from trained import Trained

PEER = "devinterp-2.0.1"
NBETA, LOCALIZATION = 30.0, 300.0  # the peer's authors' values for small language models
STEP_SIZE = 1e-3  # likewise, of SGLD: a seventh of a step's memory is the tether's
CHAINS, DRAWS, BATCH_SIZE, MICROBATCH = 4, 100, 32, 8
PROBE, DATA = 128, 1024  # sequences
TRAINING_STEPS = 300
SHAPE = {
    "vocab_size": 5000, "d_model": 256, "num_layers": 2, "num_heads": 8, "context_length": 128,
    "mlp_ratio": 0.0,
}  # fmt: skip
QUICK = {"vocab_size": 500, "d_model": 32, "context_length": 16}
SGLD = {"name": "sgld", "step_size": STEP_SIZE}
BAOAB = {"name": "baoab", "step_size": 0.05, "friction": 35.0}  # critical: 2√γ
OURS: Mapping[str, Mapping[str, Any]] = {
    "creode": {"kernel": BAOAB, "steps_per_draw": 2, "burnin": 10},
    "creode, SGLD": {"kernel": SGLD, "steps_per_draw": 1, "burnin": 0},
}
THEIRS: Mapping[str, Mapping[str, Any]] = {
    "devinterp": {"train_batches": 3, "steps_per_draw": 1, "burnin": 0},
    "devinterp, probe as its sampling task": {
        "train_batches": 0, "steps_per_draw": 1, "burnin": 0,
    },
    "devinterp, 5 steps a draw": {"train_batches": 0, "steps_per_draw": 5, "burnin": 20},
}  # fmt: skip


class Bench:
    """Runs contenders on one trained decoder."""

    def __init__(self, trained: Trained, pythons: Mapping[str, Path], effort: Effort) -> None:
        self._trained, self._pythons, self._effort = trained, pythons, effort

    def run(self, name: str, component: str, seed: int, out: Path, **other: Any) -> Ran:
        """One component in a process of its own; `out` is made, and is the caller's to remove."""
        own = name in OURS
        settings = {
            "directory": str(self._trained.model), "tokens": str(self._trained.tokens),
            "component": component, "out": str(out), "nbeta": NBETA, "localization": LOCALIZATION,
            "chains": 2 if self._effort.quick else CHAINS,
            "draws": 4 if self._effort.quick else DRAWS, "batch_size": BATCH_SIZE, "seed": seed,
            "threads": self._effort.threads,
            **({"microbatch": MICROBATCH} if own else {"lr": STEP_SIZE}),
            **(OURS if own else THEIRS)[name],
            **other,
        }  # fmt: skip
        python = Path(sys.executable) if own else self._pythons[PEER]
        script = RUNNERS / f"response_{'creode' if own else 'devinterp'}.py"
        out.mkdir(parents=True)
        threads = {v: str(self._effort.threads) for v in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        done = subprocess.run(
            [python, script, json.dumps(settings)],
            capture_output=True, text=True, check=False, env={**os.environ, **threads},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{name}, {component}: {done.stderr[-2000:]}")
        told = json.loads(done.stdout.splitlines()[-1])
        two_chain = _read(out / "two_chain.npy")
        return Ran(
            seconds=told.pop("seconds"),
            cpu_seconds=told.pop("cpu_seconds"),
            disk_bytes=told.pop("disk_bytes"),
            peak_bytes=told.pop("peak_bytes") - told.pop("loaded_bytes"),
            chains=_read(out / "chains.npy"),
            two_chain=None if two_chain is None else two_chain[0],
            error=_read(out / "error.npy"),
            facts={"settings": settings, **told},
        )

    def rounds(self, names: Sequence[str]) -> dict[str, list[dict[str, Ran]]]:
        """By contender, one dict of components a round."""
        found: dict[str, list[dict[str, Ran]]] = {name: [] for name in names}
        shuffle = random.Random(0).shuffle
        for number in range(self._effort.rounds):
            with tempfile.TemporaryDirectory() as folder:
                work = Path(folder)
                fulls = {name: work / f"{i}-full" for i, name in enumerate(names)}
                turns = [(name, FULL) for name in names if name in THEIRS]
                shuffle(turns)
                heads = [(name, head) for head in self._effort.heads for name in names]
                shuffle(heads)
                now: dict[str, dict[str, Ran]] = {name: {} for name in names}
                for place, (name, component) in enumerate(turns + heads):
                    own = fulls[name] if component == FULL else work / f"{place}"
                    other = {} if name in OURS else {"full": str(fulls[name])}
                    ran = self.run(name, component, number, own, **other)
                    now[name][component] = ran
                    note(f"  round {number + 1}: {name}, {component}: {ran.seconds:.1f} s")
            for name in names:
                found[name].append(now[name])
        return found


def _read(path: Path) -> Array | None:
    if not path.exists():
        return None
    loaded: Array = np.load(path).astype("float64")
    return loaded


# -- the limit


def limit(trained: Trained, effort: Effort) -> dict[str, float]:
    """Seconds of the passes that no method avoids: one of the probe's for every draw.

    Layers below the head's own are left out of its passes, and losses are taken from the logits of
    four sequences at a time, in memory that is warm: the fastest way found here.
    """
    from safetensors.torch import load_file

    from creode.tasks.cross_entropy import cross_entropy
    from creode.testbeds.decoder import Decoder

    torch.set_num_threads(effort.threads)
    model = Decoder.load(trained.model)
    ids = load_file(trained.tokens)["probe"]
    seconds = {}
    with torch.no_grad():
        for layer in sorted({int(head[1]) for head in effort.heads}):
            below = model.embed(ids) + model.positions(torch.arange(ids.shape[1]))
            for block in model.blocks[:layer]:
                below = block(below, None)
            targets = ids.roll(-1, 1)
            took = []
            for _ in range(7):
                start = time.perf_counter()
                for piece, wanted in zip(below.split(4), targets.split(4), strict=True):
                    hidden = piece
                    for block in model.blocks[layer:]:
                        hidden = block(hidden, None)
                    logits = model.unembed(model.norm(hidden))
                    cross_entropy(logits.flatten(0, 1), wanted.flatten())
                took.append(time.perf_counter() - start)
            seconds[f"l{layer}"] = statistics.median(took)
    return seconds


# -- the command


def measure(bench: Bench, names: Sequence[str], effort: Effort, report: Report) -> None:
    """Rounds of all contenders, and what is made of them."""
    found = bench.rounds(names)
    errors = {name: relative_error(found[name], effort.heads) for name in names}
    seconds, cpu, disk = (
        {name: of_all_heads(found[name], quantity, effort) for name in names}
        for quantity in ("seconds", "cpu_seconds", "disk_bytes")
    )
    for name in names:
        first = found[name][0][effort.heads[0]]
        error = errors[name]
        report.add(
            "all heads", f"{name}: seconds", seconds[name], unit="s",
            notes=f"relative error of chi {error.by_chains:.3g} by chains, "
            f"{error.by_rounds:.3g} by rounds" + (f", {error.told:.3g} told" if name in OURS else
            f"; in its own form {two_chain_error(found[name], effort.heads):.3g}"),
            heads=effort.heads, error=vars(error), facts=first.facts,
        )  # fmt: skip
        report.add("all heads", f"{name}: CPU", cpu[name], unit="s")
        report.add("all heads", f"{name}: disk", [b / 1e6 for b in disk[name]], unit="MB")
        peaks = [run[head].peak_bytes / 1e6 for run in found[name] for head in effort.heads]
        report.add("all heads", f"{name}: peak memory", peaks, unit="MB above the model")
    for theirs in (name for name in names if name in THEIRS):
        for ours in (name for name in names if name in OURS):
            pair = f"{theirs} / {ours}"
            alike = agreement(found[theirs], found[ours], effort.heads)
            report.add(
                "ratios", f"{pair}: seconds", ratios(seconds[theirs], seconds[ours]), unit="ratio",
                notes=f"correlation of chi {alike:.3f}",
            )  # fmt: skip
            report.add("ratios", f"{pair}: CPU", ratios(cpu[theirs], cpu[ours]), unit="ratio")
            for what, cost in (("seconds", seconds), ("CPU", cpu)):
                work = {
                    name: [s * errors[name].by_chains ** 2 for s in cost[name]]
                    for name in (theirs, ours)
                }
                report.add(
                    "ratios", f"{pair}: {what} to the same error",
                    ratios(work[theirs], work[ours]), unit="ratio", notes="errors by chains",
                )  # fmt: skip
            report.add("ratios", f"{pair}: disk", ratios(disk[theirs], disk[ours]), unit="ratio")


def memory(bench: Bench, effort: Effort, report: Report, lengths: Sequence[int]) -> None:
    """Peak memory of one chain of one head, by the number of draws; a step a draw."""
    peaks: dict[int, list[float]] = {draws: [] for draws in lengths}
    for seed in range(min(effort.rounds, 3)):
        for draws in lengths:
            with tempfile.TemporaryDirectory() as folder:
                ran = bench.run(
                    "creode", effort.heads[0], seed, Path(folder) / "out", draws=draws, chains=1,
                    steps_per_draw=1,
                )  # fmt: skip
            peaks[draws].append(ran.peak_bytes / 1e6)
            note(f"  {draws} draws: {peaks[draws][-1]:.1f} MB, {ran.seconds:.0f} s")
    for draws, values in peaks.items():
        report.add("memory", f"creode, {draws} draws", values, unit="MB above the model")
    report.add(
        "memory", f"{lengths[1]} draws / {lengths[0]} draws",
        ratios(peaks[lengths[1]], peaks[lengths[0]]), unit="ratio",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peers", type=Path, default=peers.DEFAULT, help="the peers' environments")
    parser.add_argument("--no-peers", action="store_true", help="creode only")
    parser.add_argument("--work", type=Path, default=Path("runs/response"), help="the decoder")
    parser.add_argument("--share", type=float, default=1.0, help="of the heads that are sampled")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contender")
    parser.add_argument("--threads", type=int, default=available_cores(), help="of each process")
    parser.add_argument("--only", nargs="+", choices=[*OURS, *THEIRS], help="some contenders")
    parser.add_argument("--draws", type=int, nargs=2, default=(100, 1000), help="for memory")
    parser.add_argument("--skip", nargs="+", default=(), choices=["time", "memory", "limit"])
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    parser.add_argument("--quick", action="store_true", help="try the script; measures nothing")
    given = parser.parse_args()
    quick = given.quick
    trained = Trained(
        folder=given.work / ("quick" if quick else "decoder"),
        shape=SHAPE | (QUICK if quick else {}),
        num_data=128 if quick else DATA, num_probe=32 if quick else PROBE,
        steps=20 if quick else TRAINING_STEPS,
    )  # fmt: skip
    trained.make()
    every = [f"l{layer}h{head}" for head in range(8) for layer in range(2)]
    count = max(1, round(given.share * len(every)))
    effort = Effort(
        heads=every[:count], num_heads=len(every), rounds=given.rounds, threads=given.threads,
        quick=quick,
    )  # fmt: skip
    pythons = {} if given.no_peers else peers.interpreters(given.peers, PEER)
    names = given.only or [*OURS, *(THEIRS if pythons else ())]
    report = Report("response", out=given.out, threads=effort.threads, quick=quick)
    bench = Bench(trained, pythons, effort)
    if "limit" not in given.skip:
        for layer, seconds in limit(trained, effort).items():
            report.add(
                "limit", f"{layer}: a probe's pass", [seconds], unit="s",
                notes=f"{seconds * CHAINS * DRAWS:.3g} s a head",
            )  # fmt: skip
    if "time" not in given.skip:
        measure(bench, names, effort, report)
    if "memory" not in given.skip:
        memory(bench, effort, report, given.draws)
    print("\n" + report.table())


if __name__ == "__main__":
    main()
