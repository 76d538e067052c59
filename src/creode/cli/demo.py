"""The whole way on the embedded corpus."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from creode.cli import console
from creode.cli.app import app, reported
from creode.cli.options import JsonOpt, OpenOpt, SeedOpt
from creode.cli.show import run_and_show


@app.command(epilog="Example: creode demo --out runs/demo")
@reported
def demo(
    out: Annotated[Path, typer.Option(help="Where models, draws and the report go.")] = Path(
        "runs/demo"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="A narrower decoder and fewer readings.")
    ] = False,
    seed: SeedOpt = 0,
    open_page: OpenOpt = True,
    as_json: JsonOpt = False,
) -> None:
    """Train a small decoder on the embedded corpus, read it, and open the report."""
    from creode.demo import DemoConfig, train_decoder

    config = DemoConfig(quick=quick, seed=seed)
    console.note(f"training a decoder of {config.decoder.num_layers} layers on the embedded corpus")
    with console.progress("steps") as advance:
        models = train_decoder(
            config,
            out / "model",
            lambda done, total, loss: advance(f"loss {loss:.3f}", done, total),
        )
    console.note("reading its learning coefficients along training, and of every head at the end")
    study = config.study(models)
    page = run_and_show(study, out / "llc", as_json=as_json, strict=False)
    if open_page:
        webbrowser.open(page.resolve().as_uri())
