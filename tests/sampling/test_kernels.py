"""The kernels against their equations, written out independently in numpy."""

import math

import numpy as np
import pytest
import torch

from creode.sampling import BADODAB, BAOAB, SGLD, RMSPropSGLD
from creode.sampling.kernel import Coordinates, Target, Thermostat
from creode.sampling.leapfrog import PRIOR

TARGET = Target(nbeta=7.0, localization=3.0)
P = 5


def numbers(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=P)


class OneChain:
    """A chain on ∇L(w) = h w with given noise, moved by a kernel."""

    def __init__(self, kernel, w, anchor, h):
        self.kernel, self.h = kernel, h
        self.w, self.anchor = torch.tensor(w)[None].clone(), torch.tensor(anchor)
        self.slots = {
            name: torch.full(
                (1, 1 if law == "chain" else P), kernel.slot_start, dtype=torch.float64
            )
            for name, law in kernel.slots.items()
        }
        self.num_steps = 0

    def step(self, noise, burnin=1000):
        at = Coordinates(
            position=self.w,
            gradient=torch.tensor(self.h) * self.w,
            anchor=self.anchor,
            noise=torch.tensor(noise)[None].clone(),
            scratch=torch.empty(1, P, dtype=torch.float64),
            slots=self.slots,
        )
        clock = {"step": self.num_steps, "burnin": burnin}
        if isinstance(self.kernel, Thermostat):
            self.kernel.kick(at, TARGET, **clock)
            self.kernel.regulate(self.slots, self.temperature(), **clock)
        self.kernel.move(at, TARGET, **clock)
        if isinstance(self.kernel, Thermostat):
            self.kernel.regulate(self.slots, self.temperature(), **clock)
        self.num_steps += 1

    def temperature(self):
        return self.slots["momentum"].square().mean(1)


def force(w, anchor, h):
    return TARGET.nbeta * h * w + TARGET.localization * (w - anchor)


def test_sgld_is_its_equation():
    eps, w, anchor, h = 0.02, numbers(0), numbers(1), np.abs(numbers(2))
    chain = OneChain(SGLD(step_size=eps), w, anchor, h)
    for t in range(3):
        xi = numbers(10 + t)
        chain.step(xi)
        w = w - eps / 2 * force(w, anchor, h) + math.sqrt(eps) * xi
    np.testing.assert_allclose(chain.w[0], w, rtol=1e-12)


@pytest.mark.parametrize("bias_correction", [True, False])
@pytest.mark.parametrize(("start", "freeze"), [(0.0, True), (1.0, False), (0.3, True)])
def test_rmsprop_sgld_is_its_equation(bias_correction, start, freeze):
    eps, a, s, burnin = 0.02, 0.8, 0.25, 3
    w, anchor, h = numbers(0), numbers(1), np.abs(numbers(2))
    kernel = RMSPropSGLD(
        step_size=eps, decay=a, floor=s, start=start, bias_correction=bias_correction, freeze=freeze
    )
    chain = OneChain(kernel, w, anchor, h)
    v, learnt = np.full(P, start), 0
    for t in range(6):
        xi = numbers(10 + t)
        chain.step(xi, burnin=burnin)
        if t < burnin or not freeze:
            v = a * v + (1 - a) * (h * w) ** 2
            learnt += 1
        v_hat = v / (1 - a**learnt) if bias_correction else v
        eps_t = eps / (np.sqrt(v_hat) + s)
        w = w - eps_t / 2 * force(w, anchor, h) + np.sqrt(eps_t) * xi
    np.testing.assert_allclose(chain.w[0], w, rtol=1e-12)


def test_baoab_is_its_splitting():
    step, friction = 0.1, 1.7
    w, anchor, h = numbers(0), numbers(1), np.abs(numbers(2))
    chain = OneChain(BAOAB(step_size=step, friction=friction), w, anchor, h)
    p = numbers(3)
    chain.slots["momentum"].copy_(torch.tensor(p))
    c = math.exp(-friction * step)
    for t in range(4):
        xi = numbers(10 + t)
        chain.step(xi)
        p = p - step / 2 * force(w, anchor, h)
        w = w + step / 2 * p
        p = c * p + math.sqrt(1 - c**2) * xi
        w = w + step / 2 * p
        np.testing.assert_allclose(chain.w[0], w, rtol=1e-12)
        np.testing.assert_allclose(chain.slots["momentum"][0], p, rtol=1e-12)
        p = p - step / 2 * force(w, anchor, h)


def masses_after(masses, w, anchor, h, t, stiffness):
    rate = 2 / (t + PRIOR + 2)
    learnt = (1 - rate) * masses + rate * force(w, anchor, h) ** 2 / stiffness
    return np.maximum(learnt, TARGET.localization / stiffness)


