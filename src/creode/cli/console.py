"""What commands show people: messages on stderr, tables on stdout.

Here: the table of readings, errors in one sentence.
Not here: how far a command has come (progress.py), commands (cli/), numbers (study/).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

stdout = Console()
stderr = Console(stderr=True)


def note(message: str) -> None:
    """A message for people, on stderr."""
    stderr.print(message, highlight=False, markup=False, soft_wrap=True)


def fail(error: BaseException) -> None:
    """An error in one sentence, on stderr."""
    stderr.print(f"[bold red]error[/] {escaped(_sentence(error))}", highlight=False, soft_wrap=True)


def readings_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """The readings as a table; one that is not trusted says why."""
    table = Table(title="Local learning coefficient λ̂", title_justify="left")
    with_steps = any(record["checkpoint"] is not None for record in records)
    with_probes = any(record["on"] != "data" for record in records)
    if with_steps:
        table.add_column("step", justify="right")
    table.add_column("component")
    if with_probes:
        table.add_column("on")
    for name in ("λ̂", "± se", "by variance", "L(w*)", "ESS", "R-hat", "virial"):
        table.add_column(name, justify="right")
    table.add_column("verdict", overflow="fold")
    for record in records:
        cells = [f"{record['checkpoint']}"] if with_steps else []
        cells.append(record["component"])
        if with_probes:
            cells.append(record["on"])
        digits = {"llc": 2, "llc_se": 2, "llc_variance": 2, "init_loss": 4}
        digits |= {"ess": 0, "rhat": 3, "virial": 3}
        cells += [number(record[name], places) for name, places in digits.items()]
        verdict = "[green]ok[/]" if record["ok"] else f"[yellow]{escaped(record['reasons'])}[/]"
        if record["ok"] and record["notes"]:
            verdict += f" ({escaped(record['notes'])})"
        table.add_row(*cells, verdict)
    return table


def attribution_table(answer: Mapping[str, Any]) -> Table:
    """What helped and what harmed one query; entries that stand out have a star."""
    shown = "" if answer["text"] is None else f": {excerpt(answer['text'])}"
    table = Table(title=f"query {answer['query']}{escaped(shown)}", title_justify="left")
    table.add_column("")
    for name in ("train", "BIF", "± se", "z"):
        table.add_column(name, justify="right")
    table.add_column("text", overflow="fold")
    for side in ("helpful", "harmful"):
        for entry in answer[side]:
            star = "*" if entry["significant"] else ""
            values = ["–" if entry[n] is None else f"{entry[n]:.3g}" for n in ("bif", "bif_se")]
            text = "" if entry["text"] is None else excerpt(entry["text"])
            z = number(entry["z"], 1) + star
            table.add_row(side, f"{entry['train']}", *values, z, escaped(text))
    return table


def response_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Standardised susceptibilities, component × probe, with errors; significant ones stand out."""
    forms = dict.fromkeys(record["form"] for record in records)
    table = Table(
        title=f"Standardised susceptibility χ ± se, {', '.join(forms)} form "
        "(negative: expresses; *: significant)",
        title_justify="left",
    )
    rows: dict[tuple[Any, ...], dict[str, Mapping[str, Any]]] = {}
    for record in records:
        row = (record["checkpoint"], record["observable"], record["component"])
        rows.setdefault(row, {})[record["probe"]] = record
    probes = list(dict.fromkeys(record["probe"] for record in records))
    shown = [len({row[0] for row in rows}) > 1, len({row[1] for row in rows}) > 1, True]
    for name, wanted in zip(("step", "observable", "component"), shown, strict=True):
        if wanted:
            table.add_column(name)
    for probe in probes:
        table.add_column(probe, justify="right")
    table.add_column("verdict", overflow="fold")
    for row, cells in rows.items():
        first = next(iter(cells.values()))
        verdict = "[green]ok[/]" if first["ok"] else f"[yellow]{escaped(first['reasons'])}[/]"
        labels = [f"{label}" for label, wanted in zip(row, shown, strict=True) if wanted]
        table.add_row(*labels, *(_response(cells[probe]) for probe in probes), verdict)
    return table


def control_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """χ less that of the control, component × probe, with errors; significant ones stand out."""
    table = Table(
        title=f"χ less that of the control {records[0]['control']} (*: significant)",
        title_justify="left",
    )
    columns = ("step", "observable", "component", "probe", "χ", "of the control", "less", "verdict")
    for name in columns:
        right = name in columns[4:7]
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for record in records:
        values = [
            f"{figure(record[name])} ± {figure(record[f'{name}_se'])}"
            for name in ("chi", "chi_control", "chi_less")
        ]
        if record["significant_less"]:
            values[-1] = f"[bold]{values[-1]}[/] *"
        doubt = f"[yellow]{escaped(record['reasons_less'])}[/]"
        step = "" if record["checkpoint"] is None else f"{record['checkpoint']}"
        labels = (step, record["observable"], record["component"], record["probe"])
        table.add_row(*labels, *values, "[green]ok[/]" if record["ok_less"] else doubt)
    return table


