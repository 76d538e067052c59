"""Weights on samples or tokens under transformers' Trainer.

    class Weighted(TrainerWeights, Trainer): ...

    Weighted(model=model, args=args, train_dataset=data, weights=made.weights).train()

The loss of a step is Σ ρ ℓ / Σ c over all its batches, as of `creode.training.train`: gradient
accumulation changes nothing, however the units that count are spread over the batches.

Here: the mix-in: which row a sample is, its weights in the loss, or in how often it is drawn.
Not here: the weights (weights.py, token_weights.py), the plain trainer (training/).
Of the Trainer it takes over: compute_loss and get_batch_samples in training, _get_train_sampler
where samples are drawn by weight; it adds a column to those that _set_signature_columns_if_needed
keeps.
Dimensions: B samples of a batch, N samples of the data, T tokens of a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from creode.data import Samples, as_samples
from creode.patterning.token_weights import TokenWeights
from creode.patterning.weights import SampleWeights
from creode.tasks import Losses, NextToken, Task, as_losses
from creode.training.loop import weighted_loss

ROW = "creode_row"  # the column that says which sample of the data a row of a batch is


class TrainerWeights:
    """A mix-in before `transformers.Trainer`, or a class made of it.

    Args of the constructor, besides the Trainer's own:
        weights: of `creode.pattern`, for the samples of `train_dataset` in their order.
        by: "loss" puts them into the loss; "sampling" draws samples with probability ρ/N, with
            replacement, and leaves the loss alone (weights on samples only).
        task: losses of a batch, as of `creode.training.train`; next-token prediction if not given.
        samples: what the weights were made for, if `train_dataset` holds it in another form, such
            as lists of several lengths; row i of one must be sample i of the other.

    Raises:
        ValueError: weights for other samples; a data set without positions; settings of the Trainer
            that would change the loss; weights on tokens or negative ones to be drawn by.
    """

    loss_is_scaled_for_ga = None  # the Trainer's own: set once the loss is ours

    def __init__(
        self,
        *args: Any,
        weights: SampleWeights | TokenWeights,
        by: Literal["loss", "sampling"] = "loss",
        task: Task | None = None,
        samples: Any = None,
        **options: Any,
    ) -> None:
        if by not in ("loss", "sampling"):
            raise ValueError(f"by must be 'loss' or 'sampling', got {by!r}.")
        if isinstance(options.get("train_dataset"), Samples):
            samples = options["train_dataset"] if samples is None else samples
            options["train_dataset"] = _Rows(options["train_dataset"])
        super().__init__(*args, **options)
        self._weights, self._by = weights, by
        self._task: Any = NextToken() if task is None else task
        self._units: Tensor | None = None  # Σ c of the step's batches
        self._check(samples)
        if by == "loss":
            self.loss_is_scaled_for_ga = True
            self._rho = weights.tensor()
            self.train_dataset: Any = _Numbered(self.train_dataset)
            self.data_collator: Any = _Collator(self.data_collator)

    def _check(self, samples: Any) -> None:
        """What would give another loss than the one asked for is refused."""
        trainer: Any = self
        data = trainer.train_dataset
        if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
            raise ValueError(
                f"weights need a data set with positions, and {type(data).__name__} is a stream; "
                "load it whole, or interleave domains by weights.probabilities()."
            )
        samples = as_samples(data if samples is None else samples)
        self._weights.check_data(samples)
        self._columns = list(samples.columns)
        if len(data) != len(self._weights):
            raise ValueError(
                f"train_dataset has {len(data)} rows and the weights are of {len(self._weights)} "
                "samples; row i must be sample i."
            )
        if self._by == "sampling":
            if isinstance(self._weights, TokenWeights):
                raise ValueError(
                    "tokens are not drawn one by one; use by='loss', or weigh samples."
                )
            self._weights.sampler()  # refuses negative weights
            return
        if not hasattr(super(), "loss_is_scaled_for_ga"):
            raise ImportError(
                "this version of transformers divides a loss by the accumulation steps whatever "
                "it was divided by before; install a later one."
            )
        if trainer.args.label_smoothing_factor or trainer.compute_loss_func is not None:
            raise ValueError(
                "label_smoothing_factor and compute_loss_func are another loss than the weighted "
                "one of the task; leave them out, or give that loss as task."
            )

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], *args: Any, **options: Any
    ) -> Any:
        """Σ ρ ℓ over the batch / Σ c over those of the step; evaluation is the Trainer's own."""
        if ROW not in inputs:
            return super().compute_loss(model, inputs, *args, **options)  # type: ignore[misc]
        if options.get("return_outputs") or (args and args[0]):
            raise ValueError("the weighted loss of training comes without outputs.")
        batch = {name: column for name, column in inputs.items() if name != ROW}
        losses = as_losses(self._task(model, batch))
        if self._units is not None and not hasattr(self._task, "mask") and not _one_each(losses):
            raise ValueError(
                f"{type(self._task).__name__} does not say which units of a batch count before the "
                "model is asked, so the batches of a step cannot be added up; give it a method "
                "mask(batch), or set gradient_accumulation_steps to 1."
            )
        rho = _fitted(self._rho[inputs[ROW].cpu()], losses.values.shape)
        processes: int = self.accelerator.num_processes  # type: ignore[attr-defined]
        return processes * weighted_loss(losses, rho.to(losses.values.device), self._units)

    def get_batch_samples(self, *args: Any, **options: Any) -> Any:
        """The Trainer's own; the units that count in the batches of the step are added up."""
        batches, items = super().get_batch_samples(*args, **options)  # type: ignore[misc]
        if batches and ROW in batches[0]:
            accelerator = self.accelerator  # type: ignore[attr-defined]
            known = hasattr(self._task, "mask")
            own = sum(
                self._task.mask(_without_row(batch)).sum()
                if known
                else torch.ones_like(batch[ROW]).sum()
                for batch in batches
            )
            alone = len(batches) == 1 and accelerator.num_processes == 1
            self._units = None if alone and not known else accelerator.gather(own).sum()
        return batches, items

    def _get_train_sampler(self, *args: Any, **options: Any) -> Any:
        if self._by == "sampling":
            assert isinstance(self._weights, SampleWeights)
            return self._weights.sampler(seed=self.args.seed)  # type: ignore[attr-defined]
        return super()._get_train_sampler(*args, **options)  # type: ignore[misc]

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        kept = [*self._columns, ROW]  # the task may read what the model is not shown
        if ROW not in self._signature_columns:
            self._signature_columns: list[str] = [*self._signature_columns, *kept]


