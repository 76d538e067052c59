"""The command line: parses, calls study, prints. No mathematics.

Here: the commands and their options.
Not here: what they do (study/, training/, demo.py), how it looks (console.py).
Results go to stdout, progress and messages to stderr; the exit code is 0 only if it worked.
"""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from creode import console
from creode.options import (
    BudgetOpt,
    DataOpt,
    JsonOpt,
    LengthOpt,
    LimitOpt,
    ModelArg,
    ModeOpt,
    OpenOpt,
    SeedOpt,
    SplitOpt,
    StrengthOpt,
    StrictOpt,
    TextOpt,
    TokenizerOpt,
    checkpoints_of,
    given,
    number,
    one_of,
    pairs,
    settings_of,
    strength,
)
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
    """The users' mistakes and the machine's limits end in one sentence and exit code 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
            console.fail(error)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            console.note("interrupted; the same command continues where it stopped.")
            raise typer.Exit(130) from error

    return run


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


@app.command(epilog="Example: creode components runs/decoder/step_001000")
@reported
def components(model: ModelArg, as_json: JsonOpt = False) -> None:
    """List the parts of a model that can be sampled by name."""
    from dataclasses import asdict

    from creode import components as parts
    from creode.development import list_checkpoints
    from creode.models import load_model
    from creode.study.config import holds_checkpoints

    spec = list_checkpoints(model)[-1].path if holds_checkpoints(model) else model
    found = parts.list(load_model(spec))
    typer.echo(json.dumps([asdict(part) for part in found], indent=1) if as_json else str(found))


@app.command(
    epilog="Example: creode llc runs/decoder --checkpoints all --data corpus:code --length 64 "
    "--budget 2000 --final-component heads --out runs/llc"
)
@reported
def llc(  # noqa: PLR0913, PLR0917 - a command's parameters are its options
    model: ModelArg,
    data: DataOpt,
    out: Annotated[Path, typer.Option(help="Run directory; an interrupted run continues.")],
    nbeta: StrengthOpt = "auto",
    localization: StrengthOpt = "auto",
    sampler: Annotated[
        str, typer.Option(help="auto, or a kernel: sgld, rmsprop_sgld or baoab.")
    ] = "auto",
    budget: BudgetOpt = None,
    settings: Annotated[
        Path | None, typer.Option(help="File of `creode calibrate`, in the place of a pilot.")
    ] = None,
    step_size: Annotated[float | None, typer.Option(help="Step size of a kernel.")] = None,
    sampler_option: Annotated[
        list[str] | None, typer.Option(help="Further setting of the kernel, NAME=NUMBER.")
    ] = None,
    task: Annotated[str, typer.Option(help="next-token or classification.")] = "next-token",
    component: Annotated[
        list[str] | None,
        typer.Option(help="Part read at every checkpoint; a name or heads, layers, mlps, …"),
    ] = None,
    final_component: Annotated[
        list[str] | None, typer.Option(help="Part read at the last checkpoint only.")
    ] = None,
    checkpoints: Annotated[
        str, typer.Option(help="last, all, or training steps: 10,100,1000.")
    ] = "last",
    revision: Annotated[str | None, typer.Option(help="Revision on the hub.")] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(help="NAME=SOURCE whose loss is read too (data-refined); same format."),
    ] = None,
    split: SplitOpt = "train",
    text: TextOpt = "text",
    tokenizer: TokenizerOpt = None,
    length: LengthOpt = 128,
    limit: LimitOpt = None,
    packing: Annotated[str, typer.Option(help="pack, truncate or pad.")] = "pack",
    chains: Annotated[int, typer.Option(min=1, help="Independent chains.")] = 4,
    draws: Annotated[
        int | None, typer.Option(help="Draws kept of each chain [default: 200, or chosen].")
    ] = None,
    burnin: Annotated[
        int | None,
        typer.Option(min=0, help="Steps before the first draw [default: 200, or chosen]."),
    ] = None,
    steps_per_draw: Annotated[
        int | None, typer.Option(min=1, help="Steps between draws [default: 5, or chosen].")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences of a gradient.")] = 32,
    seed: SeedOpt = 0,
    mode: ModeOpt = "auto",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …")] = None,
    forward_dtype: Annotated[
        str | None, typer.Option(help="bfloat16 for the forward pass.")
    ] = None,
    microbatch: Annotated[int | None, typer.Option(min=1, help="Sequences at once.")] = None,
    as_json: JsonOpt = False,
    strict: StrictOpt = False,
) -> None:
    """Estimate local learning coefficients, whole and per part, along checkpoints."""
    formats = {
        "split": split, "text": text, "tokenizer": tokenizer,
        "length": length, "packing": packing, "limit": limit,
    }  # fmt: skip
    lengths = given(draws=draws, burnin=burnin, steps_per_draw=steps_per_draw)
    kernel = given(step_size=step_size, budget=budget)
    kernel |= {n: number(n, v) for n, v in pairs("sampler-option", sampler_option)}
    chosen = settings_of(settings) if settings is not None else {}
    if chosen and (kernel or lengths or {nbeta, localization, sampler} != {"auto"}):
        raise ValueError("--settings holds nbeta, localization, sampler and schedule; drop those.")
    if sampler == "auto" and not chosen and lengths:
        raise ValueError(
            f"sampler auto chooses {', '.join(lengths)}; give --budget, or a kernel with --sampler."
        )
    study = {
        "model": model,
        "revision": revision,
        "checkpoints": checkpoints_of(checkpoints),
        "task": task,
        "data": {"source": data, **formats},
        "probes": {n: {"source": s, **formats} for n, s in pairs("probe", probe)},
        "components": tuple(component or ["full"]),
        "final_components": tuple(final_component or []),
        "sampler": chosen.get("sampler", {"name": sampler, **kernel}),
        "nbeta": chosen.get("nbeta", strength("nbeta", nbeta)),
        "localization": chosen.get("localization", strength("localization", localization)),
        "schedule": {
            "chains": chains, "seed": seed, "batch_size": batch_size,
            **chosen.get("schedule", lengths),
        },
        "execution": {
            "mode": mode, "device": device, "forward_dtype": forward_dtype,
            "microbatch": microbatch,
        },
    }  # fmt: skip
    run_and_show(study, out, as_json=as_json, strict=strict)


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
    task: Annotated[str, typer.Option(help="next-token or classification.")] = "next-token",
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
    as_json: JsonOpt = False,
) -> None:
    """Run the pilot of the automatic sampler alone, and keep the settings it chooses."""
    from creode.study import StudyConfig, calibrate_study

    study = StudyConfig.model_validate(
        {
            "model": model,
            "task": task,
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
    with console.progress("rounds at most") as advance:
        record = calibrate_study(study, on_progress=advance).record()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(record, indent=1))
    else:
        console.show(console.settings_table(record))
    console.note(f"settings: {out}")


@app.command(epilog="Example: creode rerun runs/llc --out runs/llc-again")
@reported
def rerun(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    out: Annotated[
        Path | None, typer.Option(help="Directory of the new run; default: DIR-rerun.")
    ] = None,
    as_json: JsonOpt = False,
    strict: StrictOpt = False,
) -> None:
    """Repeat a run from its own record, in a new directory, and say whether it agrees."""
    from creode.store import Store
    from creode.study import Readings

    with Store.open(directory, mode="read") as store:
        config, resolved = store.config, dict(store.resolved)
    if config.get("kind") != "study":
        raise ValueError(
            f"{directory} was made from Python objects, which a record cannot rebuild; repeat the "
            "call of creode.sample that made it."
        )
    target = out or directory.with_name(f"{directory.name}-rerun")
    run_and_show(config["study"], target, as_json=as_json, strict=strict, resolved=resolved)
    same = Readings(target).records() == Readings(directory).records()
    console.note("the readings are the same." if same else "the readings DIFFER from the old ones.")


@app.command(epilog="Example: creode train --data corpus:code,docs --out runs/decoder --steps 1000")
@reported
def train(  # noqa: PLR0913, PLR0917 - a command's parameters are its options
    data: DataOpt,
    out: Annotated[
        Path, typer.Option(help="Directory of checkpoints; an interrupted run continues.")
    ],
    model: Annotated[
        str | None, typer.Option(help="Model to start from; default: a new small decoder.")
    ] = None,
    layers: Annotated[int, typer.Option(min=1, help="Layers of a new decoder.")] = 2,
    heads: Annotated[int, typer.Option(min=1, help="Heads of a new decoder.")] = 4,
    width: Annotated[int, typer.Option(min=1, help="Width of a new decoder.")] = 64,
    attention_only: Annotated[bool, typer.Option(help="A new decoder without MLPs.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 1000,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences of a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    optimizer: Annotated[str, typer.Option(help="A class of torch.optim.")] = "AdamW",
    schedule: Annotated[str, typer.Option(help="constant, cosine or linear.")] = "constant",
    warmup: Annotated[int, typer.Option(min=0, help="Steps of linear warm-up.")] = 0,
    checkpoints: Annotated[int, typer.Option(min=1, help="Checkpoints, log-spaced.")] = 20,
    split: SplitOpt = "train",
    text: TextOpt = "text",
    tokenizer: TokenizerOpt = None,
    length: LengthOpt = 128,
    limit: LimitOpt = None,
    seed: SeedOpt = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu",
    as_json: JsonOpt = False,
) -> None:
    """Train a language model, with checkpoints at log-spaced steps."""
    from creode import tasks
    from creode.models import load_model
    from creode.study.config import BYTES, DataConfig
    from creode.testbeds.decoder import Decoder, DecoderConfig
    from creode.training import TrainingConfig
    from creode.training import train as run_training

    source = DataConfig(
        source=data, split=split, text=text, length=length, limit=limit,
        tokenizer=tokenizer or (BYTES if model is None else None),
    )  # fmt: skip
    samples = source.load(model or "")
    config = TrainingConfig(
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed,
        optimizer=optimizer, schedule=one_of(schedule, "constant", "cosine", "linear"),
        warmup_steps=warmup, checkpoints=checkpoints, device=device,
    )  # fmt: skip
    if model is None:
        shape = DecoderConfig(
            vocab_size=_vocabulary(source.tokenizer), d_model=width, num_layers=layers,
            num_heads=heads, context_length=length, mlp_ratio=0.0 if attention_only else 4.0,
        )  # fmt: skip
        start: Any = Decoder(shape, seed=seed)
    else:
        start = load_model(model)
    with console.progress("steps") as advance:
        result = run_training(
            start, tasks.NextToken(), samples, config, out=out,
            on_step=lambda done, total, loss: advance(f"loss {loss:.3f}", done, total),
        )  # fmt: skip
    last = float(result.losses[-1])
    summary = {"out": str(out), "steps": steps, "loss": last, "sequences": len(samples)}
    typer.echo(json.dumps(summary) if as_json else f"{out}: {steps} steps, last loss {last:.4f}")


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
    from creode.study import Readings

    readings = Readings(directory)
    page = readings.write_report()
    if charts is not None:
        from creode.viewer import export_charts

        for path in export_charts(readings.report(), charts):
            typer.echo(str(path))
    typer.echo(str(page))
    if open_page:
        webbrowser.open(page.resolve().as_uri())


@app.command(epilog="Example: creode demo --out runs/demo")
@reported
def demo(
    out: Annotated[Path, typer.Option(help="Where models, draws and the report go.")] = Path(
        "runs/demo"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="A narrower decoder and fewer readings.")
    ] = False,
    seed: SeedOpt = 0,
    open_page: OpenOpt = True,
    as_json: JsonOpt = False,
) -> None:
    """Train a small decoder on the embedded corpus, read it, and open the report."""
    from creode.demo import DemoConfig, train_decoder

    config = DemoConfig(quick=quick, seed=seed)
    console.note(f"training a decoder of {config.decoder.num_layers} layers on the embedded corpus")
    with console.progress("steps") as advance:
        models = train_decoder(
            config,
            out / "model",
            lambda done, total, loss: advance(f"loss {loss:.3f}", done, total),
        )
    console.note("reading its learning coefficients along training, and of every head at the end")
    study = config.study(models)
    page = run_and_show(study, out / "llc", as_json=as_json, strict=False)
    if open_page:
        webbrowser.open(page.resolve().as_uri())


def run_and_show(
    study: dict[str, Any],
    out: Path,
    *,
    as_json: bool,
    strict: bool,
    resolved: dict[str, Any] | None = None,
) -> Path:
    """Run a study, save and print its readings, write its report; return the report's path."""
    from creode.study import Readings, StudyConfig, run_study

    config = StudyConfig.model_validate(study)
    with console.progress("chain-steps") as advance:
        run_study(config, out, resolved=resolved, on_progress=advance)
    readings = Readings(out)
    readings.save()
    settings = readings.chosen.get("chosen", {}).get("calibration")
    if settings is not None:
        console.note(console.settings_sentence(settings))
    records = readings.records()
    if as_json:
        typer.echo(json.dumps(records, indent=1))
    else:
        console.show(console.readings_table(records))
    page = readings.write_report()
    console.note(f"report: {page}")
    doubtful = [record for record in records if not record["ok"]]
    if doubtful:
        console.note(
            f"warning: {len(doubtful)} of {len(records)} readings are not to be trusted; "
            "the table says why."
        )
        if strict:
            raise typer.Exit(1)
    return page


def _vocabulary(tokenizer: str | None) -> int:
    from creode.data import as_tokenizer

    return len(as_tokenizer(tokenizer))


def main() -> None:
    """Run the command line."""
    app()
