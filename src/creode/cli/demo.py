"""The whole way on the embedded corpus."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from creode.cli.app import app, reported
from creode.cli.loop_show import run_and_show_loop
from creode.cli.options import JsonOpt, OpenOpt, SeedOpt


@app.command(epilog="Example: creode demo --out runs/demo")
@reported
def demo(
    out: Annotated[Path, typer.Option(help="Where models, draws and the report go.")] = Path(
        "runs/demo"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="A narrower decoder, fewer readings, one direction.")
    ] = False,
    seed: SeedOpt = 0,
    open_page: OpenOpt = True,
    as_json: JsonOpt = False,
) -> None:
    """Train, read, attribute, choose data, train again, compare: the loop on the embedded corpus.

    OUT/study.yaml is the study that `creode run` repeats.
    """
    from creode.demo import DemoConfig

    config = DemoConfig(quick=quick, seed=seed).loop()
    page = run_and_show_loop(config, out, as_json=as_json, strict=False)
    if open_page:
        webbrowser.open(page.resolve().as_uri())
