"""The pilot of the automatic sampler, alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from creode.cli import console
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
    TextOpt,
    TokenizerOpt,
    given,
    strength,
)


@app.command(
    epilog="Example: creode calibrate runs/decoder --data corpus:code --length 64 "
    "--budget 2000 --out runs/settings.json"
)
@reported
def calibrate(  # noqa: PLR0913, PLR0917 - a command's parameters are its options
    model: ModelArg,
    data: DataOpt,
    out: Annotated[Path, typer.Option(help="File of settings, for `creode llc --settings`.")],
    nbeta: StrengthOpt = "auto",
    localization: StrengthOpt = "auto",
    budget: BudgetOpt = None,
    task: Annotated[str, typer.Option(help="next-token or classification.")] = "next-token",
    component: Annotated[str, typer.Option(help="Part that is sampled.")] = "full",
    split: SplitOpt = "train",
    text: TextOpt = "text",
    tokenizer: TokenizerOpt = None,
    length: LengthOpt = 128,
    limit: LimitOpt = None,
    chains: Annotated[int, typer.Option(min=1, help="Independent chains.")] = 4,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences of a gradient.")] = 32,
    seed: SeedOpt = 0,
    mode: ModeOpt = "auto",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …")] = None,
    as_json: JsonOpt = False,
) -> None:
    """Run the pilot of the automatic sampler alone, and keep the settings it chooses."""
    from creode.study import StudyConfig, calibrate_study

    study = StudyConfig.model_validate(
        {
            "model": model,
            "task": task,
            "data": {
                "source": data, "split": split, "text": text, "tokenizer": tokenizer,
                "length": length, "limit": limit,
            },
            "components": (component,),
            "sampler": {"name": "auto", **given(budget=budget)},
            "nbeta": strength("nbeta", nbeta),
            "localization": strength("localization", localization),
            "schedule": {"chains": chains, "seed": seed, "batch_size": batch_size},
            "execution": {"mode": mode, "device": device},
        }
    )  # fmt: skip
    with console.progress("rounds at most") as advance:
        record = calibrate_study(study, on_progress=advance).record()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(record, indent=1))
    else:
        console.show(console.settings_table(record))
    console.note(f"settings: {out}")
