"""Weights on the data for a wanted change, from a run of responses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from creode.cli import console
from creode.cli.app import app, reported
from creode.cli.options import JsonOpt, StrictOpt, numbers, one_of
from creode.cli.progress import progress
from creode.cli.show import warn_of_doubt
from creode.cli.writing_tables import (
    effect_table,
    explained_tables,
    explanation_table,
    proof_table,
)


@app.command(
    epilog="Example: creode pattern runs/answers --on train --target code=-0.02 --keep logs "
    "--out weights.parquet"
)
@reported
def pattern(  # noqa: PLR0913, PLR0917 - a command's parameters are its options
    directory: Annotated[
        Path, typer.Argument(help="Run directory of `creode respond` or `creode audit`.")
    ],
    target: Annotated[
        list[str], typer.Option(help="OBSERVABLE=CHANGE that is wanted; of losses in nats.")
    ],
    out: Annotated[Path, typer.Option(help="Parquet file of weights, for `creode train`.")],
    on: Annotated[str, typer.Option(help="Probe that holds the training data.")] = "train",
    keep: Annotated[
        list[str] | None, typer.Option(help="Observable that is to stay as it is.")
    ] = None,
    by_domain: Annotated[
        bool, typer.Option("--by-domain", help="Samples of one domain weigh alike.")
    ] = False,
    units: Annotated[str, typer.Option(help="What is weighed: sample or token.")] = "sample",
    least_effective: Annotated[float, typer.Option(help="Least share of effective samples.")] = 0.1,
    most: Annotated[float | None, typer.Option(help="Largest weight of a sample.")] = None,
    measure: Annotated[str, typer.Option(help="Of change: norm or entropy.")] = "norm",
    furthest: Annotated[
        bool,
        typer.Option(
            "--furthest",
            help="As far along the target as the constraint allows, whatever its size.",
        ),
    ] = False,
    seeds: Annotated[
        int, typer.Option("--verify", min=0, help="Seeds of a proof by training; 0: none.")
    ] = 0,
    explanation: Annotated[
        list[str] | None,
        typer.Option(help="Trivial explanation that gets an arm of the proof: length, loss, …"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each arm.")] = 100,
    learning_rate: Annotated[float, typer.Option(help="Of the arms' AdamW.")] = 1e-4,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences of a training step.")] = 32,
    ranks: Annotated[
        bool,
        typer.Option(
            "--ranks", help="With --furthest: follow rank correlations, for data that are fitted."
        ),
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(help="Model that the arms begin from (default: the weights that were read)."),
    ] = None,
    component: Annotated[str | None, typer.Option(help="Part whose posterior is asked.")] = None,
    checkpoint: Annotated[int | None, typer.Option(help="Step; default: the last.")] = None,
    as_json: JsonOpt = False,
    strict: StrictOpt = False,
) -> None:
    """Choose weights on the training samples for a wanted change; prove it by training on.

    A page beside the weights, of the same name, shows them with their text, and the proof.
    """
    from creode.patterning import Convex, Furthest, SampleWeights
    from creode.patterning import pattern as choose
    from creode.study.retraining import proof_records, retrain
    from creode.study.weights_page import weights_report
    from creode.study.writing import domains_of, effect_records, one_posterior
    from creode.training import TrainingConfig
    from creode.viewer import write_writing_report

    if explanation and not seeds:
        raise ValueError("--explanation gets an arm of the proof; give --verify SEEDS as well.")
    if furthest and measure != "norm":
        raise ValueError("--furthest asks for the largest change, so there is no --measure of it.")
    constraint: Convex | Furthest = Convex(
        least_effective=least_effective, most=most, measure=one_of(measure, "norm", "entropy")
    )
    if furthest:
        constraint = Furthest(least_effective=least_effective, most=most)
    domains = domains_of(directory, on)
    if by_domain and domains is None:
        raise ValueError(
            f"the samples of {on!r} carry no domains, as those of corpus:… or of principles do; "
            "leave out --by-domain."
        )
    wanted, trained = numbers("target", target), {}
    made = choose(
        one_posterior(directory, component, checkpoint), wanted, constraint,
        on=on, units=one_of(units, "sample", "token"), keep=keep or [],
        features={} if domains is None else {"domain": domains},
        groups=domains if by_domain else None,
        along="ranks" if ranks else "effects",
    )  # fmt: skip
    made.weights.save(out)
    weights = made.weights
    console.note(
        f"weights: {out}, of {len(weights.flat)} {weights.unit}s, "
        f"{100 * weights.effective_share:.0f} % effective, from {weights.flat.min():.2g} to "
        f"{weights.flat.max():.2g}"
    )
    if by_domain and isinstance(weights, SampleWeights):
        shares = weights.probabilities().items()
        console.note("shares: " + ", ".join(f"{name} {share:.3f}" for name, share in shares))
    records, proof = effect_records(made), None
    tables = [effect_table(records), explanation_table(records)]
    if seeds:
        training = TrainingConfig(
            steps=steps, batch_size=batch_size, learning_rate=learning_rate, checkpoints=2
        )
        with progress("arms") as advance:
            proof = retrain(
                directory, made, training, start=checkpoint if start is None else start,
                seeds=range(seeds), explanations=explanation or [], out=out.with_suffix(".proof"),
                on_arm=lambda done, total: advance("training", done, total),
            )  # fmt: skip
        records = proof_records(proof)
        tables = [tables[1], proof_table(records), *explained_tables(records)]
        trained = {"steps": steps, "learning_rate": learning_rate, "batch_size": batch_size}
    if as_json:
        typer.echo(json.dumps(records, indent=1))
    else:
        for table in tables:
            console.show(table)
    asked = {"constraint": repr(constraint), "keep": keep or [], "seeds": seeds, "start": start}
    report = weights_report(
        directory, made, on=on, target=wanted, proof=proof, config=asked | trained
    )
    console.note(f"report: {write_writing_report(report, out.with_suffix('.html'))}")
    warn_of_doubt(records, strict=strict)
