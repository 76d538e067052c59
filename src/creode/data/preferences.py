"""Preferences: pairs of answers to one prompt, of which one was chosen.

Rows hold `chosen` and `rejected`, each text or turns of a chat, with a `prompt` of the same form or
with the prompt at the head of both. A pair that says nothing is left out and told.

Here: rows to samples, and pairs with their answers swapped.
Not here: the tokens of one answer (conversation.py), losses (tasks/dpo.py, tasks/reward.py).
Dimensions: N pairs, T tokens of the longest answer with its prompt, at most `length`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from creode.data.conversation import (
    Turns,
    answered,
    as_messages,
    common_length,
    encoded,
    ended,
    is_chat,
    is_empty,
    written_out,
)
from creode.data.demonstrations import tensors
from creode.data.exclusions import Exclusions
from creode.data.opening import open_rows, source_name
from creode.data.packing import check_packing
from creode.data.principles import labelled
from creode.data.samples import Samples
from creode.data.tokenizer import as_tokenizer, padding_id

SIDES = ("chosen", "rejected")


def load_preferences(
    source: Any,
    *,
    tokenizer: Any,
    length: int = 1024,
    too_long: Literal["cut", "leave out"] = "cut",
    principle: str | None = None,
    split: str = "train",
    config: str | None = None,
    limit: int | None = None,
) -> Samples:
    """Pairs of a chosen and a rejected answer.

    Args:
        source: a table file, a data set of the hub or saved to disk, or rows, as `creode.data.load`
            takes; with the columns `chosen`, `rejected` and, where the answers do not hold it,
            `prompt`; `margin` is kept where there is one.
        tokenizer: as of `creode.data.load`; chats need one with a chat template.
        length: most tokens of a prompt with its answer.
        too_long: what becomes of longer ones: "cut" at their end, as DPO does, or "leave out", as
            reward models want, which read the last token. Both are told.
        principle: the column that names what each pair was made from; it becomes the domain.
        split, config, limit: which rows, as of `creode.data.load`.

    Returns:
        Columns `chosen_input_ids`, `chosen_attention_mask`, `chosen_labels` (−100 outside the
        answer) and the same of `rejected_`, (N, T); `row` (N,), the number of the row; `margin`
        (N,) where there is one. What was left out is in `excluded`, and warned of.

    Raises:
        ValueError: no such columns, chats without a template, no pair that can be used.
    """
    check_packing("pad", length, limit)
    if too_long not in ("cut", "leave out"):
        raise ValueError(f"too_long must be 'cut' or 'leave out', got {too_long!r}.")
    tokenizer = as_tokenizer(tokenizer)
    name, left_out = source_name(source, split), Exclusions()
    kept: list[tuple[Turns, Turns]] = []
    numbers: list[int] = []
    principles: list[str] = []
    margins: list[float | None] = []
    for number, row in open_rows(source, split, config, limit):
        whole = _pair(tokenizer, row, name, number, left_out)
        if whole is None:
            continue
        long = max(len(turns.ids) for turns in whole) > length
        if long and too_long == "leave out":
            left_out.leave_out(number, f"longer than {length} tokens")
            continue
        pair = (whole[0].headed(length), whole[1].headed(length))
        if np.array_equal(whole[0].ids, whole[1].ids):
            left_out.leave_out(number, "both answers are the same")
            continue
        if not all(turns.answered[1:].any() for turns in pair):
            left_out.leave_out(number, f"the prompt fills all {length} tokens")
            continue
        if np.array_equal(pair[0].ids, pair[1].ids):
            left_out.leave_out(number, f"both answers are the same in the first {length} tokens")
            continue
        if long:
            left_out.cut(number)
        if principle is not None and row.get(principle) is None:
            raise ValueError(f"{name}: row {number} names no principle in column {principle!r}.")
        kept.append(pair)
        numbers.append(number)
        principles.append(str(row.get(principle)) if principle else "")
        margins.append(row.get("margin"))
    left_out.tell(name, len(kept))
    columns: dict[str, Tensor] = {}
    longest = max(len(turns.ids) for pair in kept for turns in pair)
    for i, side in enumerate(SIDES):
        parts = tensors([pair[i] for pair in kept], padding_id(tokenizer), longest)
        for column, values in zip(("input_ids", "attention_mask", "labels"), parts, strict=True):
            columns[f"{side}_{column}"] = values
    columns["row"] = torch.tensor(numbers)
    given = [margin for margin in margins if margin is not None]
    if given:
        if len(given) < len(margins):
            raise ValueError(f"{name}: some rows have a margin and some have none; give all one.")
        columns["margin"] = torch.tensor(given, dtype=torch.get_default_dtype())
    return Samples(
        columns=columns,
        source=name,
        excluded=left_out.by_reason,
        **labelled(principles if principle else None),
    )


def swap_answers(samples: Samples, which: Tensor) -> Samples:
    """The pairs with chosen and rejected exchanged where `which` (N,) is True.

    Log-probabilities of a reference go with their answers, and a margin changes its sign.

    Raises:
        ValueError: the samples are no pairs, or which is of another shape.
    """
    columns = dict(samples.columns)
    chosen = [name for name in columns if name.startswith(("chosen_", "ref_chosen_"))]
    if not chosen:
        raise ValueError(
            f"{samples.source} has the columns {sorted(columns)}: no pairs, whose answers could be "
            "exchanged."
        )
    if which.shape != (len(samples),) or which.dtype != torch.bool:
        raise ValueError(
            f"which must be bool of shape ({len(samples)},), got {which.dtype} of shape "
            f"{tuple(which.shape)}."
        )
    for name in chosen:
        other = name.replace("chosen_", "rejected_")
        there = which.view(-1, *[1] * (columns[name].ndim - 1))
        first, second = columns[name], columns[other]
        columns[name] = torch.where(there, second, first)
        columns[other] = torch.where(there, first, second)
    if "margin" in columns:
        columns["margin"] = torch.where(which, -columns["margin"], columns["margin"])
    return Samples(
        columns=columns,
        source=f"{samples.source}, {int(which.sum())} pairs swapped",
        domain=samples.domain,
        domain_names=samples.domain_names,
    )


def _pair(
    tokenizer: Any, row: Mapping[str, Any], name: str, number: int, left_out: Exclusions
) -> tuple[Turns, Turns] | None:
    where = f"{name}, row {number}"
    if not set(SIDES) & set(row):
        raise ValueError(
            f"{where}: the columns are {sorted(row)}; preferences need 'chosen' and 'rejected', "
            "and 'prompt' unless both begin with it."
        )
    for side in SIDES:
        if row.get(side) is None:
            left_out.leave_out(number, f"no {side} answer")
            return None
        if is_empty(row[side]):
            left_out.leave_out(number, f"an empty {side} answer")
            return None
    if "prompt" not in row:
        return _headed_by_prompt(tokenizer, row["chosen"], row["rejected"], where)
    if row["prompt"] is None:
        left_out.leave_out(number, "no prompt")
        return None
    chosen, rejected = (answered(tokenizer, row["prompt"], row[side], where) for side in SIDES)
    # a token that reaches from the prompt into one answer is of both answers
    start = min(int(turns.answered.argmax()) for turns in (chosen, rejected))
    return _from(chosen.ids, start), _from(rejected.ids, start)


def _headed_by_prompt(
    tokenizer: Any, chosen: Any, rejected: Any, where: str
) -> tuple[Turns, Turns]:
    """A pair whose answers hold the prompt: what both begin with."""
    if is_chat(chosen) != is_chat(rejected):
        raise ValueError(f"{where}: one answer is text and the other a chat; give one form.")
    if is_chat(chosen):
        ids = [written_out(tokenizer, as_messages(said, where)) for said in (chosen, rejected)]
    else:
        ids = [ended(tokenizer, encoded(tokenizer, str(said))) for said in (chosen, rejected)]
    start = common_length(*ids)
    return _from(ids[0], start), _from(ids[1], start)


def _from(ids: Any, start: int) -> Turns:
    return Turns(ids, np.arange(len(ids)) >= start)
