"""A decoder trained on a made-up language, and that language's sequences, in a directory.

The language has rules for several parts to learn: every token has a few likely successors, drawn
from a seed, and half of the sequences repeat their first half.

Here: making it where it is missing.
Not here: anything that reads it (contenders/).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from report import note
from torch import Tensor

from creode.tasks import NextToken
from creode.testbeds.decoder import Decoder, DecoderConfig

SUCCESSORS = 4
BATCH_SIZE, LEARNING_RATE = 32, 3e-3


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What is made, and where its parts lie."""

    folder: Path
    shape: Mapping[str, Any]  # of the decoder
    num_data: int  # sequences that losses and gradients are of
    num_probe: int  # further sequences that are scored
    steps: int  # of Adam, each on new sequences

    @property
    def model(self) -> Path:
        """Config and weights."""
        return self.folder / "model"

    @property
    def tokens(self) -> Path:
        """The sequences, (n, T): columns `data` and `probe`."""
        return self.folder / "tokens.safetensors"

    def make(self) -> None:
        """Make what is not there yet; a directory of another recipe is made anew."""
        from safetensors.torch import save_file

        recipe = {
            "shape": dict(self.shape), "num_data": self.num_data, "num_probe": self.num_probe,
            "steps": self.steps,
        }  # fmt: skip
        made = self.folder / "made.json"
        if made.exists() and json.loads(made.read_text()) == recipe:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        generator = torch.Generator().manual_seed(0)
        vocabulary = self.shape["vocab_size"]
        table = torch.randint(vocabulary, (vocabulary, SUCCESSORS), generator=generator)
        self._train(table, generator)
        held = {
            name: self._sequences(table, count, generator)
            for name, count in (("data", self.num_data), ("probe", self.num_probe))
        }
        save_file(held, self.tokens)
        made.write_text(json.dumps(recipe))

    def _sequences(self, table: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Walks over the table, half of the sequences with their first half again; (count, T)."""
        length, vocabulary = self.shape["context_length"], len(table)
        tokens = torch.randint(vocabulary, (count, 1), generator=generator)
        while tokens.shape[1] < length:
            choice = torch.randint(SUCCESSORS, (count,), generator=generator)
            tokens = torch.cat([tokens, table[tokens[:, -1], choice][:, None]], 1)
        half = length // 2
        tokens[::2, half : 2 * half] = tokens[::2, :half]
        return tokens

    def _train(self, table: Tensor, generator: torch.Generator) -> None:
        model = Decoder(DecoderConfig(**self.shape), seed=0)
        optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, self.steps)
        loss = torch.tensor(float("nan"))
        for step in range(self.steps):
            batch = {"input_ids": self._sequences(table, BATCH_SIZE, generator)}
            losses = NextToken()(model, batch)
            loss = losses.values.sum() / losses.mask.sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            if (step + 1) % 50 == 0:
                note(f"  trained {step + 1} of {self.steps} steps, loss {loss.item():.2f}")
        model.save(self.model)
