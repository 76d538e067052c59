"""Stages of development, from readings along checkpoints."""

from __future__ import annotations

from typing import Annotated

import typer

from creode.cli.app import app, reported
from creode.cli.development_options import (
    KindOpt,
    MeasureOpt,
    MetricOpt,
    QueryLimitOpt,
    QueryOpt,
    TrainLimitOpt,
    TrainOpt,
    WithOpt,
    development_of,
)
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
    measure: MeasureOpt = None,
    metric: MetricOpt = None,
    query: QueryOpt = None,
    query_limit: QueryLimitOpt = None,
    train: TrainOpt = None,
    train_limit: TrainLimitOpt = None,
    kind: KindOpt = "covariance",
    beside: WithOpt = None,
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
    """Read λ̂ along checkpoints; find the stages, what moved in each, and what the loss hid.

    With --query, also which training samples influence the loss on queries at each checkpoint, and
    which of these influences change their sign or peak.
    """
    options = locals()
    study = study_of(options) | {"reading": "development"} | development_of(options)
    run_and_show(study, out, as_json=as_json, strict=strict)
