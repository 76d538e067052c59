"""The parts of a model, by name."""

from __future__ import annotations

import json

import typer

from creode.cli.app import app, reported
from creode.cli.options import JsonOpt, ModelArg


@app.command(epilog="Example: creode components runs/decoder/step_001000")
@reported
def components(model: ModelArg, as_json: JsonOpt = False) -> None:
    """List the parts of a model that can be sampled by name."""
    from dataclasses import asdict

    from creode import components as parts
    from creode.development import list_checkpoints
    from creode.models import load_model
    from creode.study.model_path import holds_checkpoints

    spec = list_checkpoints(model)[-1].path if holds_checkpoints(model) else model
    found = parts.list(load_model(spec))
    typer.echo(json.dumps([asdict(part) for part in found], indent=1) if as_json else str(found))
