"""Next-token prediction: cross-entropy of every token given the ones before it.

Here: the loss of causal language models per token, padding on either side, labels that are ignored.
Not here: the model's call (forward.py), checks before sampling that hold for any task (checks.py),
tokenising and packing (data/).
Dimensions: B samples of a batch, T tokens of a sample, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from creode.tasks.checks import untouched
from creode.tasks.cross_entropy import cross_entropy
from creode.tasks.forward import accepted_by, predict
from creode.tasks.losses import Batch, Losses

if TYPE_CHECKING:
    from creode.data import Samples


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """ℓ_t = −log p(x_{t+1} | x_1 … x_t), nats, at the position t that predicts.

    The losses have the shape (B, T) of the tokens: the last position predicts nothing and is
    masked, which spares a copy of the logits. Columns: `input_ids` (B, T); optionally `labels`
    (B, T), aligned with the tokens and shifted here, `ignore_index` where a token is no target;
    optionally `attention_mask` (B, T), 0 at padding; any further one that the forward names.

    A sample is its tokens with attention 1, in order: padding is moved behind them before the model
    is called and the losses are moved back. A causal model cannot look at what comes later, so it
    needs no mask, and left padding, right padding and none give the same losses.
    """

    ignore_index: int = -100

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The losses (B, T) of the batch, and which of them count."""
        if "attention_mask" not in batch:
            return self._losses(model, batch)
        rank = _rank(batch["attention_mask"] != 0)
        values, mask = self._losses(model, self._compact(batch, rank))
        return Losses(values.gather(1, rank), mask.gather(1, rank))

    def mask(self, batch: Batch) -> Tensor:
        """Which losses of the batch count, (B, T); no model is asked."""
        if "attention_mask" not in batch:
            return self._targets(batch) != self.ignore_index
        rank = _rank(batch["attention_mask"] != 0)
        return (self._targets(self._compact(batch, rank)) != self.ignore_index).gather(1, rank)

    def _targets(self, batch: Batch) -> Tensor:
        labels = batch.get("labels", batch["input_ids"])
        return F.pad(labels[:, 1:].long(), (0, 1), value=self.ignore_index)

    def _losses(self, model: nn.Module, batch: Batch) -> Losses:
        ids, targets = batch["input_ids"], self._targets(batch)
        logits = self.logits(model, batch)
        values = cross_entropy(logits.flatten(0, 1), targets.flatten(), self.ignore_index)
        return Losses(values.reshape(ids.shape), targets != self.ignore_index)

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """The model's logits for samples without padding between or before tokens, (B, T, V).

        Raises:
            ValueError: they have another shape.
        """
        ids = batch["input_ids"]
        logits = predict(model, "input_ids", _shown(model, batch))
        if logits.ndim != 3 or logits.shape[:2] != ids.shape:
            raise ValueError(
                f"the model returned logits of shape {tuple(logits.shape)} for tokens of shape "
                f"{tuple(ids.shape)}; NextToken needs (batch, token, vocabulary)."
            )
        return logits

    def _compact(self, batch: Batch, rank: Tensor) -> dict[str, Tensor]:
        """The batch with padding behind the tokens: token 0, which nobody sees or predicts."""
        real = batch["attention_mask"] != 0
        shape = batch["input_ids"].shape
        columns = {"labels": batch["input_ids"]} | dict(batch)
        fill = {"labels": self.ignore_index}
        return {
            name: torch.zeros_like(column).scatter(
                1, rank, column.masked_fill(~real, fill.get(name, 0))
            )
            if column.shape == shape
            else column
            for name, column in columns.items()
            if name != "attention_mask"
        }

    def validate(self, model: nn.Module, samples: Samples) -> None:
        """Check, once before sampling, that every sample can be scored by this model.

        Raises:
            ValueError: a column missing or of another shape; a sample of fewer than two tokens; an
                id or a label outside the vocabulary; nothing to predict at all; or a model whose
                logits at a token change with the tokens after it.
        """
        columns = samples.columns
        real = _real_tokens(columns)
        ids = columns["input_ids"]
        labels = columns.get("labels", ids)
        wanted = real & (labels != self.ignore_index)
        rank = _rank(real)
        if not torch.zeros_like(wanted).scatter(1, rank, wanted)[:, 1:].any():
            raise ValueError(
                f"no token counts: every label is {self.ignore_index} or has no token before it. "
                "Give labels with at least one target after the first token."
            )
        size = _vocabulary(model)
        if size is not None:
            _check_range("input_ids", ids, real, size)
            _check_range("labels", labels, wanted, size)
        with untouched(model) as place:
            first = place(samples.batch(torch.tensor([0])))
            if "attention_mask" in first:
                first = self._compact(first, _rank(first["attention_mask"] != 0))
            _check_causal(model, first)


