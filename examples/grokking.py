"""Grokking announced: an alarm rings while test accuracy is still low and the training loss flat.

Small networks learn addition modulo 17 by heart and, long after, the rule. Every 50 steps short
chains around the weights read λ̂ of the training loss and the posterior's mean loss on swapped
pairs: training pairs with their operands the other way round, where those are not trained on. The
alarm sees the training loss and is asked whether the loss on swapped pairs falls, otherwise at its
defaults; it sees no test accuracy and no other label. Two controls, one without weight decay and
one with too little data, never grok, and the alarm must not ring. Settings were chosen on seeds 100
to 103; `benchmarks/grokking.py` judges them on thirty runs.

    python examples/grokking.py
"""

from __future__ import annotations

from dataclasses import replace

import torch

import creode
from creode.development import Alarm, AlarmConfig, Event, Reading
from creode.testbeds.modular_addition import AdditionConfig, AdditionRun, modular_addition

EVERY = 50  # steps
GROKS = AdditionConfig()
NO_DECAY = replace(GROKS, weight_decay=0.0)
LITTLE_DATA = replace(GROKS, train_fraction=0.3)

# γ = nβ: a direction counts in λ̂ as far as its curvature exceeds 1. The step is 1.1 over the root
# of the largest curvature of the posterior, nβ h + γ with h about 6; chains forget in three steps.
NBETA, LOCALIZATION = 1000.0, 1000.0
KERNEL = creode.BAOAB(step_size=0.013, friction=50.0)
ANNOUNCES = AlarmConfig(watch={"swapped": "falls"})  # that it rises is a change, too, but not this


def readings(run: AdditionRun, step: int) -> dict[str, Reading]:
    """What the alarm is told at one checkpoint."""
    posterior = creode.LocalPosterior(
        run.model(step), run.task, run.train, nbeta=NBETA, localization=LOCALIZATION
    )
    draws = creode.sample(
        posterior,
        {"swapped": run.swapped},
        sampler=KERNEL,
        chains=4,
        draws=60,
        burnin=20,
        steps_per_draw=3,
        batch_size=len(run.train),
        seed=step,
        execution=creode.Execution(mode="vectorised"),
    )
    llc, swapped = creode.llc(draws), creode.llc(draws, on="swapped")
    error = float(swapped["llc_se"]) / NBETA  # λ̂ on the pairs is nβ times their mean excess loss
    return {
        "loss": Reading(float(run.train_loss[run.steps.index(step)])),
        "llc": Reading(float(llc["llc"]), float(llc["llc_se"]), bool(llc["ok"])),
        "swapped": Reading(float(swapped["mean_loss"]), error, bool(llc["ok"])),
    }


def first_ring(run: AdditionRun, last: int) -> Event | None:
    """The first event of an alarm that watches the run up to a step."""
    alarm = Alarm(ANNOUNCES)
    for step in run.steps:
        if step <= last and (events := alarm.update(step, readings(run, step))):
            return events[0]
    return None


def main() -> None:
    torch.set_num_threads(1)  # the networks are too small for more
    steps = range(0, 3001, EVERY)
    for run in modular_addition(range(2), steps, GROKS):
        right = run.grokked()
        assert right is not None
        event = first_ring(run, last=right)
        print(
            f"seed {run.seed}: half of the unseen pairs right at step {right}; {event}", flush=True
        )
        assert event is not None
        assert event.step < right
        assert event.change < 0
        assert run.train_loss[run.steps.index(event.step)] < 0.05
    for name, config in {"no weight decay": NO_DECAY, "too little data": LITTLE_DATA}.items():
        (run,) = modular_addition([0], steps, config)
        event = first_ring(run, last=2000)
        accuracy = run.test_accuracy.max()
        print(f"{name}: never more than {accuracy:.0%} right; {event or 'no ring'}", flush=True)
        assert accuracy < 0.5
        assert event is None, event


if __name__ == "__main__":
    main()
