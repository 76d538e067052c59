"""Two tasks in one network: which inputs belong together, and which hidden unit serves which task.

Five networks answer two independent parities each; every hidden unit was planted for one of them.
From draws of the whole network's posterior the loss kernel groups the inputs, with no labels; from
draws of each unit's own, its susceptibility to the first task's inputs says whether it serves them.
Settings were chosen on seed 100; all seeds run are printed and judged.

    python examples/two_tasks.py
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

import creode
from creode.response import loss_kernel, susceptibility
from creode.testbeds.two_tasks import TwoTasks, two_tasks

SEEDS = range(5)


def sampled(net: TwoTasks, seed: int, *, unit: int | None = None, draws: int) -> xr.DataTree:
    """Draws of the whole network's posterior, or of one unit's weights with the rest at w*."""
    posterior = creode.LocalPosterior(
        net.model,
        net.task,
        net.data,
        nbeta=30.0,
        localization=300.0,
        component="full" if unit is None else net.unit(unit),
    )
    return creode.sample(
        posterior,
        {"inputs": net.data} if unit is None else net.asking(),
        traces=("inputs",) if unit is None else (),
        sampler=creode.BAOAB(step_size=0.025, friction=35.0),
        chains=4,
        draws=draws,
        burnin=50,
        steps_per_draw=4,
        batch_size=len(net.data),
        seed=seed,
        execution=creode.Execution(mode="vectorised"),
    )


def of_inputs(net: TwoTasks, seed: int, *, draws: int = 400) -> xr.Dataset:
    """How well the loss kernel's two clusters agree with the task that each input asks for."""
    return loss_kernel(sampled(net, seed, draws=draws), "inputs").alignment(net.asks.numpy())


def of_units(net: TwoTasks, seed: int, *, draws: int = 100) -> xr.Dataset:
    """Standardised χ of every hidden unit to the inputs of each task."""
    units = {
        f"unit {index}": sampled(net, seed, unit=index, draws=draws)
        for index in range(len(net.serves))
    }
    return susceptibility(units, by="dataset", standardise="columns")


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """The share of (positive, negative) pairs in which the positive has the higher score."""
    return float((score[positive][:, None] > score[~positive][None, :]).mean())


def found_units(net: TwoTasks, chi: xr.Dataset) -> float:
    """AUC of −χ to the first task's inputs for the units planted to serve it."""
    score = -chi["chi_standard"].sel(probe="first").values
    return area_under_curve(score, net.serves.numpy() == 0)


def main() -> None:
    torch.set_num_threads(1)  # the networks are too small for more
    nmi, auc, trusted = [], [], []
    for seed in SEEDS:
        net = two_tasks(seed=seed)
        inputs, units = of_inputs(net, seed), of_units(net, seed)
        nmi.append(float(inputs["nmi"]))
        auc.append(found_units(net, units))
        trusted.append(bool(inputs["ok"]) and bool(units["ok"].all()))
        print(
            f"seed {seed}: inputs by task NMI {nmi[-1]:.3f} (chance "
            f"{float(inputs['nmi_chance']):.3f}), units by task AUC {auc[-1]:.3f}"
            f"{'' if trusted[-1] else ', not to be trusted'}",
            flush=True,
        )
    assert min(nmi) >= 0.9, nmi
    assert min(auc) >= 0.95, auc
    assert all(trusted), trusted


if __name__ == "__main__":
    main()
