"""The report of a run."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from creode.cli.app import app, reported
from creode.cli.options import OpenOpt


@app.command(epilog="Example: creode view runs/llc")
@reported
def view(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    open_page: OpenOpt = True,
    charts: Annotated[
        Path | None, typer.Option(help="Also export every chart there as PNG and SVG.")
    ] = None,
) -> None:
    """Write the report of a run, one page that needs no network, and open it."""
    from creode.study import conclusions

    found = conclusions(directory)
    report = found.report()
    page = found.write_report(report)
    if charts is not None:
        from creode.viewer import export_charts

        for path in export_charts(report, charts):
            typer.echo(str(path))
    typer.echo(str(page))
    if open_page:
        webbrowser.open(page.resolve().as_uri())
