"""Run a loop and show what it says: what `creode run` and `creode demo` end in.

Here: its stages on stderr, its tables on stdout, its page.
Not here: the loop (study/loop.py), tables of one reading (console.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from creode.cli import console
from creode.cli.development_tables import stages_table
from creode.cli.progress import progress
from creode.cli.show import warn_of_doubt

if TYPE_CHECKING:
    from creode.study.loop_config import LoopConfig


def run_and_show_loop(config: LoopConfig, out: Path, *, as_json: bool, strict: bool) -> Path:
    """Run a loop, print what it says, write its page; return the page's path."""
    from creode.study.loop import STAGES, run_loop
    from creode.study.loop_conclusion import LoopConclusion

    with progress("done") as advance:
        place = {name: number for number, name in enumerate(STAGES, start=1)}
        loop = run_loop(
            config,
            out,
            on_stage=lambda name: console.note(f"{place[name]}/{len(place)} {STAGES[name]}"),
            on_progress=advance,
        )
    found = LoopConclusion(loop)
    found.save()
    if as_json:
        typer.echo(json.dumps(found.records, indent=1))
    else:
        for table in loop_tables(found.records):
            console.show(table)
    page = found.write_report()
    console.note(f"report: {page}")
    warn_of_doubt(found.doubtful(), strict=strict)
    return page


def loop_tables(records: Mapping[str, Any]) -> list[Table]:
    """What a loop says, a table a chapter."""
    behaviour = records["behaviour"]
    return [
        _formed(records["formed"]),
        stages_table(records["stages"]),
        *([_domains(records["by_domain"], behaviour)] if records["by_domain"] else []),
        _proof(records["proof"], behaviour),
    ]


def _formed(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="What formed when", title_justify="left")
    table.add_column("probe")
    for name in ("loss at the start", "at the end", "learned by step", "between checkpoints"):
        table.add_column(name, justify="right")
    for row in rows:
        losses = (f"{row[name]:.3f}" for name in ("first", "last"))
        table.add_row(
            console.escaped(row["probe"]), *losses, f"{row['step']:.0f}",
            f"{row['after']} – {row['until']}",
        )  # fmt: skip
    return table


def _domains(rows: Sequence[Mapping[str, Any]], behaviour: str) -> Table:
    title = f"What a tenth more of each domain does to the loss on {behaviour}, nats"
    table = Table(title=console.escaped(title), title_justify="left")
    table.add_column("domain")
    for name in ("change", "± se", "p"):
        table.add_column(name, justify="right")
    for row in rows:
        cells = (console.number(row[name], 4) for name in ("effect", "effect_se", "p"))
        table.add_row(console.escaped(row["domain"]), *cells)
    return table


def _proof(rows: Sequence[Mapping[str, Any]], behaviour: str) -> Table:
    title = "Trained again with weights, without, and with them shuffled"
    table = Table(title=title, title_justify="left")
    for name in ("direction", "measured"):
        table.add_column(name)
    for name in ("predicted", "± se", "achieved", "95 %", "over shuffled", "95 %"):
        table.add_column(name, justify="right")
    table.add_column("verdict", overflow="fold")
    for row in rows:
        cells = [console.number(row[name], 4) for name in ("predicted", "predicted_se")]
        for name in ("achieved", "gap"):
            ends = ", ".join(console.number(row[f"{name}_{end}"], 3) for end in ("low", "high"))
            cells += [console.number(row[name], 3), ends]
        aimed = row["observable"] == behaviour
        verdict = (
            "[green]confirmed[/]" if row["ok"] else f"[yellow]{console.escaped(row['reasons'])}[/]"
        )
        table.add_row(
            row["direction"], console.escaped(row["observable"]), *cells, verdict if aimed else ""
        )
    return table


def stages_cost_table(stages: Sequence[Mapping[str, Any]]) -> Table:
    """What a loop will take, a stage a row."""
    table = Table(title="Plan", title_justify="left")
    table.add_column("stage")
    for name in ("units of work", "time", "memory at the peak", "disk"):
        table.add_column(name, justify="right")
    for one in stages:
        table.add_row(
            one["stage"], f"{one['units']}", f"{one['seconds']:.0f} s",
            f"{one['memory_bytes'] / 1e6:.0f} MB", f"{one['disk_bytes'] / 1e6:.1f} MB",
        )  # fmt: skip
    table.add_row(
        "in all", "", f"{sum(one['seconds'] for one in stages):.0f} s",
        f"{max(one['memory_bytes'] for one in stages) / 1e6:.0f} MB",
        f"{sum(one['disk_bytes'] for one in stages) / 1e6:.1f} MB",
    )  # fmt: skip
    return table