@pytest.mark.parametrize("thermostat", [False, True])
def test_masses_are_learnt_in_burnin_and_then_frozen(thermostat):
    """With M written out: p ~ N(0, M) is kicked by the force itself and drifts by p/M."""
    step, friction, stiffness, burnin, inertia = 0.1, 1.7, 0.4, 4, 0.6
    w, anchor, h = numbers(0), numbers(1), np.abs(numbers(2))
    kinds = {"step_size": step, "friction": friction, "stiffness": stiffness}
    kernel = BADODAB(inertia=inertia, **kinds) if thermostat else BAOAB(**kinds)
    chain = OneChain(kernel, w, anchor, h)
    p, masses, zeta = numbers(3), np.ones(P), friction
    chain.slots["momentum"].copy_(torch.tensor(p))
    for t in range(7):
        xi = numbers(10 + t)
        chain.step(xi, burnin=burnin)
        length, pace = step, step / 2 * friction**2 / inertia if thermostat else 0.0
        if t < 3:  # three quarters of burn-in
            length, pace = 2 * step, 0.0
            before, masses = masses, masses_after(masses, w, anchor, h, t, stiffness)
            p = p * np.sqrt(masses / before)  # the same number of standard deviations
        p = p - (length if t else length / 2) * force(w, anchor, h)
        zeta += pace * ((p**2 / masses).mean() - 1)
        w = w + length / 2 * p / masses
        c = math.exp(-zeta * length)
        p = c * p + np.sqrt(friction * (1 - c**2) / zeta * masses) * xi
        w = w + length / 2 * p / masses
        zeta += pace * ((p**2 / masses).mean() - 1)
        np.testing.assert_allclose(chain.w[0], w, rtol=1e-11)
    np.testing.assert_allclose(chain.slots["root_mass"][0] ** 2, masses, rtol=1e-11)
    assert masses.max() > 1.1 * masses.min()


def test_masses_do_not_fall_below_the_tethers_share():
    chain = OneChain(
        BAOAB(step_size=1e-9, friction=1.0, stiffness=4.0), *[np.ones(P)] * 2, 0 * numbers(2)
    )
    for _ in range(2000):
        chain.step(numbers(3), burnin=10**6)
    np.testing.assert_allclose(chain.slots["root_mass"] ** 2, TARGET.localization / 4.0, rtol=1e-9)


def test_badodab_is_its_splitting():
    step, injected, inertia = 0.1, 1.7, 0.6
    w, anchor, h = numbers(0), numbers(1), np.abs(numbers(2))
    chain = OneChain(BADODAB(step_size=step, friction=injected, inertia=inertia), w, anchor, h)
    p, zeta = numbers(3), injected
    chain.slots["momentum"].copy_(torch.tensor(p))
    mass = inertia * P / injected**2  # μ
    for t in range(4):
        xi = numbers(10 + t)
        chain.step(xi)
        p = p - step / 2 * force(w, anchor, h)
        w = w + step / 2 * p
        zeta = zeta + step / 2 * (p @ p - P) / mass
        c = math.exp(-zeta * step)
        p = c * p + math.sqrt(injected * (1 - c**2) / zeta) * xi
        zeta = zeta + step / 2 * (p @ p - P) / mass
        w = w + step / 2 * p
        np.testing.assert_allclose(chain.w[0], w, rtol=1e-12)
        np.testing.assert_allclose(chain.slots["momentum"][0], p, rtol=1e-12)
        np.testing.assert_allclose(chain.slots["thermostat"][0] * injected, zeta, rtol=1e-12)
        p = p - step / 2 * force(w, anchor, h)


@pytest.mark.parametrize("ratio", [0.0, -0.4])
def test_badodab_passes_through_a_friction_of_nothing_and_below(ratio):
    step, injected = 0.1, 1.7
    chain = OneChain(BADODAB(step_size=step, friction=injected), *[numbers(0)] * 3)
    chain.temperature = lambda: torch.ones(1, dtype=torch.float64)  # ζ stays where it is
    chain.slots["thermostat"].fill_(ratio)
    chain.slots["momentum"].copy_(torch.tensor(numbers(3)))
    kicked = numbers(3) - step / 2 * force(numbers(0), numbers(0), numbers(0))
    chain.step(numbers(4))
    x = 2 * ratio * injected * step
    spread = 2 * injected * step * (1 if ratio == 0 else (1 - math.exp(-x)) / x)
    expected = math.exp(-x / 2) * kicked + math.sqrt(spread) * numbers(4)
    np.testing.assert_allclose(chain.slots["momentum"][0], expected, rtol=1e-12)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, "1e-3"])
@pytest.mark.parametrize(
    "make",
    [
        lambda x: SGLD(step_size=x),
        lambda x: RMSPropSGLD(step_size=x),
        lambda x: BAOAB(step_size=x, friction=1.0),
        lambda x: BAOAB(step_size=1.0, friction=x),
        lambda x: BAOAB(step_size=1.0, friction=1.0, stiffness=x),
        lambda x: BADODAB(step_size=1.0, friction=1.0, stiffness=x),
        lambda x: BADODAB(step_size=x, friction=1.0),
        lambda x: BADODAB(step_size=1.0, friction=x),
        lambda x: BADODAB(step_size=1.0, friction=1.0, inertia=x),
    ],
)
def test_a_step_size_must_be_finite_and_positive(make, bad):
    with pytest.raises(ValueError, match="must be a finite number > 0, got"):
        make(bad)
