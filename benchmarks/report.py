"""What a benchmark prints: a JSON line a measurement as it is made, and a table at the end.

Here: the lines, the table.
Not here: measurements (throughput.py, large_model.py), spreads (alternating.py).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alternating import Spread
from machine import load, machine

COLUMNS = ("measurement", "median", "quartiles", "n", "unit", "notes")


class Report:
    """Collects measurements; each is printed at once, so that an interrupted run loses none."""

    def __init__(self, benchmark: str, *, out: Path | None = None, **common: Any) -> None:
        self._common = {"benchmark": benchmark, **common, "machine": machine()}
        self._out = out
        self._rows: dict[str, list[tuple[str, ...]]] = {}

    def add(
        self,
        section: str,
        measurement: str,
        values: Sequence[float],
        *,
        unit: str,
        notes: str = "",
        **details: Any,
    ) -> None:
        """One measurement: its values, one a round, and whatever they depend on."""
        spread = Spread.of(values)
        record = {
            "section": section,
            "measurement": measurement,
            "unit": unit,
            **asdict(spread),
            "values": list(values),
            "notes": notes,
            **details,
            "load": load(),
            **self._common,
        }
        line = json.dumps(record, default=str)
        print(line, flush=True)
        if self._out is not None:
            with self._out.open("a") as lines:
                lines.write(line + "\n")
        self._rows.setdefault(section, []).append(_row(measurement, spread, unit, notes))

    def table(self) -> str:
        """All measurements so far, by section."""
        blocks = []
        for section, rows in self._rows.items():
            blocks.append(f"{section}\n{table(COLUMNS, rows)}")
        return "\n\n".join(blocks)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    lines = [header, ["-" * len(name) for name in header], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def note(message: str) -> None:
    """A message for people, on stderr."""
    print(message, file=sys.stderr, flush=True)


def _row(measurement: str, spread: Spread, unit: str, notes: str) -> tuple[str, ...]:
    quartiles = f"{spread.low:.3g}-{spread.high:.3g}"
    return (measurement, f"{spread.median:.3g}", quartiles, str(spread.num_rounds), unit, notes)
