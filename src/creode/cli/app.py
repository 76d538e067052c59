"""The application: its name, its version, how its commands fail."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, ParamSpec, TextIO, TypeVar

import typer

from creode.cli import console
from creode.version import __version__

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="creode",
    help="Read and write the structure of neural networks through the geometry of their loss.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """The users' mistakes and the machine's limits end in one sentence and exit code 1.

    Warnings of this package become messages without the line of code they come from.
    """

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with _told_warnings():
                return command(*args, **kwargs)
        except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
            console.fail(error)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            console.note("interrupted; the same command continues where it stopped.")
            raise typer.Exit(130) from error

    return run


@contextmanager
def _told_warnings() -> Iterator[None]:
    from creode.data.exclusions import ExcludedWarning

    before = warnings.showwarning

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        if issubclass(category, ExcludedWarning):
            console.note(f"warning: {message}")
        else:
            before(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"creode {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass
