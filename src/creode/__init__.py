"""Creode reads and writes the structure of neural networks through the geometry of their loss.

Names are imported when they are used, so that `import creode` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from creode.version import __version__

if TYPE_CHECKING:
    from creode import (
        auditing,
        components,
        data,
        development,
        diagnostics,
        generalization,
        geometry,
        patterning,
        response,
        structure,
        tasks,
        testbeds,
    )
    from creode.auditing import audit
    from creode.generalization import compare_shifts, shift
    from creode.geometry import llc
    from creode.patterning import pattern
    from creode.posterior import LocalPosterior
    from creode.response import influence, loss_kernel, susceptibility
    from creode.sampling import BADODAB, BAOAB, SGLD, Auto, Execution, RMSPropSGLD, sample
    from creode.scalar_head import ScalarHead
    from creode.study import open_draws

_HOME = {
    "Auto": "creode.sampling",
    "BADODAB": "creode.sampling",
    "BAOAB": "creode.sampling",
    "Execution": "creode.sampling",
    "LocalPosterior": "creode.posterior",
    "RMSPropSGLD": "creode.sampling",
    "SGLD": "creode.sampling",
    "ScalarHead": "creode.scalar_head",
    "audit": "creode.auditing",
    "compare_shifts": "creode.generalization",
    "influence": "creode.response",
    "llc": "creode.geometry",
    "loss_kernel": "creode.response",
    "open_draws": "creode.study",
    "pattern": "creode.patterning",
    "sample": "creode.sampling",
    "shift": "creode.generalization",
    "susceptibility": "creode.response",
}
_ROOMS = (
    "auditing",
    "components",
    "data",
    "development",
    "diagnostics",
    "generalization",
    "geometry",
    "patterning",
    "response",
    "structure",
    "tasks",
    "testbeds",
)

__all__ = [
    "BADODAB",
    "BAOAB",
    "SGLD",
    "Auto",
    "Execution",
    "LocalPosterior",
    "RMSPropSGLD",
    "ScalarHead",
    "__version__",
    "audit",
    "auditing",
    "compare_shifts",
    "components",
    "data",
    "development",
    "diagnostics",
    "generalization",
    "geometry",
    "influence",
    "llc",
    "loss_kernel",
    "open_draws",
    "pattern",
    "patterning",
    "response",
    "sample",
    "shift",
    "structure",
    "susceptibility",
    "tasks",
    "testbeds",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _ROOMS:
        return import_module(f"creode.{name}")
    raise AttributeError(f"module 'creode' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
