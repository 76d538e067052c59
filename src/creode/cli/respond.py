"""Responses of a model's parts to data."""

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
    ControlOpt,
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
    TwoChainOpt,
    study_of,
)
from creode.cli.show import run_and_show


@app.command(
    epilog="Example: creode respond runs/decoder --data corpus:code,docstrings --length 64 "
    "--probe code=corpus:code --probe prose=corpus:docstrings --limit 128 --component heads "
    "--budget 2000 --out runs/respond"
)
@reported
def respond(  # noqa: PLR0913, PLR0917 - a command's parameters are its options
    model: ModelArg,
    data: DataOpt,
    probe: Annotated[
        list[str], typer.Option(help="NAME=SOURCE of data to respond to; same format.")
    ],
    out: RunOpt,
    probe_split: Annotated[
        list[str] | None,
        typer.Option(help="PROBE=SPLIT where it is not that of --split, such as held-out data."),
    ] = None,
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
        typer.Option(help="Part whose response is read; a name or heads, layers, mlps, …"),
    ] = None,
    checkpoints: CheckpointsOpt = "last",
    revision: RevisionOpt = None,
    observable: Annotated[
        list[str] | None,
        typer.Option(help="Probe whose mean loss is observed, beside the loss of the data."),
    ] = None,
    two_chain: TwoChainOpt = False,
    control: ControlOpt = None,
    rate: Annotated[
        float, typer.Option(help="Share of false ones among significant responses.")
    ] = 0.05,
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
    """Measure how parts of a model answer to data: susceptibilities to every probe."""
    study = study_of(locals()) | {
        "reading": "response",
        "form": "two-chain" if two_chain else "single-chain",
        "control": control,
        "observables": tuple(observable or []),
        "rate": rate,
    }
    run_and_show(study, out, as_json=as_json, strict=strict)
