"""The decoder that benchmarks of language read: two layers, bytes, four domains of the corpus.

Here: its size and training, and training it where it is missing.
Not here: what is read of it (decoder.py, mixtures.py); the demo's own decoder (creode.demo).
"""

from __future__ import annotations

from pathlib import Path

from creode.data import load
from creode.tasks import NextToken
from creode.testbeds.decoder import Decoder, DecoderConfig
from creode.training import TrainingConfig, train

NAMES = ("code", "docstrings", "c", "dialogue")
DOMAINS = f"corpus:{','.join(NAMES)}"
LENGTH = 64  # tokens of a sequence
POOL = 4096  # sequences
SEED = 0
DECODER = DecoderConfig(
    vocab_size=257, d_model=48, num_layers=2, num_heads=4, context_length=LENGTH
)
TRAINING = TrainingConfig(
    steps=1500, batch_size=32, learning_rate=3e-3, schedule="cosine", warmup_steps=20, seed=SEED,
    checkpoints=(0, 60, 100, 150, 220, 330, 480, 700, 1000, 1250, 1500),
)  # fmt: skip


def train_decoder(out: Path) -> Path:
    """Train it, or what is missing of its training; the directory it lies in."""
    samples = load(DOMAINS, tokenizer="bytes", length=LENGTH, limit=POOL)
    train(Decoder(DECODER, seed=SEED), NextToken(), samples, TRAINING, out=out)
    return out
