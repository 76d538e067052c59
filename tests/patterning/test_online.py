"""Rounds of patterning on losses whose minimum, and whose posterior, are known for any weights."""

import functools
import json

import numpy as np
import pytest
import torch

from creode.patterning import (
    OutOfReachError,
    SampleWeights,
    Steering,
    UnresolvedError,
    online,
    pattern,
)
from creode.patterning.effects import effects
from patterning_cases import Quadratics


class Point(torch.nn.Module):
    """Weights of a model that is nothing else."""

    def __init__(self, w):
        super().__init__()
        self.w = torch.nn.Parameter(torch.from_numpy(np.asarray(w, np.float64)))


def steered(q, target, *, draws=500, seed=0, train=None, **more):
    """Every round trains to the end and draws exactly."""

    def to_the_end(model, weights, number):
        return Point(q.minimum(weights.numpy()))

    def draw(model, weights, number):
        rho = np.ones(len(q.g)) if weights is None else weights.numpy()
        np.testing.assert_allclose(model.w.detach().numpy(), q.minimum(rho), atol=1e-12)
        return q.around(rho, draws=draws, seed=100 * seed + number)

    def measure(model):
        return q.measured(model.w.detach().numpy())

    start = Point(q.minimum(np.ones(len(q.g))))
    return online(start, target, train=train or to_the_end, draw=draw, measure=measure, **more)


@pytest.fixture(scope="module")
def regression():
    return Quadratics(nbeta=4000.0, gamma=1.0, spread=0.3)


def missed(q, out, wish):
    """What is missing after each round of observables that were aimed at."""
    left = out.rounds["after"] - out.rounds["before"].isel(round=0)
    return np.hypot(left.sel(observable="code") - wish, left.sel(observable="prose")).values


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_rounds_reach_what_one_step_misses(seed):
    """A third of the way to the least that the observable can be; bars set on seeds 1 to 8."""
    q = Quadratics(seed=seed, nbeta=4000.0, gamma=1.0, spread=0.3)
    slope, hessian = q.g[:6].mean(0), q.a[:6].mean(0)
    wish = -0.3 * slope @ np.linalg.solve(hessian, slope) / 2
    out = steered(q, {"code": wish}, keep=["prose"], draws=4000, steering=Steering(tolerance=0.02))
    left = missed(q, out, wish) / abs(wish)
    assert out.rounds.attrs["ended_by"] == "reached"
    assert left[0] > 0.08
    assert left[-1] < min(0.03, left[0] / 5)
    np.testing.assert_allclose(out.model.w.detach(), q.minimum(out.weights.values), atol=1e-12)


def test_a_round_that_leads_away_is_taken_back(regression):
    """Near the least that the observable can be, first order says too much."""
    wish = -0.04
    out = steered(regression, {"code": wish}, keep=["prose"], draws=2000)
    left, kept = missed(regression, out, wish), out.rounds["kept"].values
    stride = out.rounds["stride"].values
    assert kept[0]
    assert not kept.all()
    best = np.minimum.accumulate(np.where(kept, left, np.inf))
    before = np.append(np.inf, best[:-1])
    assert (kept == (left < before)).all()
    expected = [1.0]
    for one in kept[:-1]:
        expected.append(min(2 * expected[-1], 1.0) if one else expected[-1] / 2)
    np.testing.assert_allclose(stride, expected)
    code = out.rounds.sel(observable="code")
    np.testing.assert_allclose(
        regression.measured(out.model.w.detach().numpy())["code"], code["after"].values[kept][-1]
    )
    np.testing.assert_allclose(code["before"].values[1:][~kept[:-1]],
                               code["before"].values[:-1][~kept[:-1]])  # fmt: skip


def test_effects_at_other_weights_are_those_of_the_reweighted_posterior(regression):
    """A finite difference of the reweighted minimum, and the change that a pattern is told."""
    rho = 1 + 0.1 * np.random.default_rng(0).normal(size=40)
    rho /= rho.mean()
    tree = regression.around(rho, draws=4000)
    found = effects(tree, "train", {"code": "code"})
    step = np.random.default_rng(1).normal(size=40)
    step -= step.mean()
    ends = [regression.measured(regression.minimum(rho + h * step))["code"] for h in (1e-4, -1e-4)]
    slope = found.replicates[:, :, 0] @ step
    error = slope.std(ddof=1) / slope.size**0.5
    assert abs(slope.mean() - (ends[0] - ends[1]) / 2e-4) < 4 * error
    assert error < 0.05 * abs(slope.mean())
    now = SampleWeights(values=rho, fingerprint="probe")
    made = pattern(tree, {"code": -0.002}, around=now)
    one = made.effect.sel(observable="code")
    assert float(one["fitted"]) == pytest.approx(-0.002, rel=0.01)
    exact = regression.measured(regression.minimum(made.weights.values))["code"]
    before = regression.measured(regression.minimum(rho))["code"]
    assert exact - before == pytest.approx(-0.002, rel=0.2)
    whole = made.explained.sel(observable="code", explanation="loss")
    assert abs(float(whole["predicted"] + whole["beyond"] - one["predicted"])) < 1e-12


