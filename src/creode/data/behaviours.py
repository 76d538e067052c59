"""Behaviours: prompts with an answer that is wanted and one that is not, for asking a model.

Rows hold `prompt`, `wanted` and `unwanted`, each text or turns of a chat; or `chosen` (wanted) and
`rejected` (unwanted) as preferences do.

Here: such rows as pairs of `load_preferences`, wanted for chosen.
Not here: how strongly a model shows a behaviour (tasks/margin.py), preferences (preferences.py).
Dimensions: M prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from creode.data.demonstrations import load_demonstrations
from creode.data.opening import open_rows, source_name
from creode.data.preferences import load_preferences
from creode.data.samples import Samples

ANSWERS = {"wanted": "chosen", "unwanted": "rejected"}


def load_behaviour(
    source: Any,
    *,
    tokenizer: Any,
    length: int = 1024,
    split: str = "train",
    config: str | None = None,
    limit: int | None = None,
) -> Samples:
    """Pairs of a wanted (chosen) and an unwanted (rejected) answer to each prompt.

    Args:
        source: a table file, a data set of the hub or saved to disk, or rows, as `creode.data.load`
            takes; with the columns `prompt`, `wanted`, `unwanted`, or those of preferences.
        tokenizer, length, split, config, limit: as of `load_preferences`.

    Returns:
        Columns as of `load_preferences`, M pairs. Prompts that cannot be asked are in `excluded`,
        and warned of.

    Raises:
        ValueError: no such columns, or as of `load_preferences`.
    """
    pairs = list(_pairs(source, split, config, limit))
    return _named(load_preferences(pairs, tokenizer=tokenizer, length=length), source, split)


def load_wanted(
    source: Any,
    *,
    tokenizer: Any,
    length: int = 1024,
    split: str = "train",
    config: str | None = None,
    limit: int | None = None,
) -> Samples:
    """The wanted answers of a behaviour as demonstrations, (M,); arguments as of `load_behaviour`.

    Raises:
        ValueError: no such columns, prompts that are not apart from the answers, or as of
            `load_demonstrations`.
    """
    rows = []
    for number, row in enumerate(_pairs(source, split, config, limit)):
        if "prompt" not in row:
            raise ValueError(
                f"{source_name(source, split)}: row {number} has no column 'prompt', which wanted "
                "answers need to be shown as demonstrations."
            )
        rows.append({"prompt": row["prompt"], "completion": row.get("chosen")})
    return _named(load_demonstrations(rows, tokenizer=tokenizer, length=length), source, split)


def _pairs(
    source: Any, split: str, config: str | None, limit: int | None
) -> Iterator[dict[str, Any]]:
    for number, row in open_rows(source, split, config, limit):
        yield _as_pair(row, f"{source_name(source, split)}, row {number}")


def _as_pair(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    pair = {ANSWERS.get(name, name): value for name, value in row.items()}
    missing = [name for name, side in ANSWERS.items() if side not in pair]
    if missing or len(pair) < len(row):
        raise ValueError(
            f"{where}: the columns are {sorted(row)}; a behaviour needs 'prompt', 'wanted' and "
            "'unwanted' (or 'chosen' and 'rejected' in their places)."
        )
    return {name: pair[name] for name in ("prompt", *ANSWERS.values()) if name in pair}


def _named(samples: Samples, source: Any, split: str) -> Samples:
    from dataclasses import replace

    return replace(samples, source=source_name(source, split))
