"""Superposition's staircase: transitions between k-gons, found from learning coefficients alone.

Ten runs of the toy model of superposition start at a 2-gon whose corners six features share, and
train down a staircase of k-gons. Which k-gon a checkpoint is at is told from its columns. Beside
that, λ̂ of every checkpoint is read with one setting, and the stages of λ̂ over training are found;
a run agrees if they rise at the checkpoints at which the polygon gets corners, and nowhere else,
within one checkpoint, and if the loss falls at each.

The plateaus are saddles, so λ̂ is one of the tethered posterior: the tether γ is stronger than the
steepest way down, of curvature −1/9 times nβ. Such readings are no learning coefficients of a
minimum, and where draws lie below w* `creode.llc` says so (not ok). They are used all the same if
nothing is wrong with the draws. With a weak tether λ is read where it is known, at the end: at the
regular 5- and 6-gon.
Settings were chosen on seeds 100 to 107; all seeds run are printed and judged.
Source: arXiv:2310.06301.

    python examples/superposition_staircase.py
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

import creode
from creode.development import stages
from creode.diagnostics import CHAIN_CHECKS, convergence, excess_loss, gather, verdict
from creode.testbeds import SuperpositionRun, superposition, superposition_run

SEEDS = range(10)
AGREE = 8  # of them


def readings(run: SuperpositionRun, seed: int) -> xr.Dataset:
    """Loss and λ̂ of every checkpoint, with errors, and whether the draws are sound."""
    llc, llc_se, llc_ok = [], [], []
    for checkpoint in range(len(run.steps)):
        posterior = creode.LocalPosterior(
            run.model(checkpoint), run.task, run.data, nbeta=100.0, localization=20.0
        )
        draws = creode.sample(
            posterior,
            sampler=creode.BAOAB(step_size=0.095, friction=4.5),
            chains=32,
            draws=40,
            burnin=40,
            steps_per_draw=4,
            batch_size=len(run.data),
            seed=1000 * seed + checkpoint,
            execution=creode.Execution(mode="vectorised"),
        )
        reading = creode.llc(draws)
        llc.append(float(reading["llc"]))
        llc_se.append(float(reading["llc_se"]))
        llc_ok.append(sound(draws))
    return xr.Dataset(
        {
            "llc": ("checkpoint", llc),
            "llc_se": ("checkpoint", llc_se),
            "llc_ok": ("checkpoint", llc_ok),
            "loss": ("checkpoint", run.loss.numpy()),
        },
        {"checkpoint": list(run.steps)},
    )


def sound(draws: xr.DataTree) -> bool:
    """Whether the chains drew well from their posterior, be it that of a minimum or not."""
    chains = convergence(draws, excess_loss(draws)["excess"])
    return verdict(gather(chains), checks=CHAIN_CHECKS).ok


def in_the_weights(run: SuperpositionRun) -> list[tuple[int, int]]:
    """The first and last checkpoint of each run of changes of k; one change has both the same."""
    corners = run.corners
    found: list[tuple[int, int]] = []
    for checkpoint in range(1, len(corners)):
        if corners[checkpoint] == corners[checkpoint - 1]:
            continue
        if found and found[-1][1] == checkpoint - 1:  # passed through in one checkpoint
            found[-1] = (found[-1][0], checkpoint)
        else:
            found.append((checkpoint, checkpoint))
    return found


def in_llc(table: xr.Dataset) -> tuple[list[int], list[str]]:
    """For each rise of λ̂ the checkpoint after its midpoint, and its type (A: the loss falls)."""
    found = stages(table)
    rises = found.isel(stage=found["stage_kind"].values == "rise")
    after = np.searchsorted(table["checkpoint"].values, rises["stage_midpoint"].values)
    return after.tolist(), rises["stage_type"].values.tolist()


def agrees(seen: list[tuple[int, int]], rises: list[int], types: list[str]) -> bool:
    return 0 < len(seen) == len(rises) and all(
        first - 1 <= rise <= last + 1 and of_type == "A"
        for (first, last), rise, of_type in zip(seen, rises, types, strict=True)
    )


def plateaus(run: SuperpositionRun, table: xr.Dataset, seen: list[tuple[int, int]]) -> str:
    """k, and the medians of loss and λ̂, of each stretch of checkpoints at one k-gon."""
    starts = [0, *(last for _, last in seen)]
    ends = [*(first for first, _ in seen), len(run.steps)]
    words = []
    for start, end in zip(starts, ends, strict=True):
        part = table.isel(checkpoint=slice(start, end)).median()
        words.append(
            f"{run.corners[start]}-gon {float(part['loss']):.4f} and {float(part['llc']):.2f}"
        )
    return ", ".join(words)


def regular(corners: int) -> xr.Dataset:
    """λ̂ of a regular k-gon, a minimum, with a weak tether."""
    testbed = superposition(corners)
    draws = creode.sample(
        creode.LocalPosterior(
            testbed.model, testbed.task, testbed.data, nbeta=1e5, localization=30.0
        ),
        sampler=creode.BAOAB(step_size=0.004, friction=45.0),
        chains=32,
        draws=100,
        burnin=600,
        steps_per_draw=10,
        batch_size=len(testbed.data),
        execution=creode.Execution(mode="vectorised"),
    )
    return creode.llc(draws)


def main() -> None:
    torch.set_num_threads(1)  # the model is too small for more
    agreeing = []
    for seed in SEEDS:
        run = superposition_run(seed=seed)
        table = readings(run, seed)
        seen = in_the_weights(run)
        rises, types = in_llc(table)
        agreeing.append(agrees(seen, rises, types))
        rising = [f"{rise} ({kind})" for rise, kind in zip(rises, types, strict=True)]
        print(
            f"seed {seed}: loss and λ̂ {plateaus(run, table, seen)}\n"
            f"  of {len(run.steps)} checkpoints corners come at {[first for first, _ in seen]}, "
            f"λ̂ rises at [{', '.join(rising)}]: {'agree' if agreeing[-1] else 'DO NOT AGREE'} "
            f"({int((~table['llc_ok']).sum())} readings left out)",
            flush=True,
        )
    assert sum(agreeing) >= AGREE, agreeing
    for corners, llc in ((5, 7.0), (6, 8.5)):
        reading = regular(corners)
        print(
            f"regular {corners}-gon, weak tether: λ̂ {float(reading['llc']):.2f} ± "
            f"{float(reading['llc_se']):.2f}, λ {llc}"
        )
        assert bool(reading["ok"])
        assert abs(float(reading["llc"]) - llc) < 4 * float(reading["llc_se"])


if __name__ == "__main__":
    main()
