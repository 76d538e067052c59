"""Tasks: what a loss is. A task maps a model and a batch to losses per unit, in nats."""

from creode.tasks.checks import validate
from creode.tasks.classification import Classification
from creode.tasks.demonstrations import SFT
from creode.tasks.dpo import DPO
from creode.tasks.losses import Batch, Losses, Task, as_losses
from creode.tasks.margin import Margin
from creode.tasks.next_token import NextToken
from creode.tasks.reference import with_reference
from creode.tasks.regression import Regression
from creode.tasks.reward import RewardModel
from creode.tasks.weighted import Weighted, with_weights

__all__ = [
    "DPO",
    "SFT",
    "Batch",
    "Classification",
    "Losses",
    "Margin",
    "NextToken",
    "Regression",
    "RewardModel",
    "Task",
    "Weighted",
    "as_losses",
    "validate",
    "with_reference",
    "with_weights",
]
