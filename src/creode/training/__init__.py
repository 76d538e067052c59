"""Training: a plain, reproducible trainer with checkpoints and weights on the samples."""

from creode.training.config import TrainingConfig, log_spaced_steps
from creode.training.directory import checkpoint_name
from creode.training.loop import OnStep, TrainingResult, train
from creode.training.side_by_side import train_side_by_side
from creode.training.steps import log_spaced

__all__ = [
    "OnStep",
    "TrainingConfig",
    "TrainingResult",
    "checkpoint_name",
    "log_spaced",
    "log_spaced_steps",
    "train",
    "train_side_by_side",
]
