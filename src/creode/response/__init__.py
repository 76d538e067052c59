"""How losses answer to each other and to the data: Bayesian influence and the loss kernel.

Saved draws with full traces in, labelled readings with errors and verdicts out.
"""

from creode.response.influence import Influence, influence
from creode.response.loss_kernel import LossKernel, loss_kernel

__all__ = ["Influence", "LossKernel", "influence", "loss_kernel"]
