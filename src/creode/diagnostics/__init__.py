"""Can these draws be trusted: ESS, R-hat, MCSE, virial, temperature, heat, locality, and a verdict.

Saved draws in, labelled numbers out; nothing here samples, and nothing here reads a quantity of
interest (geometry/, response/).
"""

from creode.diagnostics.convergence import convergence
from creode.diagnostics.descent import descent
from creode.diagnostics.ess import ess
from creode.diagnostics.evidence import Evidence, gather
from creode.diagnostics.excess import excess_loss
from creode.diagnostics.heat import heat
from creode.diagnostics.locality import locality
from creode.diagnostics.mcse import mcse
from creode.diagnostics.memory import memory
from creode.diagnostics.rhat import rhat
from creode.diagnostics.running import autocorrelation, running_llc, traces
from creode.diagnostics.temperature import temperature
from creode.diagnostics.verdict import CHAIN_CHECKS, Verdict, verdict
from creode.diagnostics.virial import virial

__all__ = [
    "CHAIN_CHECKS",
    "Evidence",
    "Verdict",
    "autocorrelation",
    "convergence",
    "descent",
    "ess",
    "excess_loss",
    "gather",
    "heat",
    "locality",
    "mcse",
    "memory",
    "rhat",
    "running_llc",
    "temperature",
    "traces",
    "verdict",
    "virial",
]
