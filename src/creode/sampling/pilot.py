"""The pilot: short runs that find out what the rule of calibration.py needs to know.

Rounds of ROUND_SHARE of the budget, the first ones of FIRST_SHARE, go on until ROUNDS in a row find
nothing amiss; after MOST_ROUNDS, or with the pilot's share spent, one is enough, and after twice as
many rounds it gives up. A round whose chains are lost or hotter than MOST_TEMPERATURE starts again
from w* with half the step, and if that fails too with a tighter tether.

Here: the rounds, what is believed after each.
Not here: the rule in words, the result (calibration.py), what is measured at a point
(landscape.py), the loop (engine.py).
Symbols: h curvature, h* at w*, a = nβh + γ, ρ noise, N steps of a chain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from statistics import fmean

import torch
from scipy.special import digamma
from torch import Tensor

from creode.posterior import LocalPosterior
from creode.sampling.auto import Auto
from creode.sampling.baoab import BAOAB
from creode.sampling.block import Block
from creode.sampling.borrow import borrowed
from creode.sampling.calibration import (
    DAMPING,
    HEAT,
    LEAST,
    MOST,
    NEAR,
    NOISY_RELAXATIONS,
    PILOT_SHARE,
    RELATIVE_STEP,
    RELAXATIONS,
    RISEN_HEAT,
    RISEN_NOISY_RELAXATIONS,
    RISEN_RELAXATIONS,
    USUAL_STEP,
    Calibration,
    Lengths,
)
from creode.sampling.choice import ResolvedMode, make_block
from creode.sampling.engine import Engine, Problem
from creode.sampling.flat import FlatWeights
from creode.sampling.kernel import Target
from creode.sampling.landscape import NUM_MINIBATCHES, Landscape, Local
from creode.sampling.randomness import stream_seed
from creode.sampling.schedule import Execution, Schedule

ROUNDS = 3  # of the pilot, one after the other, that find nothing amiss
MOST_ROUNDS = 8
ROUND_SHARE = 0.03  # of the budget, steps of one round
FIRST_SHARE = 0.01  # where nothing has been found yet, and much may be amiss
MIN_LOCALITY = 0.8  # 1 where the loss grows as the square of the distance, less where it flattens
MOST_TEMPERATURE = 1.2  # above, the steps are too large; NaN is above
RAISE_GAMMA = 2.0  # when a round shows that it was too small
GUESS = 4.0  # of the curvature from w* to where the chains are, before it was measured
STATIONARY = 1e-6  # |∇L_n(w*)|² over that of a true parameter, below which w* is a minimum of L_n
CLOSER = 0.25  # a second look at w*, from nearer
FLAT = 0.25  # of the curvature left then; a Hessian leaves all of it, a quartic a sixteenth
RAISE = 4.0  # of h* where w* is flat, and of ρ, when chains are lost; of nβ from round to round


def calibrate(
    posterior: LocalPosterior,
    auto: Auto,
    schedule: Schedule,
    execution: Execution,
    *,
    mode: ResolvedMode = "sequential",
    on_round: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Choose nβ and γ where they are "auto", and step size, friction and schedule.

    Args:
        posterior: what is sampled; its data and model are on the device of the run.
        auto: the budget.
        schedule: chains, batch size and seed of the run.
        execution: how steps are computed.
        mode: chains of the pilot in turn (then it runs one of them) or side by side.
        on_round: called with (rounds done, rounds in all).

    Raises:
        ValueError: the pilot found no setting at which the chains stay finite.
    """
    flat = FlatWeights(posterior.model, posterior.selection())
    chains = schedule.chains if mode == "vectorised" else 1
    with borrowed(posterior.model):
        block = make_block(posterior, flat, execution, mode=mode, chains=chains)
        pilot = _Pilot(posterior, auto, schedule, block, flat)
        for number in range(2 * MOST_ROUNDS):
            pilot.round(number)
            if on_round is not None:
                on_round(min(number + 1, MOST_ROUNDS), MOST_ROUNDS)
            hurried = number + 1 >= MOST_ROUNDS or pilot.evaluations > PILOT_SHARE * auto.budget
            if pilot.agreed >= (1 if hurried else ROUNDS):
                break
        return pilot.result()