def _response(record: Mapping[str, Any]) -> str:
    value, error = (number(record[name], 2) for name in ("chi_standard", "chi_standard_se"))
    return f"[bold]{value} ± {error}[/] *" if record["significant"] else f"{value} ± {error}  "


def cost_table(cost: Mapping[str, Any]) -> Table:
    """What a study will take, one figure a row."""
    table = Table(title="Plan", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("value", justify="right")
    chains = f"{cost['chains']} {cost['mode']}"
    table.add_row("units of work (checkpoint × component)", f"{cost['units']}")
    table.add_row("chains of a unit", chains)
    table.add_row("gradients of a chain", f"{cost['steps']}")
    table.add_row("draws of a chain, each scoring the probes", f"{cost['draws']}")
    table.add_row("time of a step of all chains", f"{cost['seconds_per_step'] * 1e3:.3g} ms")
    table.add_row("time that a draw adds", f"{cost['seconds_per_draw'] * 1e3:.3g} ms")
    pilot = ", with the pilot" if cost["pilot"] else ""
    table.add_row("samples with a gradient, in all", f"{cost['gradients']:,}")
    table.add_row("samples scored without one, in all", f"{cost['forwards']:,}")
    measuring = f"{cost['measuring_seconds']:.1f} s"
    table.add_row("time to load and measure checkpoints", measuring)
    table.add_row(f"time in all{pilot}", f"{cost['seconds']:.0f} s")
    table.add_row("memory at the peak", f"{cost['memory_bytes'] / 1e6:.0f} MB")
    table.add_row("disk", f"{cost['disk_bytes'] / 1e6:.1f} MB")
    return table


def settings_table(record: Mapping[str, Any]) -> Table:
    """Settings that a pilot chose, one a row."""
    table = Table(title="Settings", title_justify="left", show_header=False)
    table.add_column("setting")
    table.add_column("value", justify="right")
    for name, value in record.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else f"{value}")
    return table


def sensitivity_table(record: Mapping[str, Any]) -> Table:
    """λ̂ around a choice of settings, a row a cell; one that is not trusted says why."""
    table = Table(title="λ̂ around these settings", title_justify="left")
    for name in ("ε ×", "nβ ×", "γ ×", "λ̂", "± se", "steps"):
        table.add_column(name, justify="right")
    table.add_column("verdict", overflow="fold")
    for cell in record["cells"]:
        factors = (cell["epsilon"], cell["nbeta_factor"], cell["gamma_factor"])
        numbers = [number(cell[name], 2) for name in ("llc", "llc_se")]
        verdict = "[green]ok[/]" if cell["ok"] else f"[yellow]{escaped(cell['reasons'])}[/]"
        table.add_row(*(f"{f:.3g}" for f in factors), *numbers, f"{cell['steps']:.0f}", verdict)
    return table


def slopes_table(record: Mapping[str, Any]) -> Table:
    """Whether λ̂ is on a plateau in each direction."""
    table = Table(title="Plateau", title_justify="left")
    for name in ("direction", "d log λ̂ / d log", "± se"):
        table.add_column(name, justify="right" if name != "direction" else "left")
    table.add_column("says", overflow="fold")
    for slope in record["slopes"]:
        numbers = [number(slope[name], 3) for name in ("slope", "slope_se")]
        table.add_row(slope["direction"], *numbers, escaped(slope["sentence"]))
    return table


def grid_sentence(record: Mapping[str, Any]) -> str:
    """What the readings around a choice cost, in a sentence."""
    return (
        f"sampled {record['num_cells']} settings with {record['chains']} chains each: "
        f"{record['gradient_evaluations']} gradients a chain in all"
    )


def settings_sentence(record: Mapping[str, Any]) -> str:
    """The settings that a pilot chose, in a sentence."""
    form = (
        "chosen: nβ = {nbeta:.3g}, γ = {localization:.3g}, BAOAB with steps of at most "
        "{step_size:.2g} and friction {friction:.2g}, {burnin} steps of burn-in, {draws} draws "
        "{steps_per_draw} steps apart, after a pilot of {pilot_evaluations} gradients a chain"
    )
    limit = f"; nβ is held down by {record['limit']}" if record["limit"] else ""
    return form.format(**record) + limit


def number(value: float | None, places: int) -> str:
    """A number with fixed places, or a dash."""
    return "–" if value is None else f"{value:.{places}f}"


def figure(value: float | None) -> str:
    """A number with two figures that count, or a dash."""
    return "–" if value is None else f"{value:.2g}"


def show(renderable: Any) -> None:
    """Print to stdout, as wide as the content needs where nobody looks at a terminal."""
    console = stdout if sys.stdout.isatty() else Console(width=160)
    console.print(renderable)


def excerpt(text: str, length: int = 60) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def escaped(text: str) -> str:
    """The text with rich's markup taken as it stands."""
    from rich.markup import escape

    return escape(text)


def _sentence(error: BaseException) -> str:
    """The error's message; of a configuration's errors, where and what each is."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    found = []
    for one in error.errors():
        message = one["msg"].removeprefix("Value error, ")
        found.append(": ".join([*(str(part) for part in one["loc"]), message]))
    return "; ".join(found)
