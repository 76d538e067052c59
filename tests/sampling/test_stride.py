"""Steps that answer to the curvature: their length, their parts, the law they keep, their cost."""

import math

import numpy as np
import pytest
import torch

import creode
from creode.data import Samples
from creode.sampling import BAOAB, SGLD, Execution
from creode.sampling.borrow import borrowed
from creode.sampling.choice import make_block
from creode.sampling.flat import FlatWeights
from creode.sampling.kernel import Coordinates, Target
from creode.sampling.sequential import SequentialBlock
from creode.sampling.stride import EVERY, FIRST_LOOKS, FORGET, MARGIN, MOST_PARTS, SHARE, Stride
from creode.testbeds import quadratic
from oracles import llc_quadratic
from sampling_cases import EIGENVALUES, assert_same, draw, noisy_quadratic, posterior

NBETA, GAMMA = 50.0, 10.0
STIFFEST = MARGIN * NBETA * max(EIGENVALUES) + GAMMA


class Hill(torch.nn.Module):
    """A weight whose loss is ½ x² near 0 and forty times as steep beyond 1."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, batch):
        return batch["one"] * hill(self.weight[0])


def hill(x):
    beyond = abs(x) - 1
    return x**2 / 2 + torch.where(beyond > 0, 20 * beyond**2, 0 * beyond)


def hill_posterior(nbeta=3.0, localization=0.5):
    data = Samples(columns={"one": torch.ones(4, dtype=torch.float64)})
    return creode.LocalPosterior(
        Hill(), lambda model, batch: model(batch), data, nbeta=nbeta, localization=localization
    )


def stride_of(block, *, longest=1e9, relative=1.0, burnin=100):
    target = Target(nbeta=NBETA, localization=GAMMA)
    return Stride(block, target, longest=longest, relative=relative, burnin=burnin)


def looked(testbed, *, looks=60, chains=3, **options):
    """A stride after many looks at w*, and what the block was before and after the last."""
    asked = posterior(testbed)
    flat = FlatWeights(asked.model, asked.selection())
    size = len(testbed.data)
    batch = {
        n: c.expand(chains, *c.shape) for n, c in testbed.data.batch(torch.arange(size)).items()
    }
    with borrowed(asked.model), torch.no_grad():
        block = make_block(asked, flat, Execution(), mode="vectorised", chains=chains)
        block.position += 0.1
        block.differentiate(batch)
        before = block.position.clone(), block.gradient.clone()
        stride = stride_of(block, **options)
        generator = torch.Generator().manual_seed(0)
        for number in range(looks):
            momentum = torch.randn(block.position.shape, generator=generator, dtype=flat.dtype)
            stride.look(number * EVERY, batch, momentum)
        after = block.position.clone(), block.gradient.clone()
    return stride, before, after


def test_in_burnin_a_step_is_as_long_as_the_largest_curvature_allows():
    stride, *_ = looked(quadratic(EIGENVALUES, num_samples=4))
    parts, length = stride.parts(0)
    assert parts == 1
    assert length == pytest.approx(STIFFEST**-0.5, rel=0.02)


def test_no_step_is_longer_than_the_longest():
    stride, *_ = looked(quadratic(EIGENVALUES, num_samples=4), longest=0.01)
    assert stride.parts(0) == (1, 0.01)


def test_a_look_leaves_weights_and_gradient_to_the_bit():
    _, before, after = looked(noisy_quadratic())
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_a_stiffer_direction_across_the_one_followed_is_found():
    testbed = quadratic(EIGENVALUES, num_samples=4)
    asked = posterior(testbed)
    flat = FlatWeights(asked.model, asked.selection())
    batch = {n: c[None] for n, c in testbed.data.batch(torch.arange(4)).items()}
    with borrowed(asked.model), torch.no_grad():
        block = make_block(asked, flat, Execution(), mode="vectorised", chains=1)
        block.differentiate(batch)
        stride = stride_of(block)
        stride._direction[0, 3] = 1.0  # an eigenvector, of 3
        for number in range(1, 40):
            stride.look(number * EVERY, batch, torch.ones_like(block.position))
    assert float(stride._curvature[0]) == pytest.approx(4.0, rel=0.01)


def test_looks_are_counted():
    stride, *_ = looked(quadratic(EIGENVALUES, num_samples=4), looks=5)
    assert stride.extra == FIRST_LOOKS + 4


def test_after_burnin_steps_have_one_length_and_parts_where_it_is_too_long():
    stride, *_ = looked(quadratic(EIGENVALUES, num_samples=4), burnin=4)
    usual = [stride.parts(step)[1] for step in range(4)][-1]
    assert stride.parts(4) == (1, pytest.approx(SHARE * usual))
    stride._curvature *= 4  # as if the chain had come to where it is so stiff
    stiffer = MARGIN * NBETA * 4 * max(EIGENVALUES) + GAMMA
    parts, length = stride.parts(5)
    assert parts == math.ceil(SHARE * usual * stiffer**0.5)
    assert parts > 1
    assert parts * length == pytest.approx(stride.fixed)
    stride._curvature *= 1e9
    assert stride.parts(6)[0] == MOST_PARTS


def test_the_first_half_of_burnin_does_not_count():
    stride, *_ = looked(quadratic(EIGENVALUES, num_samples=4), burnin=10)
    stride._curvature *= 100  # as if the way out from w* were stiff
    for step in range(5):
        stride.parts(step)
    stride._curvature /= 100
    usual = [stride.parts(step)[1] for step in range(5, 10)][-1]
    assert stride.parts(10)[1] == pytest.approx(SHARE * usual)


def test_what_was_stiff_is_forgotten_slowly_and_what_becomes_stiff_is_seen_at_once():
    asked = hill_posterior()
    flat = FlatWeights(asked.model, asked.selection())
    batch = {"one": torch.ones(1, 4, dtype=torch.float64)}
    seen = []
    with borrowed(asked.model), torch.no_grad():
        block = make_block(asked, flat, Execution(), mode="vectorised", chains=1)
        stride = stride_of(block)
        for number, place in enumerate((0.0, 3.0, 0.0, 0.0)):
            block.position.fill_(place)
            block.differentiate(batch)
            stride.look(number * EVERY, batch, torch.ones_like(block.position))
            seen.append(float(stride._curvature[0]))
    assert seen == pytest.approx([1.0, 41.0, FORGET * 41, FORGET**2 * 41])


def test_without_burnin_the_first_step_sets_the_length():
    stride, *_ = looked(quadratic(EIGENVALUES, num_samples=4), burnin=0)
    assert stride.parts(0)[1] == pytest.approx(SHARE * STIFFEST**-0.5, rel=0.02)


def test_one_chain_that_is_lost_does_not_stop_the_others():
    stride, *_ = looked(quadratic(EIGENVALUES, num_samples=4))
    whole = stride.parts(0)
    stride._curvature[1] = torch.nan
    assert stride.parts(0) == whole


@pytest.mark.parametrize("batch_size", [4, 24])
def test_on_a_quadratic_the_law_of_the_weights_is_exact(batch_size):
    """With minibatches too, whose gradients are all the same here: noise would heat."""
    testbed = quadratic(EIGENVALUES, num_samples=24, offset_scale=1.0)
    sampler = BAOAB(step_size=1.0, friction=8.0, relative_step=1.0)
    tree = draw(
        testbed, sampler=sampler, batch_size=batch_size, chains=4, draws=500, burnin=100,
        steps_per_draw=8, mode="vectorised",
    )  # fmt: skip
    reading = creode.llc(tree)
    exact = llc_quadratic(EIGENVALUES, NBETA, GAMMA)
    assert abs(float(reading.llc) - exact) < 4 * float(reading.llc_se)
    assert float(reading.llc_se) < 0.02 * exact
    assert abs(float(reading.temperature) - 1) < 4 * float(reading.temperature_se)
    assert tree.attrs["step_length"] == pytest.approx(SHARE * STIFFEST**-0.5, rel=0.05)


def test_where_the_curvature_changes_the_law_is_kept_and_steps_come_in_parts():
    """Against quadrature. A fixed step as long as the longest does not have this law."""
    nbeta, gamma = 3.0, 0.5
    x = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    weight = torch.exp(-nbeta * hill(x) - gamma * x**2 / 2)
    exact = nbeta * float((hill(x) * weight).sum() / weight.sum())
    options = {
        "chains": 4, "draws": 2000, "burnin": 400, "steps_per_draw": 10, "batch_size": 4,
        "execution": Execution(mode="vectorised"),
    }  # fmt: skip
    asked = hill_posterior(nbeta, gamma)
    longest = 1.0 / (nbeta + gamma) ** 0.5
    found = creode.sample(
        asked, sampler=BAOAB(step_size=longest, friction=2.0, relative_step=0.4), **options
    )
    reading = creode.llc(found)
    assert abs(float(reading.llc) - exact) < 4 * float(reading.llc_se)
    assert float(reading.llc_se) < 0.02 * exact
    steps = 400 + 2000 * 10
    assert found.attrs["gradient_evaluations"] > 1.15 * (steps + steps / EVERY)  # parts
    fixed = creode.llc(
        creode.sample(asked, sampler=BAOAB(step_size=longest, friction=2.0), **options)
    )
    assert not abs(float(fixed.llc) - exact) < 4 * float(fixed.llc_se)


def test_the_cost_that_is_told_is_what_was_spent(monkeypatch):
    taken = []
    differentiate = SequentialBlock.differentiate

    def counted(block, batch):
        taken.append(batch)
        return differentiate(block, batch)

    monkeypatch.setattr(SequentialBlock, "differentiate", counted)
    sampler = BAOAB(step_size=0.3, friction=2.0, relative_step=0.4)
    tree = creode.sample(
        hill_posterior(), sampler=sampler, chains=1, draws=50, burnin=40, steps_per_draw=5,
        batch_size=2, execution=Execution(mode="sequential"),
    )  # fmt: skip
    assert tree.attrs["gradient_evaluations"] == len(taken)


def test_a_chain_by_itself_is_the_same_in_turn_and_in_a_block():
    sampler = BAOAB(step_size=0.3, friction=4.0, relative_step=0.7)
    one, other = (
        draw(noisy_quadratic(), sampler=sampler, chains=1, burnin=20, mode=mode)
        for mode in ("sequential", "vectorised")
    )
    assert_same(one, other, rtol=1e-9)


def test_pieces_of_the_weights_do_not_matter(monkeypatch):
    sampler = BAOAB(step_size=0.3, friction=4.0, relative_step=0.7)
    whole = draw(noisy_quadratic(), sampler=sampler)
    monkeypatch.setattr("creode.sampling.engine.CHUNK", 16)
    assert_same(whole, draw(noisy_quadratic(), sampler=sampler))


@pytest.mark.parametrize("make", [hill_posterior, lambda: posterior(noisy_quadratic())])
def test_a_run_that_was_stopped_continues_to_the_bit(make, tmp_path):
    sampler = BAOAB(step_size=0.3, friction=2.0, relative_step=0.4)
    options = {
        "sampler": sampler, "chains": 2, "draws": 30, "burnin": 30, "steps_per_draw": 4,
        "batch_size": 2, "execution": Execution(mode="sequential"),
    }  # fmt: skip

    class StoppedError(Exception):
        pass

    def stop_at(number):
        def on_progress(done, total):
            if done >= number:
                raise StoppedError

        return on_progress

    whole = creode.sample(make(), **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("creode.store.Store.snapshot_due", lambda store: True)
        for at in (20, 77, 200):  # in burn-in, after it, in the second chain
            with pytest.raises(StoppedError):
                creode.sample(make(), out=str(tmp_path), on_progress=stop_at(at), **options)
    again = creode.sample(make(), out=str(tmp_path), **options)
    assert_same(whole, again)
    assert whole.attrs["gradient_evaluations"] == again.attrs["gradient_evaluations"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relative_step": 2.0}, "relative_step must be below 2"),
        ({"relative_step": 0.0}, "relative_step must be a finite number > 0"),
        ({"relative_step": 1.0, "stiffness": 4.0}, "has no masses beside it"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BAOAB(step_size=1.0, friction=1.0, **settings)


def test_a_stride_closes_the_step_before_and_opens_its_own():
    """Kick (before + length)/2, drift length; with hardly any friction and no noise."""
    w, p, g = (torch.tensor([row], dtype=torch.float64) for row in ([1.0, 2], [0.5, -1], [3.0, 4]))
    before, length, nbeta, gamma = 0.1, 0.3, 5.0, 2.0
    at = Coordinates(
        position=w.clone(), gradient=g, anchor=torch.zeros(2, dtype=torch.float64),
        noise=torch.zeros_like(w), scratch=torch.empty_like(w), slots={"momentum": p.clone()},
    )  # fmt: skip
    kernel = BAOAB(step_size=1.0, friction=1e-12, relative_step=1.0)
    kernel.stride(at, Target(nbeta=nbeta, localization=gamma), before=before, length=length)
    kicked = p - (before + length) / 2 * (nbeta * g + gamma * w)
    assert torch.allclose(at.slots["momentum"], kicked)
    assert torch.allclose(at.position, w + length * kicked)


def test_half_a_step_is_half_of_both_bounds():
    kernel = BAOAB(step_size=1.0, friction=3.0, relative_step=1.2)
    assert kernel.halved(2) == BAOAB(step_size=0.25, friction=3.0, relative_step=0.3)
    assert BAOAB(step_size=1.0, friction=3.0).halved(1).relative_step is None


def test_kernels_without_it_are_as_they_were():
    tree = draw(noisy_quadratic(), sampler=SGLD(step_size=4e-3))
    assert "step_length" not in tree.attrs
    assert tree.attrs["gradient_evaluations"] == 5 + 10 * 2
    assert np.isfinite(tree["loss"]).all()
