"""The pilot of the automatic sampler, alone, and how λ̂ depends on what it chose."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from creode.cli import console
from creode.cli.app import app, reported
from creode.cli.options import (
    BudgetOpt,
    DataOpt,
    JsonOpt,
    LengthOpt,
    LimitOpt,
    ModelArg,
    ModeOpt,
    ReferenceOpt,
    SeedOpt,
    SplitOpt,
    StrengthOpt,
    TaskOpt,
    TextOpt,
    TokenizerOpt,
    given,
    one_of,
    strength,
)
from creode.cli.progress import progress

if TYPE_CHECKING:
    from creode.sampling import Calibration
    from creode.store import Store
    from creode.study import Grid, StudyConfig


@app.command(
    epilog="Example: creode calibrate runs/decoder --data corpus:code --length 64 "
    "--budget 2000 --out runs/settings.json"
)
@reported
def calibrate(  # noqa: PLR0913, PLR0917 - a command's parameters are its options
    model: ModelArg,
    data: DataOpt,
    out: Annotated[Path, typer.Option(help="File of settings, for `creode llc --settings`.")],
    nbeta: StrengthOpt = "auto",
    localization: StrengthOpt = "auto",
    budget: BudgetOpt = None,
    task: TaskOpt = "next-token",
    reference: ReferenceOpt = None,
    component: Annotated[str, typer.Option(help="Part that is sampled.")] = "full",
    split: SplitOpt = "train",
    text: TextOpt = "text",
    tokenizer: TokenizerOpt = None,
    length: LengthOpt = 128,
    limit: LimitOpt = None,
    chains: Annotated[int, typer.Option(min=1, help="Independent chains.")] = 4,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences of a gradient.")] = 32,
    seed: SeedOpt = 0,
    mode: ModeOpt = "auto",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …")] = None,
    grid: Annotated[
        bool,
        typer.Option(
            "--grid",
            help="Also sample around the choice, at other step sizes, nβ and γ: about four runs. "
            "Interrupted, it goes on from the draws beside the settings.",
        ),
    ] = False,
    grid_cells: Annotated[
        str,
        typer.Option(
            help="axes: the choice and six more; corners: eight more, about ten runs; "
            "full: all 27, about twenty."
        ),
    ] = "axes",
    grid_steps: Annotated[
        int | None,
        typer.Option(help="Steps of a chain at the choice, in the grid (default: half a run's)."),
    ] = None,
    charts: Annotated[
        Path | None, typer.Option(help="Also export the picture of the grid there, PNG and SVG.")
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Run the pilot of the automatic sampler alone, and keep the settings it chooses."""
    from creode.study import Grid, StudyConfig, calibrate_study, open_sensitivity

    cells = Grid(cells=one_of(grid_cells, "axes", "corners", "full"), steps=grid_steps)
    if not grid and (charts is not None or grid_steps is not None or grid_cells != "axes"):
        raise ValueError("--grid-cells, --grid-steps and --charts are of the grid; add --grid.")
    if grid:
        _check_grid(out)
    study = StudyConfig.model_validate(
        {
            "model": model,
            "task": task,
            "reference": reference,
            "data": {
                "source": data, "split": split, "text": text, "tokenizer": tokenizer,
                "length": length, "limit": limit,
            },
            "components": (component,),
            "sampler": {"name": "auto", **given(budget=budget)},
            "nbeta": strength("nbeta", nbeta),
            "localization": strength("localization", localization),
            "schedule": {"chains": chains, "seed": seed, "batch_size": batch_size},
            "execution": {"mode": mode, "device": device},
        }
    )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    with open_sensitivity(study, cells, out) if grid else nullcontext() as store:
        with progress("rounds at most") as advance:
            chosen = calibrate_study(study, store=store, on_progress=advance)
        record = chosen.record()
        out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if not as_json:
            console.show(console.settings_table(record))
        console.note(f"settings: {out}")
        around = None if store is None else _around(study, chosen, cells, store, out, charts)
    if around is not None:
        if not as_json:
            console.show(console.sensitivity_table(around))
            console.show(console.slopes_table(around))
        record = {"settings": record, "sensitivity": around}
    if as_json:
        typer.echo(json.dumps(record, indent=1))


def _check_grid(out: Path) -> None:
    """What would stop the picture is said before the hours of sampling."""
    import creode.viewer  # noqa: F401 - says which libraries are missing

    if out.suffix in (".html", ".htm"):
        raise ValueError(f"--out {out} is a file of settings; the picture goes to {out} itself.")


def _around(
    study: StudyConfig,
    chosen: Calibration,
    cells: Grid,
    store: Store,
    out: Path,
    charts: Path | None,
) -> dict[str, Any]:
    """Sample around the choice and write what was read beside the settings."""
    from creode.study import (
        save_sensitivity,
        sensitivity_record,
        sensitivity_report,
        study_sensitivity,
    )
    from creode.viewer import export_sensitivity, write_sensitivity_report

    with progress("chain-steps") as advance:
        readings = study_sensitivity(study, chosen, cells, store=store, on_progress=advance)
    record = sensitivity_record(readings)
    report = sensitivity_report(readings, chosen, study)
    console.note(console.grid_sentence(record))
    console.note(f"readings: {save_sensitivity(readings, out)}")
    console.note(f"picture: {write_sensitivity_report(report, out.with_suffix('.html'))}")
    for path in [] if charts is None else export_sensitivity(report, charts):
        console.note(f"chart: {path}")
    return record
