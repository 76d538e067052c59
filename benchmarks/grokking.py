"""Does the alarm announce grokking, and is it silent where there is none?

    python benchmarks/grokking.py --out grokking.jsonl

Networks learn addition modulo 17 (`creode.testbeds.modular_addition`). Ten seeds grok; ten more
runs have too little data and ten no weight decay, and never do. What is read, and the alarm that is
to announce grokking, are those of `examples/grokking.py`, whose settings were chosen on seeds 100
to 103: it asks for a fall of the loss on swapped pairs. An alarm is fed checkpoint by checkpoint,
from the first until test accuracy has passed one half, or to the last. Three more alarms, of both
readings and of each alone, ring whichever way they go. Kinds take turns, so that a run that is
stopped has measured some of each.

Here: the runs, when alarms ring, their lead.
Not here: the networks (testbeds/), the reading (examples/grokking.py), the table (report.py).
"""

from __future__ import annotations

import argparse
import math
import runpy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import Report, note

from creode.development import Alarm, AlarmConfig, Event
from creode.testbeds.modular_addition import AdditionRun, modular_addition

EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "grokking.py"))
LONGEST = 4000  # steps in which runs that are to grok must do so, or count as missed
LAST = 4000  # steps to which runs that do not grok are watched: as long as the others may take
KINDS = {
    "grokking": EXAMPLE["GROKS"],
    "too little data": EXAMPLE["LITTLE_DATA"],
    "no weight decay": EXAMPLE["NO_DECAY"],
}

NAMES = {
    "announced": "the loss on swapped pairs falls",
    "both": "λ̂ or the loss on swapped pairs moves",
    "swapped": "the loss on swapped pairs moves",
    "llc": "λ̂ of the training loss moves",
}


def watched(run: AdditionRun, last: int) -> dict[str, Any]:
    """The first event of every alarm up to a step, and the readings on the way."""
    alone = {name: Alarm(AlarmConfig(watch=(name,))) for name in ("swapped", "llc")}
    alarms = {"announced": Alarm(EXAMPLE["ANNOUNCES"]), "both": Alarm()} | alone
    first: dict[str, Event | None] = dict.fromkeys(NAMES)
    curve = []
    for step in run.steps:
        if step > last:
            break
        now = EXAMPLE["readings"](run, step)
        curve.append((step, *(tuple(now[name]) for name in ("llc", "swapped"))))
        for name, alarm in alarms.items():
            events = alarm.update(step, now)
            first[name] = first[name] or (events[0] if events else None)
    return {"first": first, "curve": curve}


def summary(run: AdditionRun, event: Event | None, right: int | None) -> dict[str, Any]:
    """When and on what an alarm rang, and by how much before test accuracy passed one half."""
    if event is None:
        return {"rang": False}
    told = {
        "rang": right is None or event.step < right,
        "accuracy_then": float(run.test_accuracy[run.steps.index(event.step)]),
        **asdict(event),
    }
    if right is not None:
        told |= {"lead": right - event.step, "lead_log_step": math.log(right / event.step)}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--first-seed", type=int, default=0, help="100 to 103 were developed on")
    parser.add_argument("--runs", type=int, default=10, help="of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--quick", action="store_true", help="one run of each; measures little")
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    given = parser.parse_args()
    torch.set_num_threads(1)  # the networks are too small for more
    seeds = range(given.first_seed, given.first_seed + (1 if given.quick else given.runs))
    report = Report("grokking", out=given.out)
    rings: dict[str, list[float]] = {}
    leads: list[float] = []
    for seed in seeds:
        for kind in given.kinds:
            length = LONGEST if kind == "grokking" else LAST
            (run,) = modular_addition([seed], range(0, length + 1, EXAMPLE["EVERY"]), KINDS[kind])
            right = run.grokked()
            seen = watched(run, LAST if right is None else right)
            told = {name: summary(run, event, right) for name, event in seen["first"].items()}
            for name, of_alarm in told.items():
                rings.setdefault(f"{kind}, {NAMES[name]}", []).append(float(of_alarm["rang"]))
            if told["announced"]["rang"] and right is not None:
                leads.append(float(told["announced"]["lead"]))
            report.add(
                f"{kind}: runs", f"seed {run.seed}", [float(told["announced"]["rang"])],
                unit="announced",
                notes=f"half right at {right}; {seen['first']['announced'] or 'not announced'}",
                alarms=told,
                curve=seen["curve"], half_right_at=right,
                test_accuracy_most=float(run.test_accuracy.max()),
            )  # fmt: skip
        note(f"seed {seed}: done")
    for name, shares in rings.items():
        report.add("rang (before half are right)", name, [float(np.mean(shares))], unit="share")
    if leads:
        report.add("lead", "before half are right", leads, unit="steps")
    print("\n" + report.table())


if __name__ == "__main__":
    main()
