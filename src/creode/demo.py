"""The demo: a small decoder trained on the embedded corpus, and what is read of it.

Here: its sizes and settings, full and quick.
Not here: training (training/), sampling and readings (study/), the command (cli/).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creode.data import load
from creode.tasks import NextToken
from creode.testbeds.decoder import Decoder, DecoderConfig
from creode.training import OnStep, TrainingConfig, train

DOMAINS = "corpus:code,docstrings,c,dialogue"
LENGTH = 64  # tokens of a sequence
CHECKPOINTS = (0, 60, 100, 150, 220, 330, 480, 700, 1000, 1250, 1500)  # training steps


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Full: eleven checkpoints and every head, MLP and embedding. Quick: a narrower decoder."""

    quick: bool = False
    seed: int = 0

    @property
    def decoder(self) -> DecoderConfig:
        """Two layers; bytes as tokens."""
        return DecoderConfig(
            vocab_size=257, d_model=16 if self.quick else 48, num_layers=2,
            num_heads=2 if self.quick else 4,
            context_length=LENGTH,
        )  # fmt: skip

    @property
    def training(self) -> TrainingConfig:
        """Long enough for structure beyond byte frequencies to form."""
        return TrainingConfig(
            steps=300 if self.quick else 1500, batch_size=32, learning_rate=3e-3,
            schedule="cosine", warmup_steps=20, seed=self.seed,
            checkpoints=(0, 100, 200, 300) if self.quick else CHECKPOINTS,
        )  # fmt: skip

    def study(self, models: Path) -> dict[str, Any]:
        """What is read: λ̂ along training, and of every head, MLP and embedding at the end."""
        return {
            "model": str(models),
            "checkpoints": "all",
            "data": {"source": DOMAINS, "length": LENGTH, "limit": 512},
            "components": ("full",),
            "final_components": ("heads",) if self.quick else ("heads", "mlps", "embed"),
            "sampler": {"name": "baoab", "step_size": 3e-3, "friction": 170.0},
            "nbeta": 300.0,
            "localization": 3e4,
            "schedule": {
                "chains": 4, "draws": 80, "burnin": 40, "steps_per_draw": 3, "batch_size": 16,
                "seed": self.seed,
            },
        }  # fmt: skip


def train_decoder(config: DemoConfig, out: Path, on_step: OnStep | None = None) -> Path:
    """Train the demo's decoder, or what is missing of its training; the directory it lies in."""
    samples = load(DOMAINS, tokenizer="bytes", length=LENGTH, limit=4096)
    model = Decoder(config.decoder, seed=config.seed)
    train(model, NextToken(), samples, config.training, out=out, on_step=on_step)
    return out