def _shown(model: nn.Module, batch: Batch) -> Batch:
    """What the model sees. Padding is behind the tokens by now, so no token is masked.

    Some Hugging Face models search the tokens for padding, in data-dependent control flow, unless
    they get a mask: those with a padding token get one of ones.
    """
    if getattr(getattr(model, "config", None), "pad_token_id", None) is None:
        return batch
    if "attention_mask" not in accepted_by(model).names:
        return batch
    ids = batch["input_ids"]
    return {**batch, "attention_mask": torch.ones(ids.shape, dtype=torch.long, device=ids.device)}


def _rank(real: Tensor) -> Tensor:
    """Where each position goes when the real tokens come first, each kind in its order; (B, T)."""
    padding = ~real
    return torch.where(real, real.cumsum(1), padding.cumsum(1) + real.sum(1, keepdim=True)) - 1


def _real_tokens(columns: Mapping[str, Tensor]) -> Tensor:
    """Which positions hold a token (N, T), once the columns are known to fit together."""
    if "input_ids" not in columns:
        raise ValueError(
            f"NextToken needs a column 'input_ids'; the samples have {sorted(columns)}. "
            "Read text with creode.data.load, or rename the column that holds the tokens."
        )
    ids = columns["input_ids"]
    for name in ("input_ids", "labels", "attention_mask"):
        column = columns.get(name, ids)
        if column.ndim != 2 or column.shape != ids.shape:
            raise ValueError(
                f"column {name!r} has shape {tuple(column.shape)}; "
                f"(samples, tokens) is needed, here {tuple(ids.shape[:2])}."
            )
        if name != "attention_mask" and (column.is_floating_point() or column.dtype == torch.bool):
            raise ValueError(f"column {name!r} has dtype {column.dtype}; give integer token ids.")
    mask = columns.get("attention_mask", torch.ones_like(ids))
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError(
            "column 'attention_mask' holds values other than 0 (padding) and 1 (token); "
            "give the mask of the tokeniser, not one to be added to the logits."
        )
    real = mask != 0
    length = real.sum(1)
    if (length < 2).any():
        row = int((length < 2).nonzero()[0])
        raise ValueError(
            f"sample {row} has {int(length[row])} token(s); predicting the next one needs at least "
            "2. Leave such samples out."
        )
    return real


def _vocabulary(model: nn.Module) -> int | None:
    """How many token ids the model knows, or None where it does not say."""
    get: Any = getattr(model, "get_input_embeddings", None)
    try:
        table = get() if callable(get) else None
    except NotImplementedError:
        table = None
    rows = getattr(table, "weight", None)
    if isinstance(rows, Tensor):
        return rows.shape[0]
    for config, field in (("config", "vocab_size"), ("cfg", "d_vocab")):
        size = getattr(getattr(model, config, None), field, None)
        if isinstance(size, int):
            return size
    tables = [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)]
    return max(tables, default=None)


def _check_range(name: str, ids: Tensor, counted: Tensor, size: int) -> None:
    wrong = (((ids < 0) | (ids >= size)) & counted).nonzero()
    if len(wrong):
        row, position = wrong[0].tolist()
        raise ValueError(
            f"column {name!r} holds the id {int(ids[row, position])} (sample {row}, token "
            f"{position}), and the model's vocabulary is 0..{size - 1}. "
            "Use the tokenizer the model was trained with."
        )


def _check_causal(model: nn.Module, batch: Batch) -> None:
    """Refuse a model whose logits before the last token depend on the last token."""
    shown = _shown(model, batch)
    ids = batch["input_ids"]
    before, again = (predict(model, "input_ids", shown) for _ in range(2))
    if not torch.equal(before, again):
        return  # the loss is not a function of the weights: the checks for any task say so
    changed = ids.clone()
    changed[:, -1] = torch.where(ids[:, -1] == 0, 1, 0)
    after = predict(model, "input_ids", {**shown, "input_ids": changed})
    gap = (before - after)[:, :-1].abs().max()
    if gap > 1e-3 * before.abs().max():
        raise ValueError(
            f"{type(model).__name__} is not causal: its logits change (by {float(gap):.3g}) with "
            "the tokens that come after, so a next-token loss says nothing. Give a causal "
            "(decoder) model, or write the task as a callable (model, batch) -> losses."
        )
