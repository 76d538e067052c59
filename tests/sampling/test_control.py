"""Control variates: the same mean, no noise at w*, and a law without the heat of that noise."""

from itertools import combinations

import numpy as np
import pytest
import torch

import creode
from creode.sampling import BAOAB
from creode.sampling.borrow import borrowed
from creode.sampling.choice import make_block
from creode.sampling.control import ControlledBlock, gradient_of_all
from creode.sampling.flat import FlatWeights
from creode.store import Store
from oracles import llc_quadratic
from sampling_cases import (
    EIGENVALUES,
    assert_same,
    draw,
    evenly_noisy_quadratic,
    noisy_quadratic,
    posterior,
)


def gradients(testbed, displacement, mode, size=2):
    """The corrected and the plain gradient at w* + displacement of every minibatch, (K, P)."""
    target = posterior(testbed)
    execution = creode.Execution()
    layout = FlatWeights(target.model, target.selection())
    of_all = gradient_of_all(target, layout, execution, 5)
    anchor = torch.cat(layout.anchor(0, layout.size))
    corrected, plain = [], []
    with borrowed(target.model):
        block = make_block(target, layout, execution, mode=mode, chains=1)
        controlled = ControlledBlock(block, anchor, of_all)
        controlled.position.copy_(anchor + displacement)
        controlled.moved()
        for batch in combinations(range(len(testbed.data)), size):
            index = torch.tensor(batch)[None]
            plain_losses = block.differentiate(testbed.data.batch(index))
            plain.append(block.gradient[0].clone())
            losses = controlled.differentiate(testbed.data.batch(index))
            corrected.append(controlled.gradient[0].clone())
            torch.testing.assert_close(losses.total, plain_losses.total)
        torch.testing.assert_close(controlled.position[0], anchor + displacement)
    return torch.stack(corrected), torch.stack(plain)


@pytest.mark.parametrize("mode", ["sequential", "vectorised"])
def test_corrected_gradients_are_unbiased_and_exact_at_the_anchor(mode):
    testbed = noisy_quadratic(num_samples=7)
    testbed.data.columns["gradients"].add_(0.3)  # so that ∇L_n(w*) is not 0
    displacement = torch.linspace(-0.2, 0.3, 7, dtype=torch.float64)
    corrected, plain = gradients(testbed, displacement, mode)
    exact = 0.3 + testbed.hessian @ displacement
    torch.testing.assert_close(corrected.mean(0), exact)
    torch.testing.assert_close(plain.mean(0), exact)
    assert 0 < corrected.var(0).sum() < 0.1 * plain.var(0).sum()
    corrected, plain = gradients(testbed, torch.zeros(7, dtype=torch.float64), mode)
    torch.testing.assert_close(corrected, torch.full_like(corrected, 0.3))
    assert plain.var(0).min() > 1e-3


@pytest.mark.parametrize("mode", ["sequential", "vectorised"])
def test_a_noisy_quadratic_has_the_law_of_exact_gradients(mode):
    testbed = evenly_noisy_quadratic(1.5)
    sampler = BAOAB(step_size=0.05, friction=8.0)
    options = {"chains": 4, "draws": 400, "burnin": 100, "steps_per_draw": 5, "mode": mode}
    if mode == "sequential":
        options |= {"chains": 2, "draws": 200}
    truth = llc_quadratic(EIGENVALUES, 50.0, 10.0)
    reading = creode.llc(draw(testbed, sampler=sampler, control_variates=True, **options))
    assert abs(float(reading.llc) - truth) < 4 * float(reading.llc_se)
    assert float(reading.llc_se) < 0.1 * truth
    heated = creode.llc(draw(testbed, sampler=sampler, **options))
    assert float(heated.llc) - 4 * float(heated.llc_se) > 1.3 * truth


def test_both_ways_and_an_interrupted_run_give_the_same_chains(tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "snapshot_due", lambda self: True)
    testbed = noisy_quadratic()
    options = {"control_variates": True, "chains": 3}
    whole = draw(testbed, **options)
    assert_same(whole, draw(testbed, mode="vectorised", **options), rtol=1e-9)
    steps = iter(range(100))

    def stop(done, total):
        if next(steps) == 9:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        draw(testbed, out=tmp_path / "run", on_progress=stop, **options)
    assert_same(whole, draw(testbed, out=tmp_path / "run", **options))
    assert not np.allclose(whole["loss"], draw(testbed, chains=3)["loss"])


def test_gradients_are_counted_twice_and_the_pass_over_the_data_once():
    plain = draw(noisy_quadratic(), draws=10, burnin=5, steps_per_draw=2)
    assert plain.attrs["gradient_evaluations"] == 25
    tree = draw(noisy_quadratic(), draws=10, burnin=5, steps_per_draw=2, control_variates=True)
    assert tree.attrs["gradient_evaluations"] == 2 * 25 + 3  # 24 samples, 8 in a batch


def test_control_variates_are_refused_where_they_make_no_sense():
    with pytest.raises(ValueError, match="batch_size is all 24 samples"):
        draw(noisy_quadratic(), batch_size=30, control_variates=True)
    with pytest.raises(ValueError, match="give a kernel, nbeta and localization"):
        creode.sample(posterior(noisy_quadratic()), control_variates=True, batch_size=8)
