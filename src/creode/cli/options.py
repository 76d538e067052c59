"""Options that commands share: their types and help, and what their texts become.

Here: annotated types for typer, the parsing of values with a form of their own, and a study's
configuration from the options that describe one.
Not here: the commands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

ModelArg = Annotated[
    str, typer.Argument(help="Directory or hub id of a model, or a directory of checkpoints.")
]
DataOpt = Annotated[
    str,
    typer.Option(help="File, directory, hub id, or corpus:DOMAIN[,DOMAIN] of the embedded corpus."),
]
SplitOpt = Annotated[str, typer.Option(help="Split of the data set.")]
TextOpt = Annotated[str, typer.Option(help="Column that holds the text.")]
TokenizerOpt = Annotated[
    str | None, typer.Option(help="Tokenizer: directory, hub id or 'bytes'. Default: the model's.")
]
LengthOpt = Annotated[int, typer.Option(min=2, help="Tokens of a sequence.")]
LimitOpt = Annotated[int | None, typer.Option(min=1, help="Sequences to use at most.")]
SeedOpt = Annotated[int, typer.Option(min=0, help="Seed; it replays the run.")]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
StrictOpt = Annotated[
    bool, typer.Option("--strict", help="Exit with code 1 if any reading is not to be trusted.")
]
OpenOpt = Annotated[bool, typer.Option("--open/--no-open", help="Open the report in a browser.")]
ModeOpt = Annotated[
    str, typer.Option(help="Chains: sequential, vectorised, or auto, whichever is faster.")
]
StrengthOpt = Annotated[str, typer.Option(help="A number, or auto: chosen by a pilot.")]
BudgetOpt = Annotated[
    float | None,
    typer.Option(help="Of sampler auto: gradient evaluations of a chain (default: 20000)."),
]
RunOpt = Annotated[Path, typer.Option(help="Run directory; an interrupted run continues.")]
SamplerOpt = Annotated[
    str, typer.Option(help="auto, or a kernel: sgld, rmsprop_sgld, baoab or badodab.")
]
SettingsOpt = Annotated[
    Path | None, typer.Option(help="File of `creode calibrate`, in the place of a pilot.")
]
StepSizeOpt = Annotated[float | None, typer.Option(help="Step size of a kernel.")]
SamplerSettingOpt = Annotated[
    list[str] | None, typer.Option(help="Further setting of the kernel, NAME=NUMBER.")
]
TaskOpt = Annotated[str, typer.Option(help="next-token, classification, sft, dpo or reward.")]
ReferenceOpt = Annotated[
    str | None, typer.Option(help="Of task dpo: the model that post-training began from.")
]
PrincipleOpt = Annotated[
    str | None, typer.Option(help="Of tasks sft, dpo and reward: the column of principles.")
]
CheckpointsOpt = Annotated[str, typer.Option(help="last, all, or training steps: 10,100,1000.")]
RevisionOpt = Annotated[str | None, typer.Option(help="Revision on the hub.")]
PackingOpt = Annotated[str, typer.Option(help="pack, truncate or pad.")]
ChainsOpt = Annotated[int, typer.Option(min=1, help="Independent chains.")]
DrawsOpt = Annotated[
    int | None, typer.Option(help="Draws kept of each chain (default: 200, or chosen).")
]
BurninOpt = Annotated[
    int | None, typer.Option(min=0, help="Steps before the first draw (default: 200, or chosen).")
]
StepsPerDrawOpt = Annotated[
    int | None, typer.Option(min=1, help="Steps between draws (default: 5, or chosen).")
]
BatchSizeOpt = Annotated[int, typer.Option(min=1, help="Sequences of a gradient.")]
DeviceOpt = Annotated[str | None, typer.Option(help="cpu, cuda, …")]
ForwardDtypeOpt = Annotated[str | None, typer.Option(help="bfloat16 for the forward pass.")]
ControlVariatesOpt = Annotated[
    bool,
    typer.Option("--control-variates", help="Gradients without their noise at w*; twice the cost."),
]
MicrobatchOpt = Annotated[int | None, typer.Option(min=1, help="Sequences at once.")]


TwoChainOpt = Annotated[
    bool,
    typer.Option(
        "--two-chain",
        help="Two-chain form: the data's mean losses are those of the whole model's posterior, "
        "which is sampled besides.",
    ),
]
ControlOpt = Annotated[
    str | None,
    typer.Option(
        help="Control that is sampled too and taken off: prior (the loss switched off) or shuffled "
        "(the data's targets permuted)."
    ),
]


SCHEDULE = ("chains", "seed", "batch_size", "control_variates")


def study_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """A study's configuration from the parameters of a command that describes one.

    Raises:
        ValueError: options that exclude each other, or a value of the wrong form.
    """
    o = dict(options)
    formats = {
        name: o[name] for name in ("split", "text", "tokenizer", "length", "packing", "limit")
    }
    formats |= given(principle=o.get("principle"))
    kernel = given(step_size=o["step_size"], budget=o["budget"])
    kernel |= {n: number(n, v) for n, v in pairs("sampler-option", o["sampler_option"])}
    return {
        "model": o["model"],
        "revision": o["revision"],
        "checkpoints": checkpoints_of(o["checkpoints"]),
        "task": o["task"],
        "reference": o.get("reference"),
        "data": {"source": o["data"], **formats},
        "probes": probes_of(o["probe"], o.get("probe_split"), formats),
        "components": tuple(o["component"] or ["full"]),
        **sampling(
            **{name: o[name] for name in ("nbeta", "localization", "sampler", "settings")},
            kernel=kernel,
            lengths=given(**{name: o[name] for name in ("draws", "burnin", "steps_per_draw")}),
            schedule={name: o[name] for name in SCHEDULE if name in o},
        ),
        "execution": {name: o[name] for name in ("mode", "device", "forward_dtype", "microbatch")},
    }


def probes_of(
    probe: list[str], split: list[str] | None, formats: Mapping[str, Any]
) -> dict[str, Any]:
    """Probes in the format of the data, but for splits of their own."""
    probes = {name: {"source": source, **formats} for name, source in pairs("probe", probe)}
    for name, own in pairs("probe-split", split):
        if name not in probes:
            raise ValueError(f"--probe-split {name}: the probes are {', '.join(sorted(probes))}.")
        probes[name] = {**probes[name], "split": own}
    return probes


def strength(name: str, text: str) -> float | Literal["auto"]:
    """nβ or γ: a number or "auto"."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--{name} must be a number or auto, got {text!r}.") from None


