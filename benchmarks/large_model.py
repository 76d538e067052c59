"""Seconds a step and peak memory of `creode llc` on a Llama of 135M weights; beside devinterp.

    python benchmarks/large_model.py --peers runs/peers --work runs/large --out large.jsonl

Commands run as a user runs them, each in a process of its own. Seconds a step come from the
difference of two runs, long and short, so that they hold no start-up; the bare pass of the same
model on the same batches is timed before, between and after. Every contender runs once before it
is timed. The text holds too many sequences to take the losses at the anchor of all of them, so
creode scores a probe of one batch at every draw, and there is a draw at every step.

Here: the commands, the order in which they take turns, what is made of their seconds.
Not here: the model and its text (llama.py), spreads (alternating.py).
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
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import peers
from contender import RUNNERS, Contender, Spec
from contenders.workloads import Workload
from llama import Llama
from machine import available_cores
from report import Report, note

BATCH_SIZE = 4
CHAINS = 2
DRAWS = {"short": 8, "long": 20}  # a step each
SEQUENCES = 64  # far more than a tenth of what the gradients see
BARE_STEPS = 2  # of a block
PEER = "devinterp-2.0.1"
POLL = 0.02  # seconds between looks at a process's peak
Command = Callable[[int], list[str | Path]]  # from the number of draws


class Ended(NamedTuple):
    """A command that came to its end."""

    seconds: float
    peak_bytes: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One contender in one round."""

    step: float  # seconds of a step of one chain
    bare: float  # seconds of a bare step: mean of before, between and after
    bare_part: float  # likewise, with gradients of the sampled weights only
    total: float  # seconds of the long run
    peak_bytes: int  # of the long run


def creode_command(llama: Llama, component: str, runs: Path, draws: int) -> list[str | Path]:
    """`creode llc`, as a user would call it."""
    return [
        Path(sys.executable).with_name("creode"), "llc", llama.model,
        "--data", llama.text, "--length", str(llama.length), "--limit", str(llama.sequences),
        "--batch-size", str(BATCH_SIZE), "--chains", str(CHAINS), "--draws", str(draws),
        "--burnin", "0", "--steps-per-draw", "1", "--nbeta", "30", "--localization", "100",
        "--sampler", "sgld", "--step-size", "1e-7", "--component", component, "--json",
        "--out", Path(tempfile.mkdtemp(dir=runs)) / "run",
    ]  # fmt: skip


def devinterp_command(llama: Llama, component: str, python: Path, draws: int) -> list[str | Path]:
    """The same with devinterp 2.0.1."""
    given = {
        "directory": str(llama.model), "tokens": str(llama.tokens), "component": component,
        "chains": CHAINS, "draws": draws, "batch_size": BATCH_SIZE,
    }  # fmt: skip
    return [python, RUNNERS / "devinterp_llc.py", json.dumps(given)]


