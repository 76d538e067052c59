"""Tables of what other data would do: predicted shifts, weights and their proof.

Here: a table for each, with the verdict that its rows share below it.
Not here: other tables and messages (console.py), the numbers (study/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from creode.cli import console


def shift_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """What each observable does as the data move all the way."""
    table = Table(title="If the data become these", title_justify="left")
    table.add_column("observable")
    for name in ("first order", "± se", "p", "½ second order", "± se", "first order holds to"):
        table.add_column(name, justify="right")
    _say_once(table, records)
    for one in records:
        half = [None if one[n] is None else one[n] / 2 for n in ("second", "second_se")]
        low, high = one["valid_to_low"], one["valid_to_high"]
        holds = "–" if low is None else f"{low:.2g} to {'∞' if high is None else f'{high:.2g}'}"
        cells = [console.number(one[name], 4) for name in ("first", "first_se", "p")]
        cells += [console.number(value, 4) for value in half]
        table.add_row(one["observable"], *cells, holds)
    return table


def effect_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """What weights are to do, by observable; what is only watched has no wish."""
    table = Table(title="What these weights do, to first order", title_justify="left")
    table.add_column("observable")
    for name in ("wanted", "predicted", "± se", "p"):
        table.add_column(name, justify="right")
    _say_once(table, records)
    for one in records:
        cells = [
            console.number(one[name], 4) for name in ("wanted", "predicted", "predicted_se", "p")
        ]
        table.add_row(one["observable"], *cells)
    return table


def proof_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Predicted against achieved, and the gap to the permuted arm, by observable."""
    table = Table(title="Trained on with these weights", title_justify="left")
    table.add_column("observable")
    for name in ("wanted", "predicted", "± se", "achieved", "95 %", "over permuted", "95 %"):
        table.add_column(name, justify="right")
    table.add_column("as predicted")
    _say_once(table, records)
    for one in records:
        cells = [console.number(one[name], 4) for name in ("wanted", "predicted", "predicted_se")]
        for name in ("achieved", "gap"):
            ends = ", ".join(console.number(one[f"{name}_{end}"], 4) for end in ("low", "high"))
            cells += [console.number(one[name], 4), ends]
        agrees = "–" if one["predicted"] is None else "yes" if one["agrees"] else "no"
        table.add_row(one["observable"], *cells, agrees)
    return table


def _say_once(table: Table, records: Sequence[Mapping[str, Any]]) -> None:
    """Below the table, the verdict that all its rows share."""
    one = records[0]
    table.caption = (
        "[green]ok[/]" if one["ok"] else f"[yellow]not ok: {console.escaped(one['reasons'])}[/]"
    )
    table.caption_justify = "left"
