"""How a point is read: the methods that accuracy.py compares, at equal gradient evaluations.

Every method gets the same number of gradient evaluations a chain and as many chains. Of ours, the
automatic one spends them on its pilot and its companion at twice the localization too.

Here: one reading by each method, and its settings.
Not here: points (cases.py), tuning the peer with the truth in hand (tuning.py), the peer's process
(peer_reading.py).
Settings of the literature: nβ = n/log n and γ = 1 (arXiv:2308.12108). For SGLD ε = 6·10⁻⁵, which
devinterp's own test of accuracy on reduced-rank regression takes (tests/slt/rrr_test.py in its
repository, the settings its notebook on deep linear networks points to); its default of 0.01 is
that of an optimiser. For RMSProp-SGLD no test there has settings: ε = 6·10⁻⁶, since where gradients
are small its metric 1/(√v̂ + 0.1) makes steps ten times as long. devinterp's defaults: ε = 0.01,
γ = 0, no burn-in, nβ = m/log m with m the *batch* size (utils.default_nbeta), L(w*) from as many
batches as chains.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cases import Case
from peer_reading import Peer

import creode
from creode.sampling import SGLD, RMSPropSGLD
from creode.sampling.kernel import Kernel
from creode.testbeds.testbed import Testbed

CHAINS = 4
DRAWS = 400
BURNIN_SHARE = 0.25
LITERATURE_GAMMA = 1.0
SGLD_STEP = 6e-5
RMSPROP_STEP = 6e-6
NAN = math.nan


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a method made of a point."""

    llc: float = NAN
    llc_se: float = NAN
    llc_tethered: float = NAN  # at the method's own nβ and γ
    llc_tethered_se: float = NAN
    nbeta: float = NAN
    localization: float = NAN
    ok: bool | None = False  # None: the method gives no verdict
    reasons: str = ""
    rhat: float = NAN
    rhat_distance: float = NAN
    ess: float = NAN
    evaluations: int = 0  # gradients of a chain


@dataclass(frozen=True, kw_only=True)
class Order:
    """A point and what may be spent on it."""

    case: Case
    testbed: Testbed
    batch_size: int  # all samples: exact gradients
    budget: int  # gradients of a chain

    @property
    def nbeta(self) -> float:
        """n/log n."""
        return self.case.num_samples / math.log(self.case.num_samples)


@dataclass(frozen=True, kw_only=True)
class PeerSettings:
    """Of a run of devinterp."""

    method: str  # "sgld", "rmsprop"
    optimizer: Mapping[str, float] = field(default_factory=dict)  # what differs from its defaults
    burnin_share: float = 0.0
    init_loss: str = "default"


Method = Callable[[Order], Reading]


def automatic(order: Order) -> Reading:
    """Nothing given but the budget."""
    testbed = order.testbed
    posterior = creode.LocalPosterior(testbed.model, testbed.task, testbed.data)
    sampler = creode.Auto(budget=order.budget)
    with tempfile.TemporaryDirectory(prefix="accuracy-") as folder:
        try:
            draws = creode.sample(
                posterior, sampler=sampler, chains=CHAINS, batch_size=order.batch_size,
                out=f"{folder}/run",
            )  # fmt: skip
        except ValueError as error:  # the pilot may refuse, which is a failure too
            return Reading(reasons=str(error), evaluations=order.budget)
        record = json.loads((Path(folder) / "run" / "run.json").read_text(encoding="utf-8"))
        chosen = record["resolved"]["calibration"]
        evaluations = (
            chosen["pilot_evaluations"] + draws.attrs["gradient_evaluations"]
            + draws.attrs.get("tighter_evaluations", 0)
        )  # fmt: skip
        return _of_draws(draws, evaluations)


