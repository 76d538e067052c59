"""A language model with checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from creode.cli.app import app, reported
from creode.cli.options import (
    DataOpt,
    JsonOpt,
    LengthOpt,
    LimitOpt,
    SeedOpt,
    SplitOpt,
    TextOpt,
    TokenizerOpt,
    one_of,
)
from creode.cli.progress import progress


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
    task: Annotated[
        str, typer.Option(help="next-token, or after it sft, dpo or reward; needs --model.")
    ] = "next-token",
    reference: Annotated[
        str | None, typer.Option(help="Of task dpo (default: the model it starts from).")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights on sequences or tokens, of `creode pattern`.")
    ] = None,
    seed: SeedOpt = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu",
    as_json: JsonOpt = False,
) -> None:
    """Train a language model, with checkpoints at log-spaced steps."""
    from creode.models import load_model
    from creode.study.config import DataConfig
    from creode.study.model_path import BYTES
    from creode.study.post_training import begin
    from creode.testbeds.decoder import Decoder, DecoderConfig
    from creode.training import TrainingConfig
    from creode.training import train as run_training

    source = DataConfig(
        source=data, split=split, text=text, length=length, limit=limit,
        tokenizer=tokenizer or (BYTES if model is None else None),
    )  # fmt: skip
    if model is None and task != "next-token":
        raise ValueError(f"task {task!r} trains a model that there is; give it with --model.")
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
    began = begin(task, start, source, model or "", reference)
    rho = None
    if weights is not None:
        from creode.patterning import load_weights

        chosen = load_weights(weights)
        chosen.check_data(began.samples)
        rho = chosen.tensor()
    with progress("steps") as advance:
        result = run_training(
            *began, config, weights=rho, out=out,
            on_step=lambda done, total, loss: advance(f"loss {loss:.3f}", done, total),
        )  # fmt: skip
    last = float(result.losses[-1])
    summary = {"out": str(out), "steps": steps, "loss": last, "sequences": len(began.samples)}
    typer.echo(json.dumps(summary) if as_json else f"{out}: {steps} steps, last loss {last:.4f}")


def _vocabulary(tokenizer: str | None) -> int:
    from creode.data import as_tokenizer

    return len(as_tokenizer(tokenizer))
