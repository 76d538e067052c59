"""Options of what is read along checkpoints, which `develop` and `plan` share.

Here: their types and help, and what their texts become.
Not here: options of other commands too (options.py), the commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from creode.cli.options import one_of, pairs

QueryOpt = Annotated[
    str | None,
    typer.Option(help="Data on whose samples influence is read at every checkpoint; same format."),
]
QueryLimitOpt = Annotated[int | None, typer.Option(min=1, help="Queries at most.")]
TrainOpt = Annotated[
    str | None, typer.Option(help="Samples that influence them. Default: those of --data.")
]
TrainLimitOpt = Annotated[int | None, typer.Option(min=1, help="Of these at most.")]
KindOpt = Annotated[str, typer.Option(help="Of influence: covariance or correlation.")]
MeasureOpt = Annotated[
    list[str] | None,
    typer.Option(help="Also weight_norm, hessian (trace, largest), outputs (their plane)."),
]
MetricOpt = Annotated[
    list[str] | None,
    typer.Option(help="MODULE:FUNCTION of (model, step) that returns readings by name."),
]
WithOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--with", help="NAME=DIRECTORY of another run's checkpoints, for one plane of outputs."
    ),
]


def development_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a study reads along checkpoints beside λ̂, from the options that ask for it."""
    o = dict(options)
    return {
        "measures": tuple(o["measure"] or []),
        "metrics": tuple(o["metric"] or []),
        "runs": dict(pairs("with", o["beside"])),
        "influence": influence_of(o),
    }


def influence_of(o: Mapping[str, Any]) -> dict[str, Any] | None:
    """Queries and training samples in the format of the data, or nothing without queries.

    Raises:
        ValueError: something of an influence that was not asked for.
    """
    asked = {n: o[n] for n in ("query_limit", "train", "train_limit") if o[n] is not None}
    if o["query"] is None:
        if asked:
            raise ValueError(
                f"--{next(iter(asked)).replace('_', '-')} is of influence; give --query."
            )
        return None
    formats = {name: o[name] for name in ("split", "text", "tokenizer", "length", "packing")}
    own = o["train"] is None and o["train_limit"] is None  # the data themselves
    limit = o["limit"] if o["train_limit"] is None else o["train_limit"]
    train = {"source": o["train"] or o["data"], **formats, "limit": limit}
    return {
        "query": {"source": o["query"], **formats, "limit": o["query_limit"]},
        "train": None if own else train,
        "kind": one_of(o["kind"], "covariance", "correlation"),
    }
