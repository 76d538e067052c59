"""The report of a run."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from creode.cli.app import app, reported
from creode.cli.options import OpenOpt

if TYPE_CHECKING:
    from creode.study import Conclusion
    from creode.study.loop_conclusion import LoopConclusion


@app.command(epilog="Example: creode view runs/llc")
@reported
def view(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    open_page: OpenOpt = True,
    charts: Annotated[
        Path | None, typer.Option(help="Also export every chart there as PNG and SVG.")
    ] = None,
) -> None:
    """Write the report of a run or a loop, one page that needs no network, and open it."""
    from creode.study import conclusions
    from creode.study.loop import STUDY_FILE, Loop
    from creode.study.loop_conclusion import LoopConclusion

    if (directory / STUDY_FILE).is_file():
        found: Conclusion | LoopConclusion = LoopConclusion(Loop.open(directory))
    else:
        found = conclusions(directory)
    report = found.report()
    page = found.write_report()
    if charts is not None:
        from creode.viewer import export_charts

        for path in export_charts(report, charts):
            typer.echo(str(path))
    typer.echo(str(page))
    if open_page:
        webbrowser.open(page.resolve().as_uri())