def watch(command: list[str | Path], threads: int) -> Ended:
    """Run a command to its end; seconds, and the highest resident memory seen."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile("w+") as log, tempfile.TemporaryDirectory() as folder:
        environment["TMPDIR"] = folder
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        peak = 0
        try:
            while process.poll() is None:
                peak = max(peak, _peak_bytes(process.pid))
                time.sleep(POLL)
        finally:
            process.kill()  # where this one is interrupted
        seconds = time.perf_counter() - start
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{command[0]} failed:\n{log.read()[-2000:]}")
    return Ended(seconds, peak)


def _peak_bytes(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields.get("VmHWM", "0 kB").split()[0]) * 1024


def bare(llama: Llama, only: str, threads: int) -> Contender:
    """A process that times the bare pass when asked."""
    shape = {"directory": str(llama.model), "tokens": str(llama.tokens), "only": only}
    workload = Workload(
        kind="pretrained", shape=shape, batch_size=BATCH_SIZE, num_samples=llama.sequences
    )
    spec = Spec(
        name=f"bare {only}", runner="bare_pass", python=Path(sys.executable), workload=workload,
        settings={"steps": 0},
    )  # fmt: skip
    return Contender(spec, threads=threads)


def measure(command: Command, whole: Contender, part: Contender, threads: int) -> Measured:
    """Bare, short, bare, long, bare."""
    bares, parts, ended = [], [], {}
    for which in ("short", "long", None):
        bares.append(whole.bare(BARE_STEPS))
        parts.append(part.bare(BARE_STEPS) if part is not whole else bares[-1])
        if which is not None:
            ended[which] = watch(command(DRAWS[which]), threads)
    extra = CHAINS * (DRAWS["long"] - DRAWS["short"])
    return Measured(
        step=(ended["long"].seconds - ended["short"].seconds) / extra,
        bare=statistics.mean(bares),
        bare_part=statistics.mean(parts),
        total=ended["long"].seconds,
        peak_bytes=ended["long"].peak_bytes,
    )


def compare(
    llama: Llama,
    component: str,
    contenders: dict[str, Command],
    given: argparse.Namespace,
    report: Report,
) -> None:
    """Let the contenders take turns on one component, and report."""
    results: dict[str, list[Measured]] = {name: [] for name in contenders}
    shuffle = random.Random(0).shuffle
    with ExitStack() as stack:
        whole = part = stack.enter_context(bare(llama, "", given.threads))
        if component != "full":
            only = f"model.layers.{component.removeprefix('l')}."
            part = stack.enter_context(bare(llama, only, given.threads))
        for name, command in contenders.items():
            note(f"  first run of {name}, not timed")
            watch(command(DRAWS["short"]), given.threads)
        for number in range(1, given.rounds + 1):
            order = list(contenders)
            shuffle(order)
            for name in order:
                note(f"  round {number} of {given.rounds}: {name}")
                results[name].append(measure(contenders[name], whole, part, given.threads))
    weights = (llama.model / "model.safetensors").stat().st_size
    for name, measured in results.items():
        _report(name, component, measured, weights, report)
    for name, measured in results.items():
        if name != "creode":
            for quantity in ("step", "total", "peak_bytes"):
                pairs = zip(measured, results["creode"], strict=True)
                values = [getattr(a, quantity) / getattr(b, quantity) for a, b in pairs]
                report.add(component, f"{name} / creode: {quantity}", values, unit="ratio")


def _report(
    name: str, component: str, measured: list[Measured], weights: int, report: Report
) -> None:
    quantities: dict[str, tuple[list[float], str]] = {
        "step / bare": ([one.step / one.bare for one in measured], "ratio"),
        "total": ([one.total for one in measured], "s"),
        "peak": ([one.peak_bytes / 1e6 for one in measured], "MB"),
        "peak / weights": ([one.peak_bytes / weights for one in measured], "ratio"),
    }
    if component != "full":
        against = [one.step / one.bare_part for one in measured]
        quantities["step / bare of the part"] = (against, "ratio")
    steps = statistics.median(one.step for one in measured)
    bares = statistics.median(one.bare for one in measured)
    for quantity, (values, unit) in quantities.items():
        notes = f"{steps:.3g} s a step, {bares:.3g} s bare" if quantity == "step / bare" else ""
        report.add(
            component,
            f"{name}: {quantity}",
            values,
            unit=unit,
            notes=notes,
            step_seconds=[one.step for one in measured],
            bare_seconds=[one.bare for one in measured],
            bare_part_seconds=[one.bare_part for one in measured],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peers", type=Path, default=peers.DEFAULT, help="the peers' environments")
    parser.add_argument("--no-peers", action="store_true", help="creode and the bare pass only")
    parser.add_argument("--work", type=Path, default=Path("runs/large"), help="model and text")
    parser.add_argument("--components", nargs="+", help="default: one layer, and full")
    parser.add_argument("--rounds", type=int, help="turns of each contender (default 3)")
    parser.add_argument("--threads", type=int, default=available_cores(), help="of each process")
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    parser.add_argument("--quick", action="store_true", help="try the script; measures nothing")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 3)
    start = time.perf_counter()
    folder = given.work / ("quick" if given.quick else "llama")
    llama = Llama(folder=folder, quick=given.quick, sequences=SEQUENCES)
    note(f"making the model in {folder}, if it is not there")
    llama.make()
    python = None if given.no_peers else peers.interpreters(given.peers, PEER)[PEER]
    common: dict[str, Any] = {
        "threads": given.threads, "quick": given.quick, "config": llama.config, "chains": CHAINS,
        "draws": DRAWS, "batch": [BATCH_SIZE, llama.length], "versions": {
            "creode": peers.versions(Path(sys.executable), "creode", "torch", "transformers"),
            PEER: peers.versions(python, "devinterp", "torch", "transformers") if python else {},
        },
    }  # fmt: skip
    report = Report("large_model", out=given.out, **common)
    with tempfile.TemporaryDirectory(dir=given.work) as runs:
        for component in given.components or [f"l{llama.layer}", "full"]:
            note(f"{component} ({time.perf_counter() - start:.0f} s so far)")

            contenders: dict[str, Command] = {
                "creode": partial(creode_command, llama, component, Path(runs))
            }
            if python is not None:
                contenders[PEER] = partial(devinterp_command, llama, component, python)
            compare(llama, component, contenders, given, report)
    print("\n" + report.table())
    note(f"{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
