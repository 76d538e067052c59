"""Sampling: kernels, the engine (the only loop), the recorder."""

from creode.sampling.auto import Auto
from creode.sampling.automatic import find_calibration, run_posterior, with_tighter
from creode.sampling.badodab import BADODAB
from creode.sampling.baoab import BAOAB
from creode.sampling.calibration import Calibration
from creode.sampling.exact import sample_exactly
from creode.sampling.kernel import Kernel
from creode.sampling.pilot import calibrate
from creode.sampling.rmsprop_sgld import RMSPropSGLD
from creode.sampling.sample import sample
from creode.sampling.schedule import Execution, Schedule
from creode.sampling.sgld import SGLD
from creode.sampling.unit import (
    Plan,
    Progress,
    describe,
    merge_chains,
)

KERNELS = {kernel.name: kernel for kernel in (SGLD, RMSPropSGLD, BAOAB, BADODAB)}

__all__ = [
    "BADODAB",
    "BAOAB",
    "KERNELS",
    "SGLD",
    "Auto",
    "Calibration",
    "Execution",
    "Kernel",
    "Plan",
    "Progress",
    "RMSPropSGLD",
    "Schedule",
    "calibrate",
    "describe",
    "find_calibration",
    "merge_chains",
    "run_posterior",
    "sample",
    "sample_exactly",
    "with_tighter",
]
