"""A study from its file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from creode.cli.app import app, reported
from creode.cli.loop_show import run_and_show_loop
from creode.cli.options import JsonOpt, StrictOpt
from creode.cli.show import run_and_show


@app.command(epilog="Example: creode run runs/demo/study.yaml --out runs/again")
@reported
def run(
    study: Annotated[
        Path,
        typer.Argument(
            help="YAML or JSON: of the whole loop (it names a behaviour), or of one reading (as "
            "`study` in a run directory's run.json)."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Directory; an interrupted run continues. Default: STUDY less its suffix."
        ),
    ] = None,
    as_json: JsonOpt = False,
    strict: StrictOpt = False,
) -> None:
    """Run a study: read a model, attribute a behaviour to its data, choose weights, prove them."""
    from creode.study.loop_config import LoopConfig, load_fields

    fields = load_fields(study)
    target = out or study.with_suffix("")
    if "behaviour" in fields:
        config = LoopConfig.model_validate(fields)
        run_and_show_loop(config, target, as_json=as_json, strict=strict)
    else:
        run_and_show(fields, target, as_json=as_json, strict=strict)
