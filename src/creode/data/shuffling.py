"""Targets permuted: data whose inputs say nothing of what is asked for, as a control.

Inputs stay, and so does how often each target occurs; what relates the two goes. Whatever is read
of such data is not of what a model could have learned from them.

Here: targets of tokens, of samples, and answers of pairs, permuted.
Not here: what a target is to a loss (tasks/), what is made of the control (response/baseline.py).
Dimensions: N samples, T tokens of each.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from creode.data.demonstrations import IGNORED
from creode.data.preferences import swap_answers
from creode.data.samples import Samples

TARGETS = ("labels", "targets")  # columns that hold targets, by the tasks


def shuffle_targets(samples: Samples, seed: int = 0) -> Samples:
    """The samples with their targets permuted among all that count.

    Targets are the column `labels` or `targets`: one a sample, permuted over samples, or one a
    token (N, T), those that count permuted over all samples. Tokens without labels are their own
    targets, but for the first of each sample. Of pairs of answers each has its chosen and rejected
    exchanged with probability ½. Domains stay with the inputs.

    Raises:
        ValueError: the samples hold no targets that are known.
    """
    generator = torch.Generator().manual_seed(seed)
    columns = dict(samples.columns)
    if any(name.startswith("chosen_") for name in columns):
        coins = torch.rand(len(samples), generator=generator) < 0.5
        return swap_answers(samples, coins)
    name = next((name for name in TARGETS if name in columns), None)
    if name is None and "input_ids" not in columns:
        raise ValueError(
            f"{samples.source} has the columns {sorted(columns)}: no 'labels', 'targets' or "
            "'input_ids', so no targets to permute."
        )
    ids = columns.get("input_ids")
    per_token = ids is not None and (name is None or columns[name].shape == ids.shape)
    if per_token:
        assert ids is not None
        columns["labels"] = _of_tokens(columns, ids, generator)
    else:
        assert name is not None
        columns[name] = columns[name][torch.randperm(len(samples), generator=generator)]
    return replace(samples, columns=columns, source=f"{samples.source}, targets permuted")


def _of_tokens(columns: dict[str, Tensor], ids: Tensor, generator: torch.Generator) -> Tensor:
    """Labels (N, T) with those that a token before them predicts permuted among themselves."""
    real = columns.get("attention_mask", torch.ones_like(ids)) != 0
    labels = columns.get("labels", ids.masked_fill(~real, IGNORED)).clone()
    counted = real & (real.cumsum(1) > 1) & (labels != IGNORED)
    found = labels[counted]
    labels[counted] = found[torch.randperm(len(found), generator=generator)]
    return labels