class _Pilot:
    """What is believed so far, and one round of finding out more."""

    def __init__(
        self,
        posterior: LocalPosterior,
        auto: Auto,
        schedule: Schedule,
        block: Block,
        flat: FlatWeights,
    ) -> None:
        self._posterior, self._budget, self._schedule = posterior, auto.budget, schedule
        self._rise = _rise(auto, posterior)
        self._heat = HEAT if self._rise is None else RISEN_HEAT
        free = posterior.localization == "auto" and self._rise is None
        self._lengths = Lengths.of(auto, accompanied=free)
        self._steps_left = self._lengths.num_steps
        self._block, self._flat = block, flat
        self._anchor = torch.cat(flat.anchor(0, flat.size))
        seed = stream_seed(schedule.seed, (), 0, "calibration")
        data = posterior.data
        self._landscape = Landscape(block, data, schedule.batch_size, seed)
        self._given_nbeta = _given(posterior.nbeta)
        given_gamma = _given(posterior.localization)
        self._gamma_is_free = free
        self._gamma = natural_localization(flat) if given_gamma is None else given_gamma
        if self._gamma == 0 and self._given_nbeta is None:
            raise ValueError(
                "localization=0 leaves no scale to choose nbeta by; give nbeta as a number, or "
                'localization="auto".'
            )
        self._steps = 0
        self._noise = 0.0
        self._nbeta: float | None = None
        self._dimension = float(flat.size**0.5)  # λ, where a rise is asked for
        at_anchor = self._landscape.local()
        self._anchor_loss = float(at_anchor.loss.mean())
        small = max(min(schedule.batch_size, len(data) // 4), 1)
        whole = small == schedule.batch_size
        split = at_anchor if whole else self._landscape.local(distinct=small)
        # tr Cov(∇ℓ_i) of single samples, from batches drawn without replacement
        self._sample_noise = split.noise * small / max(1 - small / len(data), 1e-9)
        still = STATIONARY * self._sample_noise / len(data)
        if schedule.batch_size == len(data) and at_anchor.signal <= still:
            self._sample_noise = 0.0
        self._traces: list[float] = []  # tr H, as each round saw it
        self._looks: list[Local] = []  # one of them tells ρ within a factor of several
        self._first = self._first_curvature()
        self._curvature = GUESS * self._first  # where the chains are
        if schedule.batch_size < len(data):
            self._noise = self._noise_nearby()
        self._relative_step = RELATIVE_STEP
        self.agreed = 0  # rounds in a row that found nothing amiss

    def round(self, number: int) -> None:
        """Run a little with what is believed; believe what is then seen."""
        nbeta, kernel = self._settings()
        share = ROUND_SHARE if self.agreed else FIRST_SHARE
        steps = max(int(self._budget * share), 16)
        virial = self._run(nbeta, kernel, steps, number)
        seen = self._landscape.local()
        curvature = float(self._landscape.curvature(self._reach).max())
        finite = torch.isfinite(self._block.position).all() and torch.isfinite(seen.loss).all()
        if not (finite and self._is_cool() and math.isfinite(curvature)):
            self._fail()
            return
        if self._gamma_is_free and self._has_left(virial, seen, nbeta, MIN_LOCALITY):
            far = self._has_left(virial, seen, nbeta, MIN_LOCALITY / 2)
            self._tighten(RAISE_GAMMA**2 if far else RAISE_GAMMA)
            return
        self._curvature = max(curvature, self._curvature if self.agreed else 0.0)
        self.agreed = self.agreed + 1 if self._rose(seen) else 1
        if self._rise is not None:
            self._looks.append(seen)
            self._noise = _noise(self._looks)
        elif seen.signal > 0:
            self._noise = _noise([seen])
        if seen.signal > 0:
            self._traces.append(nbeta * seen.signal)

    def result(self) -> Calibration:
        """The settings that follow from what is believed in the end."""
        if not self.agreed:
            raise ValueError(
                f"the pilot found no settings at which chains stay finite in the basin (last: "
                f"nbeta={self._nbeta:.3g}, localization={self._gamma:.3g}); give nbeta, "
                "localization and a sampler by hand, and check that w* is a minimum of this loss."
            )
        nbeta, kernel = self._settings()
        information = self._information
        return Calibration(
            nbeta=nbeta,
            localization=self._gamma,
            step_size=kernel.step_size,
            relative_step=self._relative_step,
            friction=kernel.friction,
            **asdict(self._lengths),
            curvature=self._curvature,
            noise=self._noise,
            information=information if math.isfinite(information) else None,
            pilot_evaluations=self.evaluations,
            limit=self._limit(),
        )

    @property
    def evaluations(self) -> int:
        """Gradients of a chain so far."""
        return self._steps + self._landscape.evaluations

    def _is_cool(self) -> bool:
        """Whether the momenta are not hotter than chance allows; NaN is not cool."""
        chance = 3 * (2 / (self._flat.size * len(self._block.position))) ** 0.5
        return bool(self._temperature < MOST_TEMPERATURE + chance)

    def _has_left(self, virial: Tensor, seen: Local, nbeta: float, least: float) -> bool:
        """Whether the locality is less than this, beyond doubt."""
        rise = nbeta * (float(seen.loss.mean()) - self._anchor_loss)  # of λ
        # Each half of a chain counts once: within it the virial varies slowly. The rise has the
        # variance of energy in equilibrium, λ, in each chain.
        error = float(virial.var()) / virial.numel()
        error += (2 * least) ** 2 * max(rise, 0.0) / len(seen.loss)
        return rise > 0 and float(virial.mean()) + 2 * error**0.5 < 2 * least * rise

    def _tighten(self, by: float = RAISE_GAMMA) -> None:
        self._gamma *= by
        self.agreed = 0
        self._traces = []
        self._restart()
        self._first = self._first_curvature()
        self._curvature = GUESS * self._first
        self._relative_step = RELATIVE_STEP

    def _fail(self) -> None:
        """Chains were lost: from w* again with half the step, or closer to it if that was tried."""
        self.agreed = 0
        self._looks = []
        self._dimension *= RAISE_GAMMA
        if self._gamma_is_free and self._relative_step < RELATIVE_STEP:
            self._tighten()
            return
        self._relative_step /= 2
        self._noise *= RAISE
        if self._is_flat:
            self._first *= RAISE
        self._restart()

    def _settings(self) -> tuple[float, BAOAB]:
        nbeta = self._nbeta = self._strength()
        gamma, h = self._gamma, self._curvature
        stiffest = (nbeta * h + gamma) ** 0.5
        longest = self._relative_step / (nbeta * self._first + gamma) ** 0.5
        softest = max(gamma**0.5, stiffest / self._stiffness**0.5)  # that can be mixed
        friction = max(DAMPING * softest, USUAL_STEP * self._noise * stiffest / (2 * self._heat))
        return nbeta, BAOAB(step_size=longest, friction=friction, relative_step=self._relative_step)

    def _strength(self) -> float:
        """nβ; where a rise is asked for γ follows it."""
        if self._rise is not None:
            nbeta: float = self._dimension / self._rise
            stiffness = max(min(self._stiffness, self._noisy, MOST), LEAST)
            self._gamma = nbeta * self._resolved / stiffness
            return nbeta
        if self._given_nbeta is not None:
            return self._given_nbeta
        nbeta = min(self._limits().values())
        if self._is_flat and self._nbeta is not None:
            nbeta = min(nbeta, RAISE * self._nbeta)
        return nbeta

    def _rose(self, seen: Local) -> bool:
        """Whether the loss rose as far as asked for; if not, how far λ lets it is believed anew."""
        if self._rise is None:
            return True
        before = self._dimension
        assert self._nbeta is not None
        shown = self._nbeta * (float(seen.loss.mean()) - self._anchor_loss)
        believed = min(max(shown, before / RAISE), before * RAISE)
        self._dimension = (believed * before) ** 0.5 if self.agreed else believed
        return bool(1 / NEAR < shown / before < NEAR)

    @property
    def _stiffness(self) -> float:
        """κ, the most that can be mixed with exact gradients."""
        relaxations = RELAXATIONS if self._rise is None else RISEN_RELAXATIONS
        return float((self._steps_left / relaxations) ** 2)

    @property
    def _noisy(self) -> float:
        """κ, the most that can be mixed at the friction that noise needs."""
        if not self._noise:
            return math.inf
        relaxations = NOISY_RELAXATIONS if self._rise is None else RISEN_NOISY_RELAXATIONS
        return 2 * self._steps_left * self._heat / (relaxations * self._noise)

    @property
    def _resolved(self) -> float:
        """The curvature that nβ is made for: where the chains are, from 1 to GUESS times h*."""
        most = self._first if self._is_flat else GUESS * self._first
        return min(max(self._curvature, self._first), most)

    @property
    def _information(self) -> float:
        """n_eff; infinite where the samples' gradients at w* do not differ."""
        if not self._traces or self._sample_noise <= 0:
            return math.inf
        return len(self._posterior.data) * fmean(self._traces) / self._sample_noise

    @property
    def _most_informed(self) -> float:
        """n_eff / log n_eff."""
        information = self._information
        return information / math.log(max(information, math.e)) if information < 1e300 else math.inf

    @property
    def _reach(self) -> float:
        return float((self._gamma or natural_localization(self._flat)) ** -0.5)

    def _limits(self) -> dict[str, float]:
        """The most that nβ can be, and for whose sake."""
        limits = {
            "the budget": self._stiffness * self._gamma / self._resolved,
            "the information in the data": self._most_informed,
        }
        if self._noise:
            limits["the noise of minibatch gradients"] = self._noisy * self._gamma / self._resolved
        return limits

    def _limit(self) -> str | None:
        if self._rise is not None:
            return "the rise of the loss that was asked for"
        limits = self._limits()
        return None if self._given_nbeta is not None else min(limits, key=limits.__getitem__)

    def _first_curvature(self) -> float:
        """At w*, or where that is 0, at weights as far away as the tether lets them go."""
        here, closer = (
            float(self._landscape.curvature(reach).max())
            for reach in (self._reach, self._reach * CLOSER)
        )
        self._is_flat = closer <= FLAT * here  # it is no second derivative that was seen
        if not self._is_flat:
            return here
        self._displace(self._reach / 2)
        there = float(self._landscape.curvature(self._reach).max())
        self._restart()
        if max(here, there) <= 0:
            raise ValueError(
                "the gradient of the loss is 0 at w* and around it: the sampled weights do not "
                "reach this loss; choose another component."
            )
        return there

    def _noise_nearby(self) -> float:
        """ρ as far from w* as the stiffest weights of a chain would be, before there is one."""
        nbeta = self._strength()
        self._displace((nbeta * self._curvature + self._gamma) ** -0.5)
        seen = self._landscape.local()
        self._restart()
        return _noise([seen])

    def _displace(self, distance: float) -> None:
        """Move every weight away from w*, by a normal of this deviation."""
        position = self._block.position
        generator = torch.Generator().manual_seed(0)
        step = torch.randn(position.shape, generator=generator, dtype=position.dtype)
        position.add_(step.to(position.device), alpha=distance)
        self._block.moved()

    def _run(self, nbeta: float, kernel: BAOAB, steps: int, number: int) -> Tensor:
        """Run the chains on; (w − w*)·nβ∇L by half of the run and chain."""
        draws = steps // 4
        schedule = replace(
            self._schedule, burnin=steps - 2 * draws, draws=draws, steps_per_draw=2, traces=()
        )
        problem = Problem(
            target=Target(nbeta=nbeta, localization=self._gamma),
            kernel=kernel,
            schedule=schedule,
            data=self._posterior.data,
            baseline=None,
            probes=(),
            unit=("calibration", str(number)),
        )
        engine = Engine(problem, self._block, self._flat, range(len(self._block.position)))
        engine.run()
        self._steps += engine.evaluations
        drawn = engine.tree().to_dataset()
        self._temperature = float(drawn["temperature"].mean(skipna=False))
        virial = torch.from_numpy(drawn["loss_virial"].values)
        return torch.stack([half.mean(1) for half in virial.tensor_split(2, dim=1)])

    @torch.no_grad()
    def _restart(self) -> None:
        self._block.position.copy_(self._anchor.expand_as(self._block.position))
        self._block.moved()


def natural_localization(flat: FlatWeights) -> float:
    """γ = exp ψ(f/2) of the fan-in f (columns of a matrix, inputs of a filter), about (f − 1)/2.

    For W with weights N(0, 1/γ) and f rows and columns, E log ‖Wx‖² = log ‖x‖² + log(2/γ) + ψ(f/2):
    at this γ it is log 2 a layer, as He's initialisation makes it in wide layers; in narrow ones
    the mean of ‖Wx‖² is far above what is typical. The mean over the sampled weights of matrices;
    with none, that of f = 1.
    """
    total = size = 0.0
    for part in flat.parts:
        if part.anchor.ndim > 1:
            total += part.size * math.exp(digamma(part.anchor[0].numel() / 2))
            size += part.size
    return total / size if size else math.exp(digamma(0.5))


def _noise(looks: Sequence[Local]) -> float:
    """ρ, of means over looks; 0 where there is no noise.

    Where no gradient is seen in the noise, its power is taken for the chance of that, at most
    √(2/(K(K − 1))) of the noise's, K minibatches a look.
    """
    signal, noise = sum(look.signal for look in looks), sum(look.noise for look in looks)
    if signal <= 0:
        signal = noise * (2 / (NUM_MINIBATCHES * (NUM_MINIBATCHES - 1))) ** 0.5
    return noise / signal if signal > 0 else 0.0


def _rise(auto: Auto, posterior: LocalPosterior) -> float | None:
    """The rise asked for, for which nβ and γ must be free."""
    if auto.rise is not None and (posterior.nbeta, posterior.localization) != ("auto", "auto"):
        raise ValueError(
            f"sampler 'auto': rise={auto.rise} chooses nbeta and localization, got "
            f"nbeta={posterior.nbeta!r} and localization={posterior.localization!r}; leave both "
            '"auto", or rise out.'
        )
    return auto.rise


def _given(value: float | str) -> float | None:
    return None if isinstance(value, str) else value