def given(**options: Any) -> dict[str, Any]:
    """The options that were given at all."""
    return {name: value for name, value in options.items() if value is not None}


def settings_of(path: Path) -> dict[str, Any]:
    """nβ, γ, sampler and schedule from a file that `creode calibrate` wrote, as a study has them.

    Raises:
        ValueError: the file holds something else.
    """
    from creode.sampling import Calibration

    try:
        chosen = Calibration.of(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} holds no settings of `creode calibrate` ({error}); run it again."
        ) from error
    kernel = asdict(chosen.kernel)
    lengths = ("burnin", "draws", "steps_per_draw")
    return {
        "nbeta": chosen.nbeta,
        "localization": chosen.localization,
        "sampler": {"name": chosen.kernel.name, **kernel},
        "schedule": {name: getattr(chosen, name) for name in lengths},
    }


def sampling(
    *,
    nbeta: str,
    localization: str,
    sampler: str,
    settings: Path | None,
    kernel: dict[str, Any],
    lengths: dict[str, int],
    schedule: dict[str, Any],
) -> dict[str, Any]:
    """nβ, γ, sampler and schedule as a study has them, from options or a file of settings.

    Raises:
        ValueError: options that exclude each other.
    """
    chosen = settings_of(settings) if settings is not None else {}
    if chosen and (kernel or lengths or {nbeta, localization, sampler} != {"auto"}):
        raise ValueError("--settings holds nbeta, localization, sampler and schedule; drop those.")
    if sampler == "auto" and not chosen and lengths:
        raise ValueError(
            f"sampler auto chooses {', '.join(lengths)}; give --budget, or a kernel with --sampler."
        )
    return {
        "sampler": chosen.get("sampler", {"name": sampler, **kernel}),
        "nbeta": chosen.get("nbeta", strength("nbeta", nbeta)),
        "localization": chosen.get("localization", strength("localization", localization)),
        "schedule": {**schedule, **chosen.get("schedule", lengths)},
    }


def checkpoints_of(text: str) -> Literal["last", "all"] | tuple[int, ...]:
    """Which checkpoints: "last", "all" or training steps."""
    if text in ("last", "all"):
        return cast(Literal["last", "all"], text)
    try:
        return tuple(int(step) for step in text.split(","))
    except ValueError:
        raise ValueError(
            f"--checkpoints must be 'last', 'all' or steps such as 10,100, got {text!r}."
        ) from None


def pairs(option: str, given: list[str] | None) -> list[tuple[str, str]]:
    """NAME=VALUE, as often as the option was given."""
    parts = [item.partition("=") for item in given or []]
    for name, equals, value in parts:
        if not (name and equals and value):
            raise ValueError(f"--{option} must be NAME=VALUE, got {name + equals + value!r}.")
    return [(name, value) for name, _, value in parts]


def numbers(option: str, given: list[str] | None) -> dict[str, float]:
    """NAME=NUMBER, as often as the option was given, each name once."""
    found: dict[str, float] = {}
    for name, text in pairs(option, given):
        if name in found:
            raise ValueError(f"--{option} names {name!r} twice.")
        try:
            found[name] = float(text)
        except ValueError:
            raise ValueError(f"--{option} {name}: {text!r} is not a number.") from None
    return found


def number(name: str, text: str) -> float | bool:
    """The value of a kernel's setting."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--sampler-option {name}: {text!r} is not a number.") from None


def one_of(value: str, *choices: Any) -> Any:
    """The value, if it is one of the choices."""
    if value not in choices:
        raise ValueError(f"{value!r} is not one of {', '.join(choices)}.")
    return value
