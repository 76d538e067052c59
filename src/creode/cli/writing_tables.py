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


def explanation_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """What length, loss level or domain alone explain of weights and of what they were aimed at."""
    table = Table(title="What trivial explanations would do alone", title_justify="left")
    table.add_column("explanation")
    for name in ("R² of weights", "predicted", "± se", "of it missing", "± se"):
        table.add_column(name, justify="right")
    table.add_column("of")
    for one in records:
        if not one["wanted"]:
            continue
        for name, told in one["explanations"].items():
            numbers = ("r2", "predicted", "predicted_se", "beyond", "beyond_se")
            cells = [console.number(told[number], 3) for number in numbers]
            table.add_row(console.escaped(name), *cells, one["observable"])
    return table


def explained_tables(records: Sequence[Mapping[str, Any]]) -> list[Table]:
    """What the arms of explanations achieved; none if there were none."""
    if not records[0]["explanations"]:
        return []
    table = Table(title="Trained on with what explanations give", title_justify="left")
    table.add_column("explanation")
    table.add_column("observable")
    for name in ("achieved", "95 %", "patterned beyond it", "95 %"):
        table.add_column(name, justify="right")
    for one in records:
        for explanation, told in one["explanations"].items():
            cells = []
            for name in ("explained", "beyond"):
                ends = ", ".join(
                    console.number(told[f"{name}_{end}"], 4) for end in ("low", "high")
                )
                cells += [console.number(told[name], 4), ends]
            table.add_row(console.escaped(explanation), one["observable"], *cells)
    return [table]


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
