"""Which training samples made the model do this?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from creode.cli import console
from creode.cli.app import app, reported
from creode.cli.options import (
    BatchSizeOpt,
    BudgetOpt,
    BurninOpt,
    ChainsOpt,
    DeviceOpt,
    DrawsOpt,
    JsonOpt,
    LengthOpt,
    LimitOpt,
    ModeOpt,
    PackingOpt,
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
    StrictOpt,
    TaskOpt,
    TextOpt,
    TokenizerOpt,
    given,
    number,
    one_of,
    pairs,
    sampling,
)
from creode.cli.progress import progress
from creode.cli.show import tables


@app.command(
    epilog="Example: creode attribute runs/decoder --train corpus:code --query corpus:docstrings "
    "--length 64 --limit 256 --query-limit 8 --budget 2000 --out runs/attribution; then "
    "creode attribute --from runs/attribution --query-id 3"
)
@reported
def attribute(  # noqa: PLR0913, PLR0917 - a command's parameters are its options
    model: Annotated[
        str | None,
        typer.Argument(help="Directory or hub id of a model, or a directory of checkpoints."),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(help="Training data: file, directory, hub id, or corpus:DOMAIN[,DOMAIN]."),
    ] = None,
    query: Annotated[str | None, typer.Option(help="Data to be explained; same forms.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; an interrupted run continues.")
    ] = None,
    from_run: Annotated[
        Path | None,
        typer.Option("--from", help="Answer from a finished run directory, sampling nothing."),
    ] = None,
    query_id: Annotated[
        list[int] | None, typer.Option(min=0, help="Query by its position; default: all.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Training samples of each side to show.")] = 5,
    kind: Annotated[str, typer.Option(help="covariance or correlation.")] = "covariance",
    fdr: Annotated[float, typer.Option(help="Rate of false discoveries among those starred.")] = (
        0.05
    ),
    parquet: Annotated[
        Path | None, typer.Option(help="Also write all pairs of these queries to a Parquet file.")
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
    component: Annotated[str, typer.Option(help="Part that is sampled.")] = "full",
    revision: RevisionOpt = None,
    split: SplitOpt = "train",
    query_split: Annotated[
        str | None, typer.Option(help="Split of the queries; default: as the training data.")
    ] = None,
    text: TextOpt = "text",
    tokenizer: TokenizerOpt = None,
    length: LengthOpt = 128,
    limit: LimitOpt = None,
    query_limit: Annotated[int | None, typer.Option(min=1, help="Queries at most.")] = None,
    packing: PackingOpt = "pack",
    chains: ChainsOpt = 4,
    draws: DrawsOpt = None,
    burnin: BurninOpt = None,
    steps_per_draw: StepsPerDrawOpt = None,
    batch_size: BatchSizeOpt = 32,
    seed: SeedOpt = 0,
    mode: ModeOpt = "auto",
    device: DeviceOpt = None,
    as_json: JsonOpt = False,
    strict: StrictOpt = False,
) -> None:
    """Find the training samples that help and harm the model on each query, with errors."""
    from creode.study import run_study
    from creode.study.attribution import Attribution, attribution_study

    if from_run is None:
        if model is None or train is None or query is None or out is None:
            raise ValueError(
                "a new run needs MODEL, --train, --query and --out; a finished one --from DIR."
            )
        formats = {"text": text, "tokenizer": tokenizer, "length": length, "packing": packing}
        kernel = given(step_size=step_size, budget=budget)
        kernel |= {n: number(n, v) for n, v in pairs("sampler-option", sampler_option)}
        study = attribution_study(
            {
                "model": model,
                "revision": revision,
                "task": task,
                "reference": reference,
                "data": {"source": train, "split": split, "limit": limit, **formats},
                "components": (component,),
                "execution": {"mode": mode, "device": device},
                **sampling(
                    nbeta=nbeta, localization=localization, sampler=sampler, settings=settings,
                    kernel=kernel,
                    lengths=given(draws=draws, burnin=burnin, steps_per_draw=steps_per_draw),
                    schedule={"chains": chains, "seed": seed, "batch_size": batch_size},
                ),
            },
            query={
                "source": query, "split": query_split or split, "limit": query_limit, **formats,
            },
        )  # fmt: skip
        with progress("chain-steps") as advance:
            run_study(study, out, on_progress=advance)
    elif model is not None or train is not None or query is not None or out is not None:
        raise ValueError("--from answers from a finished run; drop MODEL, --train, --query, --out.")
    directory = from_run or out
    assert directory is not None
    found = Attribution(directory, one_of(kind, "covariance", "correlation"))
    answers = found.answers(query_id or None, top, fdr=fdr)
    found.save(answers)
    if as_json:
        typer.echo(json.dumps(answers, indent=1))
    else:
        for table in tables(found, answers):
            console.show(table)
    console.note(f"report: {found.write_report(found.report(answers, fdr=fdr))}")
    for probe, why in found.texts_missing.items():
        console.note(f"the text of {probe} samples is not shown: {why}")
    if parquet is not None:
        console.note(f"table: {found.influence.to_parquet(parquet, queries=query_id or None)}")
    if not found.influence.ok:
        console.note(f"warning: the influences are not to be trusted: {found.influence.reasons}")
        if strict:
            raise typer.Exit(1)
