"""Demonstrations: prompts with the answers a model is to give, as supervised fine-tuning takes.

Rows hold `messages` (or `conversations`), or `prompt` and `completion`, each text or turns of a
chat. The labels are the answers' tokens; a row that shows nothing is left out and told.

Here: rows to samples.
Not here: the tokens of one row (conversation.py), the loss (tasks/demonstrations.py).
Dimensions: N samples, T tokens of the longest, at most `length`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch

from creode.data.conversation import Turns, answered, chat, is_chat, is_empty
from creode.data.exclusions import Exclusions
from creode.data.opening import open_rows, source_name
from creode.data.packing import check_packing, stacked, stacked_with_mask
from creode.data.principles import labelled
from creode.data.samples import Samples
from creode.data.tokenizer import as_tokenizer, padding_id

IGNORED = -100  # label of a token that is no target
CHATS = ("messages", "conversations")


def load_demonstrations(
    source: Any,
    *,
    tokenizer: Any,
    length: int = 1024,
    packing: Literal["pad", "pack"] = "pad",
    principle: str | None = None,
    split: str = "train",
    config: str | None = None,
    limit: int | None = None,
) -> Samples:
    """Samples whose targets are the answers' tokens.

    Args:
        source: a table file, a data set of the hub or saved to disk, or rows, as `creode.data.load`
            takes; with the columns `messages` or `conversations`, or `prompt` and `completion`.
        tokenizer: as of `creode.data.load`; chats need one with a chat template.
        length: most tokens of a sample; what is longer is cut at its end, and told.
        packing: "pad", a row a sample; "pack" lays rows end to end and cuts the stream into samples
            of `length`, so that a row sees the ones before it in its sample.
        principle: the column that names what each row was made from; it becomes the domain.
        split, config, limit: which rows, as of `creode.data.load`.

    Returns:
        Columns `input_ids`, `labels` (−100 where nothing is asked), (N, T); padded also
        `attention_mask` (N, T), and `row` (N,), the number of the row. What was left out is in
        `excluded`, and warned of.

    Raises:
        ValueError: no such columns, chats without a template, no row that can be used.
    """
    check_packing(packing, length, limit)
    if packing == "pack" and principle is not None:
        raise ValueError("packed samples hold rows of several principles; use packing='pad'.")
    tokenizer = as_tokenizer(tokenizer)
    name, left_out = source_name(source, split), Exclusions()
    kept: list[Turns] = []
    numbers: list[int] = []
    principles: list[str] = []
    for number, row in open_rows(source, split, config, limit):
        turns = _turns(tokenizer, row, name, number, left_out)
        if turns is None:
            continue
        short = turns if packing == "pack" else turns.headed(length)
        if not short.answered[1:].any():
            left_out.leave_out(number, f"the prompt fills all {length} tokens")
            continue
        if len(short.ids) < len(turns.ids):
            left_out.cut(number)
        kept.append(short)
        numbers.append(number)
        principles.append(str(row.get(principle)) if principle else "")
        if principle is not None and row.get(principle) is None:
            raise ValueError(f"{name}: row {number} names no principle in column {principle!r}.")
    left_out.tell(name, len(kept))
    if packing == "pack":
        return _packed(kept, length, name, left_out)
    ids, mask, labels = tensors(kept, padding_id(tokenizer))
    columns = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return Samples(
        columns=columns | {"row": torch.tensor(numbers)},
        source=name,
        excluded=left_out.by_reason,
        **labelled(principles if principle else None),
    )


def _turns(
    tokenizer: Any, row: Mapping[str, Any], name: str, number: int, left_out: Exclusions
) -> Turns | None:
    where = f"{name}, row {number}"
    column = next((c for c in CHATS if c in row), None)
    if column is not None:
        said = row[column]
        if said is None or not is_chat(said) or not len(said):
            left_out.leave_out(number, f"no chat in {column!r}")
            return None
        if is_empty(said):
            left_out.leave_out(number, "the last turn is empty")
            return None
        turns = chat(tokenizer, said, where)
        if not turns.answered.any():
            left_out.leave_out(number, "the assistant says nothing")
            return None
        return turns
    if not {"prompt", "completion"} <= set(row):
        raise ValueError(
            f"{where}: the columns are {sorted(row)}; demonstrations need 'messages', or 'prompt' "
            "and 'completion'. Rename them, or read plain text with creode.data.load."
        )
    if row["prompt"] is None:
        left_out.leave_out(number, "no prompt")
        return None
    if is_empty(row["completion"]):
        left_out.leave_out(number, "an empty answer")
        return None
    return answered(tokenizer, row["prompt"], row["completion"], where)


def _packed(kept: list[Turns], length: int, name: str, left_out: Exclusions) -> Samples:
    """The rows end to end, cut into samples; the last tokens, too few for one, are dropped."""
    ids = np.concatenate([turns.ids for turns in kept])
    mask = np.concatenate([turns.answered for turns in kept])
    full = len(ids) - len(ids) % length
    if not full:
        raise ValueError(
            f"{name}: {len(kept)} rows have {len(ids)} tokens, not enough for one sample of "
            f"{length}; use a smaller length, or packing='pad'."
        )
    rows = ids[:full].reshape(-1, length)
    columns = {
        "input_ids": stacked(iter(rows), length, None),
        "labels": torch.from_numpy(np.where(mask[:full].reshape(-1, length), rows, IGNORED)),
    }
    samples = Samples(columns=columns, source=name, excluded=left_out.by_reason)
    asked = (samples.columns["labels"][:, 1:] != IGNORED).any(1)
    return samples.select(asked.nonzero().flatten()) if not asked.all() else samples


def tensors(
    kept: list[Turns], fill: int, width: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, where a token is, and labels of the answers, padded on the right; (N, T) each."""
    longest = width or max(len(turns.ids) for turns in kept)
    ids, mask = stacked_with_mask((turns.ids for turns in kept), longest, None, fill)
    labels = torch.full_like(ids, IGNORED)
    for i, turns in enumerate(kept):
        labels[i, : len(turns.ids)] = torch.from_numpy(np.where(turns.answered, turns.ids, IGNORED))
    return ids, mask, labels