def of_kernel(kernel: Kernel) -> Method:
    """A kernel of ours at the nβ and γ of the literature."""

    def method(order: Order) -> Reading:
        testbed = order.testbed
        posterior = creode.LocalPosterior(
            testbed.model, testbed.task, testbed.data,
            nbeta=order.nbeta, localization=LITERATURE_GAMMA,
        )  # fmt: skip
        lengths = schedule(order.budget)
        draws = creode.sample(
            posterior, sampler=kernel, chains=CHAINS, batch_size=order.batch_size, **lengths
        )
        return _of_draws(draws, order.budget)

    return method


def schedule(budget: int) -> dict[str, int]:
    """Burn-in and draws that take exactly so many steps."""
    draws = min(DRAWS, budget - int(budget * BURNIN_SHARE))
    steps_per_draw = (budget - int(budget * BURNIN_SHARE)) // draws
    return {
        "burnin": budget - draws * steps_per_draw,
        "draws": draws,
        "steps_per_draw": steps_per_draw,
    }


def of_peer(
    peer: Peer, settings: PeerSettings | Callable[[Order], PeerSettings], *, chains: int = CHAINS
) -> Method:
    """devinterp; its error is that between chains, and it gives no verdict."""

    def method(order: Order) -> Reading:
        chosen = settings if isinstance(settings, PeerSettings) else settings(order)
        burnin = int(order.budget * chosen.burnin_share)
        optimizer = dict(chosen.optimizer)
        answer = peer.read(
            order.testbed,
            {
                "method": chosen.method, "optimizer": optimizer, "init_loss": chosen.init_loss,
                "chains": chains, "burnin": burnin, "draws": order.budget - burnin,
                "batch_size": order.batch_size, "seed": 0,
            },
        )  # fmt: skip
        llc, error, reason = _over_chains(answer)
        return Reading(
            llc=llc, llc_se=error, llc_tethered=llc, llc_tethered_se=error,
            nbeta=answer["nbeta"], localization=optimizer.get("localization", 0.0),
            ok=None, reasons=reason, evaluations=order.budget,
        )  # fmt: skip

    return method


def in_its_test(order: Order) -> PeerSettings:
    """devinterp as in its own test of accuracy."""
    optimizer = {"lr": SGLD_STEP, "localization": LITERATURE_GAMMA, "nbeta": order.nbeta}
    return PeerSettings(method="sgld", optimizer=optimizer)


def _over_chains(answer: Mapping[str, Any]) -> tuple[float, float, str]:
    """λ̂, its standard error between chains and, of a failure, the reason."""
    by_chain = answer.get("llc_by_chain", [])
    if not by_chain or not all(map(math.isfinite, by_chain)):
        return NAN, NAN, answer.get("error", "not finite")
    error = statistics.stdev(by_chain) / len(by_chain) ** 0.5 if len(by_chain) > 1 else NAN
    return statistics.fmean(by_chain), error, ""


def _of_draws(draws: Any, evaluations: int) -> Reading:
    reading = creode.llc(draws)
    names = ("llc", "llc_se", "llc_tethered", "llc_tethered_se", "rhat", "rhat_distance", "ess")
    return Reading(
        nbeta=float(draws.attrs["nbeta"]), localization=float(draws.attrs["localization"]),
        ok=bool(reading.ok), reasons=str(reading.reasons.item()), evaluations=evaluations,
        **{name: float(reading[name]) for name in names},
    )  # fmt: skip


OURS: dict[str, Method] = {
    "creode automatic": automatic,
    "creode SGLD, literature": of_kernel(SGLD(step_size=SGLD_STEP)),
    # as published, the metric goes on moving
    "creode RMSProp-SGLD, literature": of_kernel(RMSPropSGLD(step_size=RMSPROP_STEP, freeze=False)),
}
PEER = "devinterp 1.3.2"
PEERS: dict[str, PeerSettings | Callable[[Order], PeerSettings]] = {
    f"{PEER} SGLD, defaults": PeerSettings(method="sgld"),
    f"{PEER} RMSProp-SGLD, defaults": PeerSettings(method="rmsprop"),
    f"{PEER} SGLD, its test": in_its_test,
}
TUNED = {f"{PEER} SGLD, tuned": "sgld", f"{PEER} RMSProp-SGLD, tuned": "rmsprop"}