class _Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """`Samples` as the Trainer takes them: a mapping a sample."""

    def __init__(self, samples: Samples) -> None:
        self.columns = dict(samples.columns)
        self._length = len(samples)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {name: column[row] for name, column in self.columns.items()}


class _Numbered(torch.utils.data.Dataset[dict[str, Any]]):
    """A data set whose items know which they are."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {**self.data[row], ROW: row}


class _Collator:
    """A collator that is not shown which row an item is, and puts it back."""

    def __init__(self, inner: Callable[[list[Any]], Any]) -> None:
        self.inner = inner

    def __call__(self, items: list[Any]) -> Any:
        if not isinstance(items[0], Mapping) or ROW not in items[0]:
            return self.inner(items)
        batch = self.inner([_without_row(item) for item in items])
        batch[ROW] = torch.tensor([item[ROW] for item in items])
        return batch


def _one_each(losses: Losses) -> bool:
    return losses.mask.ndim == 1 and bool(losses.mask.all())


def _without_row(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: column for name, column in columns.items() if name != ROW}


def _fitted(rho: Tensor, shape: torch.Size) -> Tensor:
    """Weights on tokens (B, T) for a batch that is padded to another length; others as they are."""
    if rho.ndim == 1 or len(shape) != 2 or rho.shape[1] == shape[1]:
        return rho
    if rho.shape[1] < shape[1]:
        return nn.functional.pad(rho, (0, shape[1] - rho.shape[1]), value=float("nan"))
    lost = ~rho[:, shape[1] :].isnan()
    if lost.any():
        raise ValueError(
            f"a batch has {shape[1]} tokens a sample and {int(lost.sum())} weights are of tokens "
            "beyond; do not cut the samples that the weights were made for."
        )
    return rho[:, : shape[1]]
