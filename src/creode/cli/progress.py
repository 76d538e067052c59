"""How far a command has come: a bar on a terminal, a line now and then in a log.

Here: both, on stderr.
Not here: tables and messages (console.py), who counts what (study/).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from creode.cli.console import note, stderr

LINE_EVERY = 60.0  # seconds, where there is no terminal

Advance = Callable[[str, int, int], None]  # what is under way, done, in all


@contextmanager
def progress(unit: str) -> Iterator[Advance]:
    """Time elapsed and left, on stderr: what is under way is counted in this unit."""
    with (_bar if stderr.is_terminal else _lines)(unit) as advance:
        yield advance


@contextmanager
def _bar(unit: str) -> Iterator[Advance]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr) as bars:
        bar: TaskID | None = None

        def advance(what: str, done: int, total: int) -> None:
            nonlocal bar
            if bar is None:
                bar = bars.add_task(what, total=total)
            bars.update(bar, description=what, completed=done, total=total)

        yield advance


@contextmanager
def _lines(unit: str) -> Iterator[Advance]:
    """Nothing of what ends within LINE_EVERY.

    Speed is of the stretch of work at hand, which ends where another total or a smaller count is
    told, and what was done before it counts for none.
    """
    began = told = time.monotonic()
    since, before, last = began, 0, (0, -1)  # of the stretch: when, what was done; done and total

    def advance(what: str, done: int, total: int) -> None:
        nonlocal told, since, before, last
        now = time.monotonic()
        if total != last[1] or done < last[0]:
            since, before = now, done
        last = (done, total)
        if now - told < LINE_EVERY:
            return
        told, line = now, f"{what}: {done:,} of {total:,} {unit} in {_duration(now - began)}"
        if done > before:
            line += f", about {_duration((now - since) * (total - done) / (done - before))} left"
        note(line)

    yield advance


def _duration(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))
