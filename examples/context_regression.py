"""Ridge regression in context, and how it gives way to knowing the tasks.

A two-layer transformer sees eight examples (x, y) of a linear regression in four dimensions and
predicts each y. With few training tasks it first comes near ridge regression, which suits any
task, then leaves it towards dMMSE, which knows the few: ridge is transient. With many it stays.
λ̂ is read along checkpoints with one setting throughout, the stages in it are told, and its value
where the run with few tasks is nearest to ridge on new tasks is compared with that at the end.

Before it is read a checkpoint is trained on for a while with a rate that falls to zero: at the full
rate weights are not near a minimum, and λ̂ tells that instead. Weight decay holds their size, as
without it they more than double (the blocks begin with norms, so size costs nothing), and one
tether then allows ever smaller changes of the function.
Settings were chosen on seed 100.

    python examples/context_regression.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

import creode
from creode.data import Samples
from creode.development import (
    dmmse_in_context,
    list_checkpoints,
    load_weights,
    ridge_in_context,
    stages,
    trajectory_pca,
)
from creode.testbeds.context_regression import (
    NOISE_VARIANCE,
    ContextRegression,
    context_regression,
    examples,
)
from creode.training import TrainingConfig, train

FEW, MANY = 8, 64  # tasks
SEEDS = range(1)  # one takes five minutes
CHECKPOINTS = (200, 276, 381, 526, 725, 1380, 2627, 5000)  # steps; the last ends the training
COOLING = 500  # steps in which the learning rate falls to zero before λ̂ is read
LLC_SAMPLES = 2048


def config(steps: int, seed: int, **options: object) -> TrainingConfig:
    """How the transformer is trained, at a constant rate unless told otherwise."""
    return TrainingConfig(
        steps=steps,
        batch_size=64,
        learning_rate=7e-3,
        warmup_steps=20,
        optimizer_options={"weight_decay": 0.1, "betas": (0.9, 0.98)},
        seed=seed,
        **options,  # type: ignore[arg-type]
    )


def trained(
    num_tasks: int, seed: int, run: Path, *, checkpoints: tuple[int, ...] = CHECKPOINTS
) -> tuple[ContextRegression, dict[int, nn.Module]]:
    """A test bed, and the transformers of a training run in `run`, cooled, by training step."""
    net = context_regression(num_tasks, seed=seed)
    training = config(checkpoints[-1], seed, checkpoints=checkpoints)
    train(net.model, net.task, net.data, training, out=run)
    models = {}
    for checkpoint in list_checkpoints(run):
        load_weights(net.model, checkpoint.path)
        falling = config(COOLING, seed + 1, schedule="linear")
        models[checkpoint.step] = train(net.model, net.task, net.data, falling).model
    return net, models


def llc_of(net: ContextRegression, model: nn.Module) -> xr.Dataset:
    """λ̂ of the whole transformer on the training tasks, with its error, verdict and loss."""
    tree = creode.sample(
        creode.LocalPosterior(
            model,
            net.task,
            net.data.select(torch.arange(LLC_SAMPLES)),
            nbeta=10.0,
            localization=300.0,
        ),
        sampler=creode.BAOAB(step_size=0.006, friction=60.0),
        chains=4,
        draws=90,
        burnin=150,
        steps_per_draw=2,
        batch_size=64,
        control_variates=True,
    )
    return creode.llc(tree)[["llc", "llc_se", "ok", "reasons", "init_loss"]]


@torch.no_grad()
def outputs(models: dict[int, nn.Module], samples: Samples) -> xr.DataArray:
    """Predictions (checkpoint, sample, output) along a training run."""
    rows = [model(samples.columns["inputs"]).double().numpy() for model in models.values()]
    return xr.DataArray(
        np.stack(rows), {"checkpoint": [*models]}, dims=("checkpoint", "sample", "output")
    )


def ideals(samples: Samples, tasks: Tensor) -> dict[str, xr.DataArray]:
    """What ridge regression and the posterior mean over the tasks predict."""
    x, y = (column.double().numpy() for column in examples(samples))
    known = tasks.double().numpy()
    return {
        "ridge": ridge_in_context(x, y, noise_variance=NOISE_VARIANCE),
        "dmmse": dmmse_in_context(x, y, known, noise_variance=NOISE_VARIANCE),
    }


def distances(net: ContextRegression, models: dict[int, nn.Module]) -> xr.Dataset:
    """Mean squared distances (checkpoint, sample), over the predictions of a sequence.

    to_ridge and to_dmmse on held-out sequences of the training tasks, new_to_ridge on new tasks.
    """
    assert net.tasks is not None
    own, new = outputs(models, net.held_out), outputs(models, net.new)
    on_own, on_new = (ideals(samples, net.tasks) for samples in (net.held_out, net.new))
    found = xr.Dataset(
        {
            "to_ridge": ((own - on_own["ridge"]) ** 2).mean("output"),
            "to_dmmse": ((own - on_own["dmmse"]) ** 2).mean("output"),
            "new_to_ridge": ((new - on_new["ridge"]) ** 2).mean("output"),
        }
    )
    for step in found["checkpoint"].values:
        mean = {name: float(found[name].sel(checkpoint=step).mean()) for name in found}
        print(
            f"  step {step:5d}: to ridge {mean['to_ridge']:.3f}, to dMMSE {mean['to_dmmse']:.3f}; "
            f"on new tasks to ridge {mean['new_to_ridge']:.3f}",
            flush=True,
        )
    return found


def difference(one: xr.DataArray, other: xr.DataArray) -> tuple[float, float]:
    """The mean of one (sample,) less that of another on the same samples, and its error."""
    paired = (one - other).values
    return float(paired.mean()), float(paired.std(ddof=1) / len(paired) ** 0.5)


def readings(net: ContextRegression, models: dict[int, nn.Module]) -> xr.Dataset:
    """λ̂, its error and verdict, and the loss (checkpoint)."""
    rows = []
    for step, model in models.items():
        rows.append(llc_of(net, model).assign_coords(checkpoint=step))
        print(f"  step {step:5d}: {told(rows[-1])}", flush=True)
    return xr.concat(rows, "checkpoint").rename(init_loss="loss")


def told(reading: xr.Dataset) -> str:
    """A reading in words."""
    doubt = "" if reading["ok"] else f", not to be trusted: {reading['reasons'].item()}"
    return (
        f"λ̂ {float(reading['llc']):.1f} ± {float(reading['llc_se']):.1f} at loss "
        f"{float(reading['init_loss']):.1f}{doubt}"
    )


def tell_plane(
    few: ContextRegression, few_models: dict[int, nn.Module], many_models: dict[int, nn.Module]
) -> None:
    """Print how far each run is from both ideals of the few tasks in their common plane."""
    assert few.tasks is not None
    runs = [outputs(models, few.new) for models in (few_models, many_models)]
    found = trajectory_pca(
        xr.concat(runs, xr.Variable("run", ["few", "many"]), join="outer"),
        ideals(few.new, few.tasks),
        num_components=2,
    )
    print(f"  plane with {float(found['explained'].sum()):.0%} of the variance on new tasks:")
    gaps = ((found["score"] - found["ideal"]) ** 2).sum("component", skipna=False) ** 0.5
    for run in ("few", "many"):
        for gap in gaps.sel(run=run).dropna("checkpoint").transpose("checkpoint", ...):
            to_ridge, to_dmmse = (float(gap.sel(predictor=name)) for name in ("ridge", "dmmse"))
            print(
                f"    {run}, step {int(gap['checkpoint']):5d}: to ridge {to_ridge:.2f}, to dMMSE "
                f"{to_dmmse:.2f}"
            )


def tell_stages(along: xr.Dataset) -> None:
    """Print the stages of λ̂, or why there are none."""
    try:
        found = stages(along)
    except ValueError as error:
        print(f"  no stages: {error}")
        return
    for index in range(found.sizes["stage"]):
        one = found.isel(stage=index)
        print(
            f"  stage from step {float(one['stage_start']):.0f} to {float(one['stage_end']):.0f}: "
            f"{one['stage_kind'].item()}, type {one['stage_type'].item()}, λ̂ "
            f"{float(one['llc_delta']):+.1f} ± {float(one['llc_delta_se']):.1f}"
        )


def claims(seed: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Differences that are positive if what is said above is so, with their errors."""
    print(f"seed {seed}, {FEW} tasks", flush=True)
    few, few_models = trained(FEW, seed, folder / "few")
    to = distances(few, few_models)
    nearest = int(to["new_to_ridge"].mean("sample").idxmin("checkpoint"))
    then, end = to.sel(checkpoint=nearest), to.isel(checkpoint=-1)
    along = readings(few, few_models)
    tell_stages(along)
    print(f"seed {seed}, {MANY} tasks", flush=True)
    many, many_models = trained(MANY, seed, folder / "many", checkpoints=CHECKPOINTS[-1:])
    of_many = distances(many, many_models).isel(checkpoint=-1)
    reading_of_many = readings(many, many_models).isel(checkpoint=-1)
    tell_plane(few, few_models, many_models)
    return {
        "few tasks, new sequences: to ridge at the end less then": difference(
            end["new_to_ridge"], then["new_to_ridge"]
        ),
        "few tasks: to dMMSE less to ridge then": difference(then["to_dmmse"], then["to_ridge"]),
        "few tasks: to dMMSE then less at the end": difference(then["to_dmmse"], end["to_dmmse"]),
        "many tasks: to dMMSE less to ridge at the end": difference(
            of_many["to_dmmse"], of_many["to_ridge"]
        ),
        "few tasks: λ̂ at the end less then": rise(
            along.sel(checkpoint=nearest), along.isel(checkpoint=-1)
        ),
        "λ̂ at the end: few tasks less many": rise(reading_of_many, along.isel(checkpoint=-1)),
    }


def rise(one: xr.Dataset, other: xr.Dataset) -> tuple[float, float]:
    """How much higher the other λ̂ is, and its error; NaN if one is not to be trusted."""
    if not (one["ok"] and other["ok"]):
        return float("nan"), float("nan")
    return (
        float(other["llc"] - one["llc"]),
        float((one["llc_se"] ** 2 + other["llc_se"] ** 2) ** 0.5),
    )


def main() -> None:
    torch.set_num_threads(1)  # the transformers are too small for more
    found = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            found.append(claims(seed, Path(folder)))
    print("then: at the checkpoint nearest to ridge on new tasks")
    for name in found[0]:
        gaps = [one[name] for one in found]
        print(f"{name}: " + ", ".join(f"{gap:+.3g} ± {se:.2g}" for gap, se in gaps), flush=True)
    for name in found[0]:
        for gap, se in (one[name] for one in found):
            assert gap > 3 * se, (name, gap, se)


if __name__ == "__main__":
    main()
