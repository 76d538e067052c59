"""Learning coefficients, whole and per part, along checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from creode.cli.app import app, reported
from creode.cli.options import (
    BudgetOpt,
    DataOpt,
    JsonOpt,
    LengthOpt,
    LimitOpt,
    ModelArg,
    ModeOpt,
    SeedOpt,
    SplitOpt,
    StrengthOpt,
    StrictOpt,
    TextOpt,
    TokenizerOpt,
    checkpoints_of,
    given,
    number,
    pairs,
    sampling,
)
from creode.cli.show import run_and_show


@app.command(
    epilog="Example: creode llc runs/decoder --checkpoints all --data corpus:code --length 64 "
    "--budget 2000 --final-component heads --out runs/llc"
)
@reported
def llc(  # noqa: PLR0913, PLR0917 - a command's parameters are its options
    model: ModelArg,
    data: DataOpt,
    out: Annotated[Path, typer.Option(help="Run directory; an interrupted run continues.")],
    nbeta: StrengthOpt = "auto",
    localization: StrengthOpt = "auto",
    sampler: Annotated[
        str, typer.Option(help="auto, or a kernel: sgld, rmsprop_sgld, baoab or badodab.")
    ] = "auto",
    budget: BudgetOpt = None,
    settings: Annotated[
        Path | None, typer.Option(help="File of `creode calibrate`, in the place of a pilot.")
    ] = None,
    step_size: Annotated[float | None, typer.Option(help="Step size of a kernel.")] = None,
    sampler_option: Annotated[
        list[str] | None, typer.Option(help="Further setting of the kernel, NAME=NUMBER.")
    ] = None,
    task: Annotated[str, typer.Option(help="next-token or classification.")] = "next-token",
    component: Annotated[
        list[str] | None,
        typer.Option(help="Part read at every checkpoint; a name or heads, layers, mlps, …"),
    ] = None,
    final_component: Annotated[
        list[str] | None, typer.Option(help="Part read at the last checkpoint only.")
    ] = None,
    checkpoints: Annotated[
        str, typer.Option(help="last, all, or training steps: 10,100,1000.")
    ] = "last",
    revision: Annotated[str | None, typer.Option(help="Revision on the hub.")] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(help="NAME=SOURCE whose loss is read too (data-refined); same format."),
    ] = None,
    split: SplitOpt = "train",
    text: TextOpt = "text",
    tokenizer: TokenizerOpt = None,
    length: LengthOpt = 128,
    limit: LimitOpt = None,
    packing: Annotated[str, typer.Option(help="pack, truncate or pad.")] = "pack",
    chains: Annotated[int, typer.Option(min=1, help="Independent chains.")] = 4,
    draws: Annotated[
        int | None, typer.Option(help="Draws kept of each chain [default: 200, or chosen].")
    ] = None,
    burnin: Annotated[
        int | None,
        typer.Option(min=0, help="Steps before the first draw [default: 200, or chosen]."),
    ] = None,
    steps_per_draw: Annotated[
        int | None, typer.Option(min=1, help="Steps between draws [default: 5, or chosen].")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences of a gradient.")] = 32,
    control_variates: Annotated[
        bool,
        typer.Option(
            "--control-variates", help="Gradients without their noise at w*; twice the cost."
        ),
    ] = False,
    seed: SeedOpt = 0,
    mode: ModeOpt = "auto",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …")] = None,
    forward_dtype: Annotated[
        str | None, typer.Option(help="bfloat16 for the forward pass.")
    ] = None,
    microbatch: Annotated[int | None, typer.Option(min=1, help="Sequences at once.")] = None,
    as_json: JsonOpt = False,
    strict: StrictOpt = False,
) -> None:
    """Estimate local learning coefficients, whole and per part, along checkpoints."""
    formats = {
        "split": split, "text": text, "tokenizer": tokenizer,
        "length": length, "packing": packing, "limit": limit,
    }  # fmt: skip
    kernel = given(step_size=step_size, budget=budget)
    kernel |= {n: number(n, v) for n, v in pairs("sampler-option", sampler_option)}
    study = {
        "model": model,
        "revision": revision,
        "checkpoints": checkpoints_of(checkpoints),
        "task": task,
        "data": {"source": data, **formats},
        "probes": {n: {"source": s, **formats} for n, s in pairs("probe", probe)},
        "components": tuple(component or ["full"]),
        "final_components": tuple(final_component or []),
        **sampling(
            nbeta=nbeta, localization=localization, sampler=sampler, settings=settings,
            kernel=kernel,
            lengths=given(draws=draws, burnin=burnin, steps_per_draw=steps_per_draw),
            schedule={
                "chains": chains, "seed": seed, "batch_size": batch_size,
                "control_variates": control_variates,
            },
        ),
        "execution": {
            "mode": mode, "device": device, "forward_dtype": forward_dtype,
            "microbatch": microbatch,
        },
    }  # fmt: skip
    run_and_show(study, out, as_json=as_json, strict=strict)
