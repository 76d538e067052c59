"""What a development says as tables for people: stages, alarms, influences that change.

Here: the tables.
Not here: their words (viewer/), other tables (console.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from creode.cli.console import escaped


def stages_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Stages of development; one that rests on doubtful readings says so."""
    from creode.viewer.stages import stage_rows

    table = Table(title="Stages", title_justify="left")
    for name in ("stage", "steps", "begins at (95 %)", "probability", "Δλ̂", "Δ loss"):
        table.add_column(name, justify="right")
    for name in ("kind", "moved most", "ok"):
        table.add_column(name)
    for row in stage_rows(records):
        doubt = "yes" if row["ok"] else f"[red]no[/]: {escaped(row['reasons'])}"
        if row["stage"] is None:
            table.add_row("–", *[""] * 7, doubt)
            continue
        told = (str(row[name]) for name in ("stage", "steps", "begins", "probability"))
        kind = row["kind"] + (f" ({row['type']})" if row["type"] else "")
        moved = escaped("; ".join(row["moved"]))
        table.add_row(*told, row["llc"], row["loss"], kind, moved, doubt)
    return table


def events_table(events: Sequence[Mapping[str, Any]]) -> Table:
    """What an alarm would have said, and when."""
    from creode.viewer.stages import event_rows

    table = Table(title="Alarms", title_justify="left")
    for name in ("at step", "since", "interval", "reading", "change", "Δ loss", "kind"):
        table.add_column(name)
    for row in event_rows(events):
        table.add_row(*(escaped(text) for text in row.values()))
    return table


def influence_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Influences that change along training, the surest first."""
    from creode.viewer.influence_along import MOST_CHANGES, change_rows

    more = f" (the surest {MOST_CHANGES} of {len(records)})" if len(records) > MOST_CHANGES else ""
    table = Table(title=f"Influences that change{more}", title_justify="left")
    for name in ("query", "sample", "sign changes between", "peaks at (95 %)", "at a boundary"):
        table.add_column(name, justify="right")
    table.add_column("text of the sample", overflow="fold")
    for row in change_rows(records):
        flip = f"{row['flip']} {row['times']}".strip()
        cells = (row["query"], row["train"], flip, row["peak"], row["meets"], row["train_text"])
        table.add_row(*(escaped(text) for text in cells))
    return table
