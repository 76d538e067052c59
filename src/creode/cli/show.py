"""Run a study and show what it says: what several commands end in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from creode.cli import console
from creode.cli.development_tables import events_table, influence_table, stages_table
from creode.cli.progress import progress

CULPRITS = 5  # of each behaviour

if TYPE_CHECKING:
    from creode.study import Conclusion


def run_and_show(
    study: dict[str, Any],
    out: Path,
    *,
    as_json: bool,
    strict: bool,
    resolved: dict[str, Any] | None = None,
) -> Path:
    """Run a study, save and print what it says, write its report; return the report's path."""
    from creode.study import StudyConfig, conclusions, run_study

    config = StudyConfig.model_validate(study)
    with progress("chain-steps") as advance:
        run_study(config, out, resolved=resolved, on_progress=advance)
    found = conclusions(out)
    records = found.records()
    found.save(records)
    settings = found.chosen.get("chosen", {}).get("calibration")
    if settings is not None:
        console.note(console.settings_sentence(settings))
    if as_json:
        typer.echo(json.dumps(records, indent=1))
    else:
        for table in tables(found, records):
            console.show(table)
    page = found.write_report()
    console.note(f"report: {page}")
    warn_of_doubt(records, strict=strict)
    return page


def warn_of_doubt(records: Sequence[Mapping[str, Any]], *, strict: bool) -> None:
    """Say on stderr which readings are not to be trusted; with `strict` end in exit code 1."""
    doubtful = [record for record in records if not record["ok"]]
    if doubtful:
        console.note(
            f"warning: {len(doubtful)} of {len(records)} readings are not to be trusted; "
            "the table says why."
        )
        if strict:
            raise typer.Exit(1)


def tables(found: Conclusion, records: Sequence[Mapping[str, Any]]) -> list[Table]:
    """What a run says as tables, by its kind."""
    from creode.cli.audit_tables import audit_tables
    from creode.study import Attribution, Audits, Development, Responses

    if isinstance(found, Attribution):
        return [console.attribution_table(answer) for answer in records]
    if isinstance(found, Responses):
        controlled = [console.control_table(records)] if found.control is not None else []
        return [console.response_table(records), *controlled]
    if isinstance(found, Audits):
        return audit_tables(found.audit, records, found.culprits(CULPRITS))
    if isinstance(found, Development):
        changed = found.influence_records()
        return [
            console.readings_table(found.readings()),
            stages_table(records),
            *([events_table(found.events())] if found.events() else []),
            *([influence_table(changed)] if changed else []),
        ]
    return [console.readings_table(records)]
