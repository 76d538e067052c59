"""Where a series of checkpoints comes from.

Here: finding the checkpoints of a training run and their steps, whoever wrote them.
Not here: revisions on the hub (revisions.py), reading a checkpoint (models.py), writing them
(saving.py), trajectories and stages (the rest of development/).
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from creode.development.revisions import step_revisions
from creode.models import weight_files

_FOLDER = re.compile(r"(?:step_|checkpoint-)(\d+)")
_SHARD = re.compile(r"-\d+-of-\d+$")
_AFTER_STEP = re.compile(r"step[s_\-=]*(\d+)", re.IGNORECASE)


class Checkpoint(NamedTuple):
    """The weights a model had after some steps of training."""

    step: int
    path: Path | str  # a model's directory, a file of weights, or a hub id
    revision: str | None = None  # branch or tag on the hub; None on disk


def list_checkpoints(path: str | Path, *, revisions: str | None = None) -> list[Checkpoint]:
    """The checkpoints in a directory, or the revisions of a model on the hub, by step.

    Read are directories `step_000100` (this package's trainer) or `checkpoint-100` (transformers'
    Trainer), and where there is none, .safetensors and .pt files with a number in their name: the
    one after "step", or else the last. Of a hub id, branches and tags with a step in their name
    (`step1000`); without a connection, those in the hub's cache. `load_model(checkpoint.path,
    revision=checkpoint.revision)` reads any of them but a file.

    Args:
        path: a directory, or a hub id; a directory of that name wins over the hub.
        revisions: a glob that names of revisions must match, such as "stage1-*"; a directory has
            none.
    Raises:
        ValueError: no directory, no checkpoints in it, one with no weights, or two of one step; no
            such model on the hub, or none of its revisions names a step.
    """
    folder = Path(path).expanduser()
    if is_hub_id(path):
        found_steps = step_revisions(str(path), revisions or "*")
        return [Checkpoint(step, str(path), name) for step, name in found_steps.items()]
    if revisions is not None:
        raise ValueError(
            f"{folder}: a local directory has no revisions, got revisions={revisions!r}; "
            "leave it out, or give the hub id."
        )
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a directory of checkpoints.")
    found = [
        Checkpoint(int(match[1]), entry)
        for entry in folder.iterdir()
        if entry.is_dir() and (match := _FOLDER.fullmatch(entry.name))
    ]
    for checkpoint in found:
        weight_files(Path(checkpoint.path))
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
    found.sort(key=lambda checkpoint: (checkpoint.step, str(checkpoint.path)))
    for first, second in pairwise(found):
        if first.step == second.step:
            names = [Path(checkpoint.path).name for checkpoint in (first, second)]
            raise ValueError(
                f"{folder}: {names[0]} and {names[1]} are both of step {first.step}; "
                "move one of them away."
            )
    return found


def is_hub_id(spec: str | Path) -> bool:
    """Whether a model is named by its hub id: text that is no path, and nothing of that name."""
    return (
        isinstance(spec, str)
        and not spec.startswith((".", "/", "~"))
        and spec.count("/") == 1
        and not Path(spec).exists()
    )


def _step_of_file(file: Path) -> int | None:
    if file.suffix not in (".safetensors", ".pt", ".pth") or _SHARD.search(file.stem):
        return None
    numbers = _AFTER_STEP.findall(file.stem) or re.findall(r"\d+", file.stem)
    return int(numbers[-1]) if numbers else None
