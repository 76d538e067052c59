"""Stages of development, from readings along checkpoints."""

from __future__ import annotations

from typing import Annotated

import typer

from creode.cli.app import app, reported
from creode.cli.options import (
    BatchSizeOpt,
    BudgetOpt,
    BurninOpt,
    ChainsOpt,
    CheckpointsOpt,
    ControlVariatesOpt,
    DataOpt,
    DeviceOpt,
    DrawsOpt,
    ForwardDtypeOpt,
    JsonOpt,
    LengthOpt,
    LimitOpt,
    MicrobatchOpt,
    ModelArg,
    ModeOpt,
    PackingOpt,
    PrincipleOpt,
    ReferenceOpt,
    RevisionOpt,
    RunOpt,
    SamplerOpt,
    SamplerSettingOpt,
    SeedOpt,
    SettingsOpt,
    SplitOpt,
    StepSizeOpt,
    StepsPerDrawOpt,
    StrengthOpt,
    StrictOpt,
    TaskOpt,
    TextOpt,
    TokenizerOpt,
    study_of,
)
from creode.cli.show import run_and_show


@app.command(
    epilog="Example: creode develop runs/decoder --data corpus:code --length 64 --budget 2000 "
    "--component full --component heads --out runs/stages"
)
@reported
def develop(  # noqa: PLR0913, PLR0917 - a command's parameters are its options
    model: ModelArg,
    data: DataOpt,
    out: RunOpt,
    nbeta: StrengthOpt = "auto",
    localization: StrengthOpt = "auto",
    sampler: SamplerOpt = "auto",
    budget: BudgetOpt = None,
    settings: SettingsOpt = None,
    step_size: StepSizeOpt = None,
    sampler_option: SamplerSettingOpt = None,
    task: TaskOpt = "next-token",
    reference: ReferenceOpt = None,
    principle: PrincipleOpt = None,
    component: Annotated[
        list[str] | None,
        typer.Option(help="Part read at every checkpoint; a name or heads, layers, mlps, …"),
    ] = None,
    checkpoints: CheckpointsOpt = "all",
    revision: RevisionOpt = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(help="NAME=SOURCE whose loss is read too (data-refined); same format."),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(help="Also weight_norm, hessian (trace, largest), outputs (their plane)."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="MODULE:FUNCTION of (model, step) that returns readings by name."),
    ] = None,
    split: SplitOpt = "train",
    text: TextOpt = "text",
    tokenizer: TokenizerOpt = None,
    length: LengthOpt = 128,
    limit: LimitOpt = None,
    packing: PackingOpt = "pack",
    chains: ChainsOpt = 4,
    draws: DrawsOpt = None,
    burnin: BurninOpt = None,
    steps_per_draw: StepsPerDrawOpt = None,
    batch_size: BatchSizeOpt = 32,
    control_variates: ControlVariatesOpt = False,
    seed: SeedOpt = 0,
    mode: ModeOpt = "auto",
    device: DeviceOpt = None,
    forward_dtype: ForwardDtypeOpt = None,
    microbatch: MicrobatchOpt = None,
    as_json: JsonOpt = False,
    strict: StrictOpt = False,
) -> None:
    """Read λ̂ along checkpoints; find the stages, what moved in each, and what the loss hid."""
    study = study_of(locals()) | {
        "reading": "development",
        "measures": tuple(measure or []),
        "metrics": tuple(metric or []),
    }
    run_and_show(study, out, as_json=as_json, strict=strict)