def test_the_change_is_the_least_from_uniform_weights(regression):
    """Asked to go back to where uniform weights were, a round finds uniform weights."""
    rho = pattern(regression.around(np.ones(40), draws=4000), {"code": -0.003}).weights
    tree = regression.around(rho.values, draws=4000)
    back = effects(tree, "train", {"code": "code"}).mean[0] @ (1 - rho.values)
    made = pattern(tree, {"code": float(back)}, around=rho)
    np.testing.assert_allclose(made.weights.values, 1, atol=1e-5)


def test_an_interrupted_run_goes_on_to_the_same_end(regression, tmp_path):
    wish = {"code": -0.02}
    whole = steered(regression, wish, steering=Steering(tolerance=0.01))
    made = []

    def train(model, weights, number):
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(number)
        return Point(regression.minimum(weights.numpy()))

    more = {"steering": Steering(tolerance=0.01), "out": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        steered(regression, wish, train=train, **more)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["online.json", "round-000"]
    made.clear()
    out = steered(regression, wish, train=train, **more)
    assert made == [1]
    assert out.rounds.identical(whole.rounds)
    assert torch.equal(out.model.w, whole.model.w)
    assert json.loads((tmp_path / "round-001/round.json").read_text())["after"]
    with pytest.raises(ValueError, match="rounds of another target"):
        steered(regression, {"code": -0.03}, **more)
    with pytest.raises(ValueError, match="rounds of another made_with"):
        steered(regression, wish, made_with={"steps": 3}, **more)


def test_what_it_asks_for_is_what_is_missing(regression):
    out = steered(
        regression, {"code": -0.02}, steering=Steering(rounds=3, stride=0.5, tolerance=0.01)
    ).rounds
    assert out.attrs["ended_by"] == "rounds"
    assert out.sizes["round"] == 3
    code = out.sel(observable="code")
    missing = code["before"].values[0] - 0.02 - code["before"].values
    np.testing.assert_allclose(code["wanted"], missing / 2)
    np.testing.assert_allclose(code["predicted"], missing / 2, rtol=0.2)
    np.testing.assert_allclose(code["achieved"], missing / 2, rtol=0.2)
    np.testing.assert_allclose(code["before"].values[1:], code["after"].values[:-1])
    assert out["wanted"].sel(observable="prose").isnull().all()
    assert out["predicted"].sel(observable="prose").notnull().all()


def test_what_ends_it(regression):
    choose = functools.partial(pattern, on="train")
    there = steered(regression, {"code": -0.0001}, choose=choose, keep=["prose"])
    assert there.rounds.attrs["ended_by"] == "reached"
    with pytest.raises(OutOfReachError):
        steered(regression, {"code": -100.0})
    calls = []

    def fails(*args, **options):
        calls.append(options)
        if len(calls) == 2:
            raise UnresolvedError("no more is told")
        return pattern(*args, **options)

    out = steered(regression, {"code": -0.03}, choose=fails, steering=Steering(tolerance=0.001))
    assert out.rounds.attrs["ended_by"] == "no more is told"
    assert out.rounds.sizes["round"] == 1
    assert out.weights is calls[1]["around"]
    with pytest.raises(ValueError, match="are missing"):
        steered(regression, {"poems": -0.1})
    with pytest.raises(ValueError, match="asks for no change"):
        steered(regression, {"code": 0.0})
    for wrong in ({"rounds": 0}, {"stride": 0.0}, {"tolerance": 1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Steering(**wrong)


def test_present_weights_are_of_the_same_data_and_groups(regression):
    tree = regression.around(np.ones(40), draws=100)
    other = SampleWeights(values=np.ones(40), fingerprint="other")
    with pytest.raises(ValueError, match="weights of other data"):
        pattern(tree, {"code": -0.001}, around=other)
    uneven = SampleWeights(values=np.arange(40) / 19.5, fingerprint="probe")
    with pytest.raises(ValueError, match="weighs samples of one group differently"):
        pattern(tree, {"code": -0.001}, around=uneven, groups=np.arange(40) % 2)
