"""What post-training data taught a model, behaviour by behaviour."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from creode.cli import console
from creode.cli.app import app, reported
from creode.cli.audit_tables import audit_tables
from creode.cli.options import (
    BatchSizeOpt,
    BurninOpt,
    ChainsOpt,
    ControlVariatesOpt,
    DeviceOpt,
    DrawsOpt,
    ForwardDtypeOpt,
    JsonOpt,
    LengthOpt,
    LimitOpt,
    MicrobatchOpt,
    ModeOpt,
    PrincipleOpt,
    ReferenceOpt,
    RevisionOpt,
    SamplerOpt,
    SamplerSettingOpt,
    SeedOpt,
    SettingsOpt,
    SplitOpt,
    StepSizeOpt,
    StepsPerDrawOpt,
    StrengthOpt,
    StrictOpt,
    TokenizerOpt,
    pairs,
    study_of,
)
from creode.cli.progress import progress
from creode.cli.show import warn_of_doubt


@app.command(
    epilog="Example: creode audit runs/policy --task dpo --reference runs/tuned/step_001000 "
    "--data pairs.jsonl --behaviour flattery=flattery.jsonl --capability facts=facts.jsonl "
    "--principle principle --out runs/audit; then creode audit --from runs/audit --top 20"
)
@reported
def audit(  # noqa: PLR0913, PLR0917 - a command's parameters are its options
    model: Annotated[
        str | None, typer.Argument(help="Directory or hub id of the post-trained model.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Post-training data: file, directory or hub id.")
    ] = None,
    behaviour: Annotated[
        list[str] | None,
        typer.Option(help="NAME=SOURCE: prompts with a wanted and an unwanted answer."),
    ] = None,
    capability: Annotated[
        list[str] | None,
        typer.Option(help="NAME=SOURCE: the same of a skill, that mending is to leave alone."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; an interrupted run continues.")
    ] = None,
    from_run: Annotated[
        Path | None, typer.Option("--from", help="Report from a finished run, sampling nothing.")
    ] = None,
    before: Annotated[
        str | None,
        typer.Option(help="Model that post-training began from (default: the reference)."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Share of prompts at which the unwanted answer may be favoured.")
    ] = 0.1,
    shift: Annotated[
        list[str] | None,
        typer.Option(help="NAME=PRINCIPLE:FACTOR[,…]: other weights of principles to predict."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Culprits of each behaviour to show.")] = 5,
    rate: Annotated[float, typer.Option(help="Rate of false discoveries.")] = 0.05,
    nbeta: StrengthOpt = "auto",
    localization: StrengthOpt = "auto",
    sampler: SamplerOpt = "auto",
    budget: Annotated[
        float | None,
        typer.Option(
            help="Of sampler auto: gradient evaluations of a chain (default: 10000, or 20000 "
            "where nβ or γ is given)."
        ),
    ] = None,
    settings: SettingsOpt = None,
    step_size: StepSizeOpt = None,
    sampler_option: SamplerSettingOpt = None,
    task: Annotated[str, typer.Option(help="sft, dpo, reward or next-token.")] = "sft",
    reference: ReferenceOpt = None,
    principle: PrincipleOpt = None,
    component: Annotated[
        list[str] | None,
        typer.Option(help="Part that may carry a behaviour; a name or heads, layers, mlps, …"),
    ] = None,
    revision: RevisionOpt = None,
    split: SplitOpt = "train",
    tokenizer: TokenizerOpt = None,
    length: LengthOpt = 128,
    limit: LimitOpt = None,
    chains: ChainsOpt = 4,
    draws: DrawsOpt = None,
    burnin: BurninOpt = None,
    steps_per_draw: StepsPerDrawOpt = None,
    batch_size: BatchSizeOpt = 32,
    control_variates: ControlVariatesOpt = False,
    seed: SeedOpt = 0,
    mode: ModeOpt = "auto",
    device: DeviceOpt = None,
    forward_dtype: ForwardDtypeOpt = None,
    microbatch: MicrobatchOpt = None,
    as_json: JsonOpt = False,
    strict: StrictOpt = False,
) -> None:
    """Audit post-training data: which samples and principles drive each behaviour, and the cost
    of mending it."""
    from creode.study import run_study
    from creode.study.audits import Audits, audit_study

    if from_run is None:
        if model is None or data is None or not (behaviour or capability) or out is None:
            raise ValueError(
                "a new audit needs MODEL, --data, --behaviour and --out; a finished one --from DIR."
            )
        fixed: dict[str, Any] = {
            "checkpoints": "last", "probe": [], "probe_split": None, "text": "text",
            "packing": "pad",
        }  # fmt: skip
        study = study_of(locals() | fixed) | {"rate": rate}
        own = {"tokenizer": tokenizer, "length": length, "split": split}
        asked = {
            "behaviours": {
                name: {"source": source, **own}
                for name, source in [
                    *pairs("behaviour", behaviour), *pairs("capability", capability),
                ]
            },
            "capabilities": tuple(name for name, _ in pairs("capability", capability)),
            "before": before or reference,
            "tolerance": tolerance,
            "shifts": {name: factors("shift", name, text) for name, text in pairs("shift", shift)},
        }  # fmt: skip
        with progress("chain-steps") as advance:
            run_study(audit_study(study, asked), out, on_progress=advance)
    elif model is not None or data is not None or out is not None:
        raise ValueError("--from reports on a finished run; drop MODEL, --data and --out.")
    directory = from_run or out
    assert directory is not None
    found = Audits(directory)
    records = found.records()
    culprits = found.culprits(top)
    found.save(records)
    if as_json:
        typer.echo(json.dumps({"behaviours": records, "culprits": culprits}, indent=1))
    else:
        for table in audit_tables(found.audit, records, culprits):
            console.show(table)
    console.note(f"report: {found.write_report()}")
    warn_of_doubt(records, strict=strict)


def factors(option: str, name: str, text: str) -> dict[str, float]:
    """PRINCIPLE:FACTOR, separated by commas."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        group, colon, factor = part.rpartition(":")
        try:
            found[group] = float(factor)
        except ValueError:
            colon = ""
        if not (colon and group):
            raise ValueError(f"--{option} {name}: {part!r} is not PRINCIPLE:FACTOR.")
    return found
