"""Calibration: a pilot chooses what nobody should have to tune.

The budget holds everything: PILOT_SHARE of it is set aside for the pilot; of the rest, where γ is
free and λ̂ is to be extrapolated, TIGHTER_SHARE goes to the companion at twice the tether
(automatic.py); N, the gradients that are left, are those of a chain. The rule:

* γ: the tether gives the weights the spread of a fresh initialisation, about 2/fan-in, so it holds
  chains where the network still computes something; times RAISE_GAMMA, again and again, while the
  loss grows more slowly than the distance squared (locality below MIN_LOCALITY beyond doubt), or
  its square (below half of that).
* nβ: the least of three.
  - What the budget resolves, κ γ/h, κ = (N/R)²: so much stiffer than the tether can a direction be
    if N steps of h √a = 1 are to last R = RELAXATIONS times 1/√γ. What nβ does not resolve biases
    λ̂, so more is better. h is the curvature where the pilot's chains are, within h* and GUESS h*:
    a lower nβ lets chains go farther, to where curvature is larger, and would so be lower yet.
  - What noise leaves of that, 2 N HEAT/(R' ρ) · γ/h, where minibatches make noise of ρ times the
    gradient's power, with R' = NOISY_RELAXATIONS. Before any chain has run ρ is that of weights a
    random step away from w*: chains that know of no noise may not last one round.
  - WBIC's n_eff / log n_eff, with n_eff the samples' number in units of the information each
    carries: n tr H / tr Cov(∇ℓ_i), the covariance at w* and tr H from the mean gradient where the
    chains are; n for a well-specified log-likelihood, without bound where every sample is fitted
    exactly.
* Steps of BAOAB that answer to the curvature where the chain is (stride.py), h √a ≤ RELATIVE_STEP,
  none longer than what h* allows. They cost STEP_COST gradients each: looks at the curvature, and
  parts where it asks for them.
* Friction: DAMPING √γ, critical for the tether (or for the softest direction that N steps can mix,
  where γ is less than that), or what keeps the heat of noise at HEAT, whichever is more.

Where w* itself is flat (seen from CLOSER, no more than FLAT of the curvature is left), h* is the
curvature at weights that the tether lets the chain reach, h is h*, and nβ rises at most RAISE-fold
from one round to the next. Where all data makes a gradient and it is 0 (STATIONARY), WBIC's limit
is left out.

With a `rise` asked for, nβ is λ/rise, λ the nβ E[L − L(w*)] that chains show (of d weights √d
before there are any), and γ is h nβ/κ. κ is as above, but from RISEN_RELAXATIONS, RISEN_HEAT and
RISEN_NOISY_RELAXATIONS, and within LEAST and MOST: responses need what moves the loss to mix, and
flat directions less. A round agrees that saw the rise within a factor NEAR of what was asked.

Here: the rule in words, its shares and limits, what it comes to.
Not here: finding out what the rule needs to know (pilot.py), the run (automatic.py).
Sources: WBIC, Watanabe 2013 (arXiv:1208.6338); n_eff after Takeuchi's information criterion; heat
of gradient noise in Langevin dynamics, T − 1 = ε nβ² tr Σ / (2 η tr 1). The combination is ours.
Symbols: h curvature, h* at w*, a = nβh + γ, ρ noise, η friction, R relaxations, N steps of a chain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from creode.sampling.auto import Auto
from creode.sampling.baoab import BAOAB
from creode.sampling.schedule import Schedule
from creode.sampling.stride import MARGIN, SHARE

RELATIVE_STEP = 1.1  # s, of the 2 at which a quadratic becomes unstable
USUAL_STEP: float = RELATIVE_STEP * SHARE / MARGIN**0.5  # after burn-in
STEP_COST = 1.2  # gradients: 1 + 1/EVERY, and parts
RELAXATIONS = 85.0  # R, with exact gradients
RISEN_RELAXATIONS = 20.0  # R, where the loss is to rise by what was asked
NOISY_RELAXATIONS = 8.0  # R, where the friction that noise needs sets the pace
DAMPING = 2.0  # friction over √γ, critical for the tether
HEAT = 0.08  # of the stiffest directions, above temperature 1
RISEN_NOISY_RELAXATIONS = 16.0  # R', where the loss is to rise by what was asked
RISEN_HEAT = 0.8  # of those, where the loss is to rise by what was asked
PILOT_SHARE = 0.2  # of the budget
TIGHTER_SHARE = 0.33  # of what the pilot leaves, if λ̂ is to be extrapolated
LEAST, MOST = 10.0, 300.0  # κ, where the loss is to rise by what was asked
NEAR = 1.5  # as near as one look at the chains tells their rise
BURNIN_SHARE = 0.25
MOST_DRAWS = 400
MOST_RISEN_DRAWS = 100  # each with every sample's loss


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Steps and draws of the chains and of their companion, which the budget alone decides."""

    burnin: int
    draws: int
    steps_per_draw: int
    tighter_burnin: int
    tighter_draws: int

    @classmethod
    def of(cls, auto: Auto, *, accompanied: bool) -> Lengths:
        """What is left of a budget after the pilot; `accompanied`: if λ̂ may be extrapolated."""
        left = int(auto.budget * (1 - PILOT_SHARE) / STEP_COST)
        tighter = int(left * TIGHTER_SHARE) if auto.extrapolate and accompanied else 0
        burnin, tighter_burnin = (int(steps * BURNIN_SHARE) for steps in (left - tighter, tighter))
        kept = left - tighter - burnin
        steps_per_draw = math.ceil(kept / (MOST_DRAWS if auto.rise is None else MOST_RISEN_DRAWS))
        return cls(
            burnin=burnin,
            draws=kept // steps_per_draw,
            steps_per_draw=steps_per_draw,
            tighter_burnin=tighter_burnin,
            tighter_draws=(tighter - tighter_burnin) // steps_per_draw,
        )

    @property
    def num_steps(self) -> int:
        """Steps of one chain, without its companion."""
        return self.burnin + self.draws * self.steps_per_draw


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Settings for a posterior, and what the pilot saw."""

    nbeta: float
    localization: float
    step_size: float  # the longest
    relative_step: float
    friction: float
    burnin: int
    draws: int
    steps_per_draw: int
    curvature: float  # h, nats/weight²
    noise: float  # ρ, the power of a minibatch's gradient noise over the gradient's
    information: float | None  # n_eff; None where samples are fitted exactly
    pilot_evaluations: int  # gradients of a chain
    tighter_burnin: int = 0  # of chains at twice the localization
    tighter_draws: int = 0
    limit: str | None = None  # what held nβ down, for people; None: it was given

    @property
    def kernel(self) -> BAOAB:
        """The sampler chosen."""
        return BAOAB(
            step_size=self.step_size, friction=self.friction, relative_step=self.relative_step
        )

    @property
    def share_of_budget(self) -> float:
        """The chains' share of what they and their companion have in common."""
        own = self.burnin + self.draws * self.steps_per_draw
        return own / (own + self.tighter_burnin + self.tighter_draws * self.steps_per_draw)

    def schedule(self, asked: Schedule) -> Schedule:
        """The schedule asked for, with the chosen lengths."""
        return replace(
            asked, burnin=self.burnin, draws=self.draws, steps_per_draw=self.steps_per_draw
        )

    def record(self) -> dict[str, Any]:
        """As plain values, for a run's record."""
        return asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Calibration:
        """From a run's record."""
        return cls(**record)
