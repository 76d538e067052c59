"""Audit a preference data set from start to mended model.

    python examples/audited_preferences.py

A reward model is trained on a thousand pairs. In eighty of them the chosen answer says "indeed",
and is wrong. The model learns both: right answers are better, and so is "indeed".

* Audit: probes ask for the reward of wrong answers that say "indeed"; the model favours them. The
  pairs with which that behaviour grows most surely are the planted ones.
* Mending: weights that lower the behaviour the furthest; trained anew with them the model favours
  right answers again, with the same weights on other pairs it does not.

Here: the whole of it, with assertions. About eight minutes on one core.
Not here: the data and their faults (creode.testbeds.planted_faults), audits of five kinds of fault
over seeds (benchmarks/audit.py).
"""

from __future__ import annotations

import torch

import creode
from creode.patterning import Furthest
from creode.tasks import Margin
from creode.testbeds.planted_faults import PostTrained, planted_fault, post_trained

SEED = 3  # settings were tried on 0 to 2


def main() -> None:
    """Audit, mend, compare."""
    torch.set_num_threads(1)
    fault = planted_fault("token", SEED)
    run = post_trained(fault)
    behaviours = {
        fault.behaviour: fault.behaviours[fault.behaviour],
        "the main task": fault.held_out,
    }
    margins = {
        name: Margin(columns=fault.probe(rows).columns, task=run.task)
        for name, rows in behaviours.items()
    }
    draws = creode.sample(
        creode.LocalPosterior(run.model, run.task, run.data),
        {"train": run.data},
        observables=margins,
        traces=("train",),
        sampler=creode.Auto(budget=10_000, rise=0.1),
    )
    found = creode.audit(
        draws, list(margins),
        margins={name: one.by_prompt(run.model).detach().numpy() for name, one in margins.items()},
    )  # fmt: skip
    print(found.levels[["unwanted", "unwanted_low", "unwanted_high", "shown"]].to_dataframe())
    assert found.shown == (fault.behaviour,)

    planted = fault.planted.numpy()
    first = found.drivers(fault.behaviour, k=int(planted.sum()))
    told = found.samples["driver"].sel(behaviour=fault.behaviour).values
    for number in first[:3].tolist():
        row = fault.rows[number]
        print(f"row {number}: {_said(row['prompt'])} {_said(row['chosen'])}")
    print(f"{planted[first].mean():.0%} of the first {len(first)} rows are planted; {told.sum()} "
          f"are told from chance, of them {planted[told].mean():.0%}")  # fmt: skip
    assert planted[first].mean() >= 0.7

    made = creode.pattern(
        draws, {fault.behaviour: -1.0}, Furthest(least_effective=0.8), along="ranks"
    )  # fmt: skip
    weights = made.weights
    mended = post_trained(fault, weights=weights.tensor())
    permuted = post_trained(fault, weights=weights.permuted(0).tensor())
    before, after, control = (_shown(one) for one in (run, mended, permuted))
    print(f"the fault is shown by {before:.0%} of probes, {after:.0%} with the weights, "
          f"{control:.0%} with the same weights on other pairs")  # fmt: skip
    wrong = [one.unwanted(fault.held_out) for one in (run, mended)]
    print(f"the main task is answered wrongly in {wrong[0]:.1%} and {wrong[1]:.1%} of prompts")
    assert after <= 0.3 * before
    assert control > 0.7 * before
    assert wrong[1] - wrong[0] <= 0.02


def _shown(run: PostTrained) -> float:
    return run.unwanted(run.fault.behaviours[run.fault.behaviour])


def _said(turns: list[dict[str, str]]) -> str:
    return turns[-1]["content"]


if __name__ == "__main__":
    main()
