"""Seconds a step, of start-up and of import, and bytes of memory; beside devinterp, in one run.

    python benchmarks/throughput.py --peers runs/peers --out throughput.jsonl

Every cost is a ratio to the bare forward and backward pass of the same model on the same kind of
batch, timed in the same process in the same turn; all contenders take turns in one run.

Here: the command; costs of steps.
Not here: models and contenders (sections.py), turns and spreads (alternating.py), processes
(contender.py), samplers (contenders/), imports (import_time.py), memory (footprint.py).
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import peers
from alternating import alternate, ratios
from contender import Contender, Spec, Turn
from footprint import memory
from import_time import imports
from machine import available_cores
from report import Report, note
from sections import SECTIONS, Effort, Section

OTHERS = {"import": imports, "memory": memory}


def measure(section: Section, effort: Effort, report: Report) -> None:
    """Start every contender, let them take turns, report."""
    with ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        mode: str | None = None
        for spec in section.specs:
            note(f"  starting {spec.name}")
            contender = stack.enter_context(Contender(_in_mode(spec, mode), threads=effort.threads))
            mode = mode or contender.facts.get("mode")
            contender.calibrate(effort.seconds)
            contenders[spec.name] = contender
        coin = random.Random(1)

        def turn(contender: Contender) -> Callable[[], Turn]:
            return lambda: contender.turn(bare_first=coin.random() < 0.5)

        turns = alternate(
            {name: turn(contender) for name, contender in contenders.items()},
            rounds=effort.rounds,
            on_round=lambda done: note(f"  round {done} of {effort.rounds}"),
        )
    for name, contender in contenders.items():
        _report_cost(section, contender, turns[name], report)
    for top, bottom in section.pairs:
        if top in turns and bottom in turns:
            seconds = ([turn.chain_step for turn in turns[name]] for name in (top, bottom))
            report.add(
                section.title, f"{top} / {bottom}", ratios(*seconds), unit="seconds a chain-step"
            )


def _in_mode(spec: Spec, mode: str | None) -> Spec:
    """With chains in turn or side by side as the first contender that chose, once one has.

    Two kernels are compared in one mode, whatever a noisy moment of the machine favours.
    """
    if mode is None or "mode" not in spec.settings:
        return spec
    return replace(spec, settings={**spec.settings, "mode": mode})


def _report_cost(section: Section, contender: Contender, turns: list[Turn], report: Report) -> None:
    spec = contender.spec
    steps, bares = [turn.chain_step for turn in turns], [turn.bare for turn in turns]
    every = spec.forward_every
    against = "bare" + (" + forward" if every == 1 else f" + forward/{every}" if every else "")
    rate = 1 / statistics.median(steps)
    report.add(
        section.title,
        spec.name,
        ratios(steps, bares),
        unit=f"chain-step / ({against})" if every else "chain-step / bare",
        notes=", ".join(
            [
                f"{rate:.4g} chain-steps/s",
                f"start-up {contender.startup_seconds:.2g} s",
                *(f"{name}={value}" for name, value in contender.facts.items()),
            ]
        ),
        chain_step_seconds=steps,
        bare_seconds=bares,
        block={"steps": contender.num_steps, "bare_steps": contender.num_bare},
        startup_seconds=contender.startup_seconds,
        facts=contender.facts,
        settings=spec.settings,
        workload=asdict(spec.workload),
        versions=contender.versions,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peers", type=Path, default=peers.DEFAULT, help="the peers' environments")
    parser.add_argument("--no-peers", action="store_true", help="creode and the bare pass only")
    parser.add_argument("--only", nargs="+", choices=[*SECTIONS, *OTHERS], help="some sections")
    parser.add_argument("--rounds", type=int, help="turns of each contender (default 15)")
    parser.add_argument("--seconds", type=float, default=1.0, help="that a block lasts, about")
    parser.add_argument("--threads", type=int, default=available_cores(), help="of each process")
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    parser.add_argument("--quick", action="store_true", help="try the script; measures nothing")
    given = parser.parse_args()
    effort = Effort(
        rounds=given.rounds or (2 if given.quick else 15),
        seconds=0.02 if given.quick else given.seconds,
        quick=given.quick,
        threads=given.threads,
    )
    start = time.perf_counter()
    pythons = {} if given.no_peers else peers.interpreters(given.peers)
    report = Report("throughput", out=given.out, threads=effort.threads, quick=effort.quick)
    failed = []
    for name in given.only or [*SECTIONS, *OTHERS]:
        note(f"{name} ({time.perf_counter() - start:.0f} s so far)")
        try:
            if name in SECTIONS:
                measure(SECTIONS[name](pythons, effort), effort, report)
            else:
                OTHERS[name](pythons, effort, report)
        except (RuntimeError, OSError) as error:  # the other sections are still worth having
            note(f"{name} failed: {error}")
            failed.append(name)
    print("\n" + report.table())
    note(f"{time.perf_counter() - start:.0f} s in all")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
