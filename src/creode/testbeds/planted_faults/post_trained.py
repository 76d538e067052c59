"""Networks post-trained on the rows of a planted fault, and how much of it they show.

Here: pre-training, once a seed; post-training; the fault's measure.
Not here: the rows (rows.py, fault.py), the network (testbeds/decoder.py).
Dimensions: N rows, B pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache as remembered
from pathlib import Path

import torch
from torch import Tensor, nn

from creode.data import Samples, load
from creode.scalar_head import ScalarHead
from creode.tasks import DPO, SFT, NextToken, RewardModel, Task, with_reference
from creode.tasks.pairs import answer_log_probs, as_one_batch
from creode.testbeds.decoder import Decoder, DecoderConfig
from creode.testbeds.planted_faults.assistant import Row, World, tokenizer, words
from creode.testbeds.planted_faults.fault import DOCUMENTS, LENGTH, Method, PlantedFault
from creode.training import TrainingConfig, train

NETWORK = DecoderConfig(
    vocab_size=len(words()), d_model=32, num_layers=2, num_heads=4, context_length=LENGTH
)
TASKS: dict[Method, Task] = {"sft": SFT(), "reward": RewardModel(), "dpo": DPO(beta=0.1)}
LEARNING_RATES: dict[Method, float] = {"sft": 3e-3, "reward": 3e-3, "dpo": 1e-3}


def _pretraining() -> TrainingConfig:
    """Made when it is used: a training checks itself with torch's optimisers, slow to import."""
    return TrainingConfig(
        steps=800, batch_size=64, learning_rate=1e-2, schedule="cosine", warmup_steps=50,
        optimizer_options={"weight_decay": 0.0},
    )  # fmt: skip


def _post_training(method: Method, seed: int) -> TrainingConfig:
    return TrainingConfig(
        steps=500, batch_size=32, learning_rate=LEARNING_RATES[method], schedule="cosine",
        warmup_steps=20, optimizer_options={"weight_decay": 0.0}, seed=seed,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class PostTrained:
    """A model post-trained on the rows of a fault, with all that a local posterior needs."""

    fault: PlantedFault
    reference: Decoder  # the pre-trained model it began from
    model: nn.Module
    task: Task
    data: Samples  # of the rows, in their order; DPO's with the reference
    losses: Tensor  # (steps,) of training, nats a unit of the task

    def margins(self, rows: list[Row]) -> Tensor:
        """How much the model prefers the wanted answer of each row, (rows,), nats.

        The difference of log-probabilities of whole answers, or of rewards.
        """
        with torch.no_grad():
            return margins(self.model, self.fault.probe(rows).columns)

    def unwanted(self, rows: list[Row]) -> float:
        """The share of rows whose unwanted answer the model prefers."""
        return float((self.margins(rows) < 0).double().mean())


def margins(model: nn.Module, pairs: Mapping[str, Tensor]) -> Tensor:
    """Log-probability or reward of chosen less rejected answers, (B,), nats; differentiable."""
    if isinstance(model, ScalarHead):
        wanted, unwanted = RewardModel().rewards(model, as_one_batch(pairs)).chunk(2)
    else:
        wanted, unwanted = answer_log_probs(model, pairs)
    return wanted - unwanted


def pretrained(seed: int, *, cache: str | Path | None = None) -> Decoder:
    """The decoder that all kinds of a seed are post-trained from.

    Args:
        seed: of the facts, the documents and the weights.
        cache: a directory that keeps pre-trained decoders; without, each process trains its own.
    """
    if cache is None:
        return _pretrained(seed)
    folder = Path(cache) / f"assistant-{seed}"
    if not (folder / "config.json").is_file():
        _pretrained(seed).save(folder)
    return Decoder.load(folder)


def post_trained(
    fault: PlantedFault,
    *,
    weights: Tensor | None = None,
    cache: str | Path | None = None,
    seed: int = 0,
) -> PostTrained:
    """Train on the rows, all weights, from the pre-trained decoder, to a rate of zero.

    Args:
        fault: the data.
        weights: ρ (N,) on the rows, as of `creode.training.train`.
        cache: as of `pretrained`.
        seed: of the order of batches, and of a reward model's head.
    """
    reference = pretrained(fault.seed, cache=cache)
    data, task = fault.samples(), TASKS[fault.method]
    model: nn.Module = reference
    if fault.method == "reward":
        model = ScalarHead.of(reference, seed=seed)
    if fault.method == "dpo":
        data = with_reference(data, reference)
    config = _post_training(fault.method, seed)
    result = train(model, task, data, config, weights=weights)
    return PostTrained(
        fault=fault,
        reference=reference,
        model=result.model,
        task=task,
        data=data,
        losses=result.losses,
    )


@remembered
def _pretrained(seed: int) -> Decoder:
    documents = World.of(seed).pretraining(seed, DOCUMENTS)
    data = load(documents, tokenizer=tokenizer(), length=LENGTH, packing="pad")
    start = Decoder(NETWORK, seed=seed)
    model = train(start, NextToken(), data, _pretraining()).model
    assert isinstance(model, Decoder)
    return model
