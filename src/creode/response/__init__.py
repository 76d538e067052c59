"""How parts and losses answer to data: susceptibilities, Bayesian influence, the loss kernel.

Saved draws in, labelled results with errors and verdicts out; a study's tree maps to a result with
the dimension component.
"""

from creode.response.baseline import subtract_baseline
from creode.response.discoveries import significant
from creode.response.influence import Influence, influence
from creode.response.loss_kernel import LossKernel, loss_kernel
from creode.response.mixture import mixture_susceptibility
from creode.response.susceptibility import susceptibility

__all__ = [
    "Influence",
    "LossKernel",
    "influence",
    "loss_kernel",
    "mixture_susceptibility",
    "significant",
    "subtract_baseline",
    "susceptibility",
]
