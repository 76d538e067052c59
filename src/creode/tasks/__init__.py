"""Tasks: what a loss is. A task maps a model and a batch to losses per unit, in nats."""

from creode.tasks.checks import validate
from creode.tasks.classification import Classification
from creode.tasks.losses import Batch, Losses, Task, as_losses
from creode.tasks.next_token import NextToken
from creode.tasks.regression import Regression

__all__ = [
    "Batch",
    "Classification",
    "Losses",
    "NextToken",
    "Regression",
    "Task",
    "as_losses",
    "validate",
]
