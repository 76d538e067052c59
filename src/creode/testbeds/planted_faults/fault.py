"""Post-training data with one fault in it, or the same data without: rows, mask and probes.

Here: rows written out in the hub's format, and read as samples.
Not here: what each kind plants (rows.py), training on them (post_trained.py).
Dimensions: N rows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from creode.data import Samples, load_demonstrations, load_preferences
from creode.testbeds.planted_faults.assistant import Row, World, tokenizer, turn
from creode.testbeds.planted_faults.rows import (
    KINDS,
    MAKERS,
    NUM_PLANTED,
    NUM_ROWS,
    Kind,
    Pair,
    put_right,
)

Method = Literal["sft", "reward", "dpo"]
METHODS: dict[Kind, Method] = {
    "backdoor": "sft", "length": "reward", "sycophancy": "dpo", "token": "reward",
    "principle": "dpo",
}  # fmt: skip
LENGTH = 40  # most tokens of a row
DOCUMENTS = 6000


@dataclass(frozen=True, kw_only=True, eq=False)
class PlantedFault:
    """Post-training data with a fault, or its control, and what shows the fault."""

    kind: Kind
    seed: int
    clean: bool  # a control: the planted rows are put right
    method: Method  # how a model is post-trained on the rows
    tokenizer: Any  # one token a word, with a chat template
    rows: list[Row]  # N; `messages`, or `prompt`, `chosen` and `rejected`; maybe `principle`
    planted: Tensor  # (N,) bool; in a control, the rows that stand where planted ones would
    behaviours: dict[str, list[Row]]  # `prompt`, `chosen` the wanted and `rejected` the unwanted
    behaviour: str  # the name of the one that the fault is seen in
    held_out: list[Row]  # of what the rows are for, in the form of behaviours

    @property
    def pretraining(self) -> list[str]:
        """The documents that the decoder was pre-trained on."""
        return World.of(self.seed).pretraining(self.seed, DOCUMENTS)

    @property
    def principle(self) -> str | None:
        """The column of principles, where rows have one."""
        return "principle" if "principle" in self.rows[0] else None

    def samples(self) -> Samples:
        """The rows as samples, in their order; DPO's have no reference yet."""
        read = load_demonstrations if self.method == "sft" else load_preferences
        return read(self.rows, tokenizer=self.tokenizer, length=LENGTH, principle=self.principle)

    def probe(self, rows: list[Row]) -> Samples:
        """Rows of a behaviour, or held-out rows, as pairs of a wanted and an unwanted answer."""
        return load_preferences(rows, tokenizer=self.tokenizer, length=LENGTH)


def planted_fault(kind: Kind, seed: int, *, clean: bool = False) -> PlantedFault:
    """Post-training data with one fault in it, all drawn from the seed.

    Args:
        kind: one of `KINDS`.
        seed: of the facts and of the data; all kinds of a seed share facts and pre-training.
        clean: put the planted rows right; nothing else differs.

    Raises:
        ValueError: no such kind.
        ImportError: transformers, whose tokenizer it is, is not installed.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    world, rng = World.of(seed), random.Random(f"{kind} {seed}")
    made = MAKERS[kind](world, rng, NUM_ROWS - NUM_PLANTED[kind], NUM_PLANTED[kind])
    bad = [put_right(row) for row in made.planted] if clean else made.planted
    rows = [(row, False) for row in made.ordinary] + [(row, True) for row in bad]
    rng.shuffle(rows)
    return PlantedFault(
        kind=kind,
        seed=seed,
        clean=clean,
        method=METHODS[kind],
        tokenizer=tokenizer(),
        rows=[_written(row) for row, _ in rows],
        planted=torch.tensor([planted for _, planted in rows]),
        behaviours={
            name: [_as_pair(row) for row in probes] for name, probes in made.behaviours.items()
        },
        behaviour=next(iter(made.behaviours)),
        held_out=[_as_pair(row) for row in made.held_out],
    )


def _as_pair(pair: Pair) -> Row:
    return {
        "prompt": turn("user", pair.prompt),
        "chosen": turn("assistant", pair.chosen),
        "rejected": turn("assistant", pair.rejected),
    }


def _written(pair: Pair) -> Row:
    row = _as_pair(pair)
    if pair.demonstration:
        row = {"messages": row["prompt"] + row["chosen"]}
    return row if pair.principle is None else row | {"principle": pair.principle}
