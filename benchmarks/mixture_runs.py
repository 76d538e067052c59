"""Decoders retrained under other mixtures of their domains, each kept when it is done.

A mixture reweights the pool that the decoder was trained on: a domain with share s in the
mixture and b in the pool has weight s/b in the loss, so batches are the same under every mixture
and only weights differ. What was measured of a run is a JSON file named by what it depends on.

Here: the pool, held-out sets, mixtures, one run, the loop over runs.
Not here: predictions and their score (mixtures.py), the trainer (creode.training).
Dimensions: M mixtures, G domains, N samples of the pool.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from corpus_decoder import DECODER, DOMAINS, LENGTH, NAMES, POOL, SEED, TRAINING
from numpy.typing import NDArray
from report import note
from torch import Tensor, nn

from creode.data import Samples, load, load_corpus
from creode.fingerprint import model_fingerprint
from creode.sampling.block import unit_losses
from creode.tasks import NextToken
from creode.testbeds.decoder import Decoder, DecoderConfig
from creode.training import TrainingConfig, train

Array = NDArray[np.float64]

BASE = np.full(len(NAMES), 1 / len(NAMES))  # shares of the pool
HELD_OUT = 512  # samples of a domain from the split "test"
WAYS = ("scratch", "further")
FURTHER = 0.2  # of the steps from scratch, at a third of their learning rate


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A decoder w*, the pool it learned from, and samples of each domain it never saw."""

    decoder: DecoderConfig
    training: TrainingConfig
    anchor: nn.Module
    pool: Samples
    held_out: Mapping[str, Samples]

    @classmethod
    def at(cls, work: Path, *, steps: int, batch_size: int) -> Setting:
        """Of `corpus_decoder` but for these two; what is in `work` is not done again."""
        training = replace(TRAINING, steps=steps, batch_size=batch_size, checkpoints=2)
        pool = load(DOMAINS, tokenizer="bytes", length=LENGTH, limit=POOL)
        place = work / f"decoder-{steps}-{batch_size}"
        start = Decoder(DECODER, seed=SEED)
        return cls(
            decoder=DECODER,
            training=training,
            anchor=train(start, NextToken(), pool, training, out=place).model,
            pool=pool,
            held_out={
                name: load_corpus(
                    name, tokenizer="bytes", length=LENGTH, size=HELD_OUT, split="test"
                )
                for name in NAMES
            },
        )

    @property
    def further(self) -> TrainingConfig:
        """Of training that goes on from w*."""
        return replace(
            self.training, steps=round(FURTHER * self.training.steps), checkpoints=2,
            learning_rate=self.training.learning_rate / 3,
        )  # fmt: skip

    def weights(self, shares: Array) -> Tensor:
        """ρ (N,) that give the pool's domains these shares."""
        assert self.pool.domain is not None
        assert self.pool.domain_names == NAMES
        count = torch.bincount(self.pool.domain, minlength=len(NAMES))
        return (torch.from_numpy(shares) * len(self.pool) / count)[self.pool.domain]

    def losses(self, model: nn.Module) -> list[float]:
        """Mean loss of each domain's held-out samples (G,), nats per token."""
        found = [unit_losses(model, NextToken(), one, 256) for one in self.held_out.values()]
        return [float(one.total.double().sum() / one.count.sum()) for one in found]


def mixtures(count: int, seed: int, concentration: float = 1.0) -> Array:
    """Shares (M, G) drawn from a Dirichlet distribution."""
    return np.random.default_rng(seed).dirichlet(np.full(len(NAMES), concentration), count)


def toward(shares: Array, h: float) -> Array:
    """Shares when the data move by h from the pool's."""
    return (1 - h) * BASE + h * shares


def retrained(setting: Setting, shares: Array, way: str, seed: int) -> list[float]:
    """Held-out losses (G,) after training under these shares.

    Args:
        way: "scratch": the decoder's training, of a model drawn from `seed`; "further": from w*.
        seed: of the batch order, too.
    """
    start = Decoder(setting.decoder, seed=seed) if way == "scratch" else setting.anchor
    training = replace(setting.training if way == "scratch" else setting.further, seed=seed)
    weights = setting.weights(shares)
    model = train(start, NextToken(), setting.pool, training, weights=weights).model
    return setting.losses(model)


def changes(setting: Setting, shares: Array, way: str, seeds: Sequence[int], kept: Path) -> Array:
    """Held-out losses under each mixture less those under the pool's, (seed, M, G).

    Runs that `kept` holds are read; of the others one is done after the other, seed by seed.
    """
    kept.mkdir(parents=True, exist_ok=True)
    found = []
    for seed in seeds:
        rows = [_known(setting, one, way, seed, kept) for one in (BASE, *shares)]
        found.append(np.array(rows[1:]) - np.array(rows[0]))
    return np.array(found)


def _known(setting: Setting, shares: Array, way: str, seed: int, kept: Path) -> list[float]:
    about = {
        "way": way,
        "seed": seed,
        "shares": shares.tolist(),
        "training": asdict(setting.training if way == "scratch" else setting.further),
        "decoder": asdict(setting.decoder),
        "data": [setting.pool.fingerprint(), *(s.fingerprint() for s in setting.held_out.values())],
        "anchor": None if way == "scratch" else model_fingerprint(setting.anchor),
    }
    text = json.dumps(about, sort_keys=True)
    path = kept / f"{way}-{seed}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    if path.exists():
        known: list[float] = json.loads(path.read_text())["losses"]
        return known
    losses = retrained(setting, shares, way, seed)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(json.loads(text) | {"losses": losses}))
    partial.replace(path)
    note(f"{path.stem}, {np.round(shares, 3)}: {' '.join(f'{loss:.3f}' for loss in losses)}")
    return losses
