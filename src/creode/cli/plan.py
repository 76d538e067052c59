"""What a study will cost, before it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from creode.cli import console
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
from creode.cli.loop_show import stages_cost_table
from creode.cli.options import (
    BatchSizeOpt,
    BudgetOpt,
    BurninOpt,
    ChainsOpt,
    CheckpointsOpt,
    ControlOpt,
    DeviceOpt,
    DrawsOpt,
    ForwardDtypeOpt,
    JsonOpt,
    LengthOpt,
    LimitOpt,
    MicrobatchOpt,
    ModeOpt,
    PackingOpt,
    PrincipleOpt,
    ReferenceOpt,
    RevisionOpt,
    SamplerOpt,
    SamplerSettingOpt,
    SeedOpt,
    SettingsOpt,
    SplitOpt,
    StepSizeOpt,
    StepsPerDrawOpt,
    StrengthOpt,
    TaskOpt,
    TextOpt,
    TokenizerOpt,
    TwoChainOpt,
    study_of,
)


@app.command(
    epilog="Example: creode plan runs/decoder --data corpus:code --length 64 --budget 2000 "
    "--probe code=corpus:code --component heads"
)
@reported
def plan(  # noqa: PLR0913, PLR0917 - a command's parameters are its options
    model: Annotated[
        str,
        typer.Argument(
            help="A model, as for `creode llc`; a run directory, to plan again; or a STUDY.yaml."
        ),
    ],
    data: Annotated[
        str | None, typer.Option(help="Data, as for `creode llc`; not for a run directory.")
    ] = None,
    probe: Annotated[
        list[str] | None, typer.Option(help="NAME=SOURCE whose loss is read too; same format.")
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
        typer.Option(help="Part that is read; a name or heads, layers, mlps, …"),
    ] = None,
    checkpoints: CheckpointsOpt = "last",
    revision: RevisionOpt = None,
    observable: Annotated[
        list[str] | None,
        typer.Option(help="Probe whose mean loss is observed, beside the loss of the data."),
    ] = None,
    two_chain: TwoChainOpt = False,
    control: ControlOpt = None,
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
    seed: SeedOpt = 0,
    mode: ModeOpt = "auto",
    device: DeviceOpt = None,
    forward_dtype: ForwardDtypeOpt = None,
    microbatch: MicrobatchOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Say how many units of work a study has, how long it takes, and what it needs."""
    from dataclasses import asdict

    from creode.store import Store
    from creode.study import StudyConfig, plan_study

    if data is None and Path(model).suffix in (".yaml", ".yml", ".json"):
        _plan_file(Path(model), as_json=as_json)
        return
    if data is None:
        with Store.open(model, mode="read") as store:
            config = store.config.get("study")
        if config is None:
            raise ValueError(f"{model} was made from Python objects; a record cannot rebuild them.")
    else:
        options = locals()
        config = study_of(options) | {"observables": tuple(observable or [])}
        if two_chain or control is not None:
            form = "two-chain" if two_chain else "single-chain"
            config |= {"reading": "response", "form": form, "control": control}
        along = development_of(options)
        if any(along.values()):
            config |= {"reading": "development"} | along
    cost = plan_study(StudyConfig.model_validate(config))
    _tell(asdict(cost), console.cost_table(asdict(cost)), as_json=as_json)


def _plan_file(study: Path, *, as_json: bool) -> None:
    """The cost of what `creode run` would do with a file."""
    from dataclasses import asdict

    from creode.study import StudyConfig, plan_study
    from creode.study.loop_config import LoopConfig, load_fields
    from creode.study.loop_plan import plan_loop

    fields = load_fields(study)
    if "behaviour" not in fields:
        cost = asdict(plan_study(StudyConfig.model_validate(fields)))
        _tell(cost, console.cost_table(cost), as_json=as_json)
        return
    stages = [asdict(one) for one in plan_loop(LoopConfig.model_validate(fields))]
    _tell(stages, stages_cost_table(stages), as_json=as_json)


def _tell(cost: Any, table: Table, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(cost, indent=1))
    else:
        console.show(table)
