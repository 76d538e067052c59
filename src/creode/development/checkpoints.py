"""Where a series of checkpoints comes from.

Here: finding the checkpoints of a training run and their steps, whoever wrote them.
Not here: reading one of them (models.py), trajectories and stages (the rest of development/).
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from creode.models import weight_files

_FOLDER = re.compile(r"(?:step_|checkpoint-)(\d+)")
_SHARD = re.compile(r"-\d+-of-\d+$")
_AFTER_STEP = re.compile(r"step[s_\-=]*(\d+)", re.IGNORECASE)


class Checkpoint(NamedTuple):
    """The weights a model had after some steps of training."""

    step: int
    path: Path  # a model's directory, or a file of weights


def list_checkpoints(path: str | Path) -> list[Checkpoint]:
    """The checkpoints in a directory, by step.

    Read are directories `step_000100` (this package's trainer) or `checkpoint-100` (transformers'
    Trainer), and where there is none, .safetensors and .pt files with a number in their name: the
    one after "step", or else the last.

    Raises:
        ValueError: no directory, no checkpoints in it, one with no weights, or two of one step.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a directory of checkpoints.")
    found = [
        Checkpoint(int(match[1]), entry)
        for entry in folder.iterdir()
        if entry.is_dir() and (match := _FOLDER.fullmatch(entry.name))
    ]
    for checkpoint in found:
        weight_files(checkpoint.path)
    if not found:
        found = [
            Checkpoint(step, entry)
            for entry in folder.iterdir()
            if entry.is_file() and (step := _step_of_file(entry)) is not None
        ]
    if not found:
        one = "it is one model; " if (folder / "config.json").is_file() else ""
        raise ValueError(
            f"{folder}: no checkpoints in it; {one}expected step_000100/, checkpoint-100/, or "
            ".safetensors or .pt files with a number in their name."
        )
    found.sort()
    for first, second in pairwise(found):
        if first.step == second.step:
            raise ValueError(
                f"{folder}: {first.path.name} and {second.path.name} are both of step "
                f"{first.step}; move one of them away."
            )
    return found


def _step_of_file(file: Path) -> int | None:
    if file.suffix not in (".safetensors", ".pt", ".pth") or _SHARD.search(file.stem):
        return None
    numbers = _AFTER_STEP.findall(file.stem) or re.findall(r"\d+", file.stem)
    return int(numbers[-1]) if numbers else None
