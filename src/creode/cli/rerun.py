"""A run again, from its own record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from creode.cli import console
from creode.cli.app import app, reported
from creode.cli.options import JsonOpt, StrictOpt
from creode.cli.show import run_and_show


@app.command(epilog="Example: creode rerun runs/llc --out runs/llc-again")
@reported
def rerun(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    out: Annotated[
        Path | None, typer.Option(help="Directory of the new run; default: DIR-rerun.")
    ] = None,
    as_json: JsonOpt = False,
    strict: StrictOpt = False,
) -> None:
    """Repeat a run from its own record, in a new directory, and say whether it agrees."""
    from creode.store import Store
    from creode.study import conclusions

    with Store.open(directory, mode="read") as store:
        config, resolved = store.config, dict(store.resolved)
    if config.get("kind") != "study":
        raise ValueError(
            f"{directory} is no run of a study: it was made by creode.sample, from Python objects "
            "that a record cannot rebuild, or by creode calibrate; repeat the call that made it."
        )
    target = out or directory.with_name(f"{directory.name}-rerun")
    run_and_show(config["study"], target, as_json=as_json, strict=strict, resolved=resolved)
    same = conclusions(target).records() == conclusions(directory).records()
    console.note("the readings are the same." if same else "the readings DIFFER from the old ones.")
