"""What a change of the data will do, from a run of responses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from creode.cli import console
from creode.cli.app import app, reported
from creode.cli.options import JsonOpt, StrictOpt, numbers
from creode.cli.show import warn_of_doubt
from creode.cli.writing_tables import comparison_tables, shift_table


@app.command(
    epilog="Example: creode shift runs/answers --to code=0.7 --to logs=0.3. "
    "Two models: creode shift runs/answers runs/others --to code=1"
)
@reported
def shift(
    directories: Annotated[
        list[Path],
        typer.Argument(help="Run directory of `creode respond`; several are compared."),
    ],
    to: Annotated[
        list[str], typer.Option(help="PROBE=SHARE of the data as they would be; shares sum to 1.")
    ],
    component: Annotated[str | None, typer.Option(help="Part whose posterior is asked.")] = None,
    checkpoint: Annotated[int | None, typer.Option(help="Step; default: the last.")] = None,
    training: Annotated[
        str, typer.Option(help="Of several: the probe whose samples tell their training losses.")
    ] = "data",
    as_json: JsonOpt = False,
    strict: StrictOpt = False,
) -> None:
    """Predict what losses do if the data become another mixture, and how far that holds."""
    from creode.study.writing import compared, one_posterior, shift_records

    shares = numbers("to", to)
    if len(directories) > 1:
        found = compared(
            directories, shares, component=component, checkpoint=checkpoint, training=training
        )
        if as_json:
            typer.echo(json.dumps(found, indent=1))
        else:
            for table in comparison_tables(found):
                console.show(table)
        warn_of_doubt(found["models"], strict=strict)
        return
    records = shift_records(one_posterior(directories[0], component, checkpoint), shares)
    if as_json:
        typer.echo(json.dumps(records, indent=1))
    else:
        console.show(shift_table(records))
    warn_of_doubt(records, strict=strict)
