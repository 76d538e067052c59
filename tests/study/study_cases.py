"""A tiny trained decoder and a study of it, for the tests of study and command line."""

import shutil

from creode.data import load
from creode.development import list_checkpoints
from creode.tasks import NextToken
from creode.testbeds.decoder import Decoder, DecoderConfig
from creode.training import TrainingConfig, train

SHAPE = DecoderConfig(
    vocab_size=257, d_model=8, num_layers=1, num_heads=2, context_length=16, mlp_ratio=2.0
)
DATA = {"source": "corpus:brackets", "length": 16, "limit": 32}


def train_tiny(out):
    samples = load(DATA["source"], tokenizer="bytes", length=16, limit=64)
    config = TrainingConfig(steps=12, batch_size=8, learning_rate=1e-2, checkpoints=(0, 4, 12))
    train(Decoder(SHAPE), NextToken(), samples, config, out=out)
    return out


def tiny_study(models, **changes):
    study = {
        "model": str(models),
        "checkpoints": "all",
        "data": DATA,
        "final_components": ("heads",),
        "sampler": {"name": "baoab", "step_size": 3e-3, "friction": 170.0},
        "nbeta": 30.0,
        "localization": 3e4,
        "schedule": {
            "chains": 2, "draws": 8, "burnin": 4, "steps_per_draw": 1, "batch_size": 8,
        },
        "execution": {"mode": "sequential"},
    }  # fmt: skip
    return study | changes


def many(models, folder, count=6):
    """A directory of `count` checkpoints, which are those of `models` again and again."""
    weights = [one.path for one in list_checkpoints(models)]
    for number in range(count):
        target = folder / f"step_{number:06d}"
        if not target.exists():
            shutil.copytree(weights[number % len(weights)], target)
    return folder
