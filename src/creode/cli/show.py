"""Run a study and show what it says: what several commands end in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from creode.cli import console


def run_and_show(
    study: dict[str, Any],
    out: Path,
    *,
    as_json: bool,
    strict: bool,
    resolved: dict[str, Any] | None = None,
) -> Path:
    """Run a study, save and print its readings, write its report; return the report's path."""
    from creode.study import Responses, StudyConfig, conclusions, run_study

    config = StudyConfig.model_validate(study)
    with console.progress("chain-steps") as advance:
        run_study(config, out, resolved=resolved, on_progress=advance)
    readings = conclusions(out)
    readings.save()
    settings = readings.chosen.get("chosen", {}).get("calibration")
    if settings is not None:
        console.note(console.settings_sentence(settings))
    records = readings.records()
    if as_json:
        typer.echo(json.dumps(records, indent=1))
    else:
        response = isinstance(readings, Responses)
        table = console.response_table if response else console.readings_table
        console.show(table(records))
    page = readings.write_report()
    console.note(f"report: {page}")
    doubtful = [record for record in records if not record["ok"]]
    if doubtful:
        console.note(
            f"warning: {len(doubtful)} of {len(records)} readings are not to be trusted; "
            "the table says why."
        )
        if strict:
            raise typer.Exit(1)
    return page
