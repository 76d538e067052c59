"""λ̂ of an exact sampler at a method's own nβ and γ.

The difference to λ is the bias of finite nβ and γ; that between the method and this value is the
method's.

Here: by quadrature for monomials of one or two weights, else by HMC in float64.
Not here: the quadrature (tests/oracles.py).
"""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import creode
from creode.sampling import sample_exactly
from creode.testbeds import NormalCrossing
from creode.testbeds.testbed import Testbed

ORACLES = Path(__file__).resolve().parents[1] / "tests" / "oracles.py"
CHAINS = 4
DRAWS, BURNIN = 600, 200  # proposals
LEAST_LEAPS, MOST_LEAPS = 10, 400
QUARTER = 1.5  # of a period of the tether's oscillation, in units of 1/√γ: π/2


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The exact value, as far as it is known."""

    value: float
    error: float  # 0 for a quadrature
    ok: bool  # HMC's own verdict
    source: str  # "quadrature", "HMC"


def by_quadrature(testbed: Testbed, nbeta: float, localization: float) -> Reference | None:
    """Of a monomial loss of one or two weights (those of exponent 0 do not count), else None."""
    if not isinstance(testbed, NormalCrossing) or not min(nbeta, localization) > 0:
        return None
    exponents = [k for k in testbed.exponents if k]
    if len(exponents) > 2:
        return None
    value = _oracles().normal_crossing_moments(exponents, nbeta, localization).mean
    return Reference(value=value, error=0.0, ok=True, source="quadrature")


def by_hmc(testbed: Testbed, nbeta: float, localization: float) -> Reference | None:
    """By trajectories about as long as the tether's quarter period; None without a tether."""
    if not min(nbeta, localization) > 0:
        return None
    posterior = creode.LocalPosterior(
        testbed.model, testbed.task, testbed.data, nbeta=nbeta, localization=localization
    )
    trial = sample_exactly(posterior, chains=CHAINS, draws=4, burnin=100, trajectory=LEAST_LEAPS)
    leap = float(trial["step_size"].min())
    leaps = math.ceil(QUARTER / (leap * localization**0.5))
    draws = sample_exactly(
        posterior, chains=CHAINS, draws=DRAWS, burnin=BURNIN, seed=1,
        trajectory=min(max(leaps, LEAST_LEAPS), MOST_LEAPS),
    )  # fmt: skip
    reading = creode.llc(draws)
    value, error = float(reading.llc), float(reading.llc_se)
    return Reference(value=value, error=error, ok=bool(reading.ok), source="HMC")


def _oracles() -> ModuleType:
    name = "oracles_of_the_tests"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ORACLES)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]
