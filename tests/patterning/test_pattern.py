"""Patterns on quadratic losses: what is predicted is what the exact posterior answers."""

import numpy as np
import pytest

import creode
from creode.patterning import (
    Convex,
    Furthest,
    MinimumNorm,
    OutOfReachError,
    TokenWeights,
    UnresolvedError,
    pattern,
)
from creode.patterning.effects import effects
from creode.patterning.problem import Problem
from patterning_cases import Quadratics
from saved_draws import quadratic_tree, with_responses

WISH = {"code": -0.02}


def exact_effect(q, rho):
    """What the exact posterior answers to first order, by observable."""
    return dict(zip(("loss", "code", "prose"), q.effects() @ (rho - 1), strict=True))


@pytest.mark.parametrize("constraint", [Convex(), MinimumNorm(), Convex(measure="entropy")])
def test_with_many_draws_the_effect_is_the_wanted_one(constraint):
    q = Quadratics()
    found = pattern(q.tree(draws=4000), WISH, constraint, keep=["prose"])
    truth = exact_effect(q, found.weights.values)
    effect = found.effect.set_coords([])
    assert abs(found.weights.values.mean() - 1) < 1e-9
    assert truth["code"] == pytest.approx(WISH["code"], rel=0.1)
    assert abs(truth["prose"]) < 0.1 * abs(WISH["code"])
    for name in truth:
        one = effect.sel(observable=name)
        assert abs(float(one["predicted"]) - truth[name]) < 4 * float(one["predicted_se"])
    assert effect["wanted"].sel(observable="prose") == 0
    assert np.isnan(effect["wanted"].sel(observable="loss"))
    assert float(effect["predicted_se"].sel(observable="code")) < 0.1 * abs(WISH["code"])
    assert bool(effect["ok"]), str(effect["reasons"].item())


def test_predictions_are_right_where_the_fit_is_too_good():
    """Few draws, many samples: on its own draws the effect is as asked; in truth it is less."""
    z, fitted, truths = [], [], []
    q = Quadratics(seed=3, num=300, dim=30)
    for seed in range(30):
        found = pattern(q.tree(draws=20, seed=seed), WISH, MinimumNorm(ridge=0.0))
        one = found.effect.sel(observable="code")
        truth = exact_effect(q, found.weights.values)["code"]
        z.append((float(one["predicted"]) - truth) / float(one["predicted_se"]))
        fitted.append(float(one["fitted"]))
        truths.append(truth)
    np.testing.assert_allclose(fitted, WISH["code"], rtol=1e-6)
    assert np.mean(truths) > 0.8 * WISH["code"]  # the wish is not fulfilled …
    assert abs(np.mean(z)) < 0.8, np.mean(z)  # … and the prediction says so
    assert np.sqrt(np.mean(np.square(z))) < 1.6


def test_groups_weigh_alike_and_are_told_from_fewer_draws():
    q = Quadratics(num=40, slope=1.0)
    labels = np.array(["a", "b", "c", "d"])[np.arange(40) % 4]
    effects = {label: q.effects()[1][labels == label].sum() for label in "abcd"}
    least = min(effects, key=effects.get)
    found = pattern(q.tree(draws=400), {"code": 0.2 * effects[least]}, groups=labels)
    weights = {label: found.weights.values[labels == label] for label in "abcd"}
    assert all(np.ptp(w) < 1e-12 for w in weights.values())
    assert max(weights, key=lambda label: weights[label][0]) == least
    assert set(found.weights.groups) == set("abcd")
    assert found.effect.attrs["num_groups"] == 4
    code = found.effect.sel(observable="code")
    assert float(code["fitted"]) == pytest.approx(0.2 * effects[least], rel=1e-4)
    assert abs(float(code["predicted"] - code["wanted"])) < 4 * float(code["predicted_se"])


def test_the_furthest_weights_want_nothing_of_what_is_kept():
    """Rounding leaves the kept one's fitted change at about 1e-17, which is no wish."""
    made = pattern(
        Quadratics().tree(draws=400), {"code": -1.0}, Furthest(least_effective=0.9), keep=["prose"]
    )
    wanted = made.effect["wanted"]
    assert float(wanted.sel(observable="prose")) == 0
    assert float(wanted.sel(observable="code")) == float(
        made.effect["fitted"].sel(observable="code")
    )
    assert float(wanted.sel(observable="code")) < 0


def test_the_ridge_follows_the_noise():
    """Two targets that differ by noise alone: to tell them apart is to follow the noise."""
    q = Quadratics(num=60)
    scale = 1 / np.sqrt(q.nbeta * q.h + q.gamma)
    w = np.random.default_rng(0).standard_normal((4, 40, len(q.h))) * scale
    code = q.losses(w)[..., :6].mean(-1)
    twin = code + code.std() * np.random.default_rng(50).standard_normal(code.shape)
    phi = {"loss": q.losses(w).mean(-1), "code": code, "twin": twin}
    noisy = quadratic_tree(w, q.h, gamma=q.gamma, nbeta=q.nbeta)
    noisy = with_responses(noisy, {"train": q.losses(w)}, phi)
    found = pattern(noisy, {"code": -0.02, "twin": -0.015}, MinimumNorm())
    clear = pattern(q.tree(draws=4000), {"code": -0.02, "prose": -0.015}, MinimumNorm())
    ridges = [
        float(made.effect.attrs["constraint"].split("ridge=")[1].rstrip(")"))
        for made in (found, clear)
    ]
    assert ridges[0] >= 0.01 > ridges[1]


def test_a_direction_that_draws_do_not_resolve_is_refused():
    q = Quadratics()
    tree = q.tree(draws=60)
    rng = np.random.default_rng(0)
    losses = 0.01 * rng.standard_normal((4, 60, 40))
    w = np.zeros((4, 60, 4)) + rng.standard_normal((4, 60, 4)) * 0.05
    noise = quadratic_tree(w, q.h, gamma=q.gamma, nbeta=q.nbeta)
    phi = {"loss": losses.mean(-1), "code": rng.standard_normal((4, 60))}
    noise = with_responses(noise, {"train": losses}, phi)
    with pytest.raises(UnresolvedError, match=r"do not tell which data.*code"):
        pattern(noise, {"code": -1.0}, MinimumNorm(ridge=0.0))
    pattern(tree, WISH)


def test_how_many_draws_would_do_is_about_right():
    q = Quadratics(seed=3, num=100, dim=60)
    told = []
    for seed in range(12):
        try:
            pattern(q.tree(draws=5, seed=seed), WISH, MinimumNorm(ridge=0.0))
        except UnresolvedError as error:
            words = str(error).split("for -0.02. ")[1].split()
            told.append(int(words[2] if words[0] == "At" else words[1]))
    assert len(told) >= 3, told
    enough = 5 * int(np.median(told))
    assert enough <= 60
    for seed in range(100, 105):
        pattern(q.tree(draws=enough, seed=seed), WISH, MinimumNorm(ridge=0.0))


def test_draws_needed_follow_their_law():
    """z grows as √m, and once more as the weights lose their noise: m² (S+V) z² = 9 (m S + V)."""
    found = effects(Quadratics().tree(draws=20), "train", {"code": "code"})
    signal = np.random.default_rng(0).normal(size=40)
    noise = np.random.default_rng(1).normal(size=(20, 1, 40))
    noise -= noise.mean(0)
    for size in (1e-9, 1.0, 3.0):
        values = (signal + size * noise).reshape(4, 5, 1, 40)
        given = Problem(
            found._replace(replicates=values, names=("code",)), np.array([1.0]),
            np.array([True]), np.arange(40), np.zeros(40),
        )  # fmt: skip
        V = size**2 * (noise**2).sum() / (19 * 20)
        S = (signal**2).sum() - V
        for z in (0.3, 1.0, 2.0):
            m = np.roots([z**2 * (S + V), -9 * S, -9 * V]).max()
            assert given.draws_needed("code", z) == pytest.approx(m, rel=0.03)


def test_tokens_are_weighed_as_samples_of_one_would_be():
    q = Quadratics()
    flat = pattern(q.tree(draws=400), WISH, keep=["prose"])
    made = pattern(q.tree(draws=400, tokens=4), WISH, keep=["prose"], units="token")
    assert isinstance(made.weights, TokenWeights)
    assert made.weights.values.shape == (10, 4)
    np.testing.assert_allclose(made.weights.flat, flat.weights.values, atol=1e-8)
    np.testing.assert_allclose(made.effect["predicted"], flat.effect["predicted"], rtol=1e-6)
    assert made.effect.attrs["units"] == "token"
    labels = np.arange(40) % 4
    wish = {"code": 0.2 * q.effects()[1].reshape(10, 4).sum(0).min()}
    of_samples = pattern(q.tree(draws=400), wish, groups=labels)
    grouped = pattern(
        q.tree(draws=400, tokens=4), wish, groups=labels.reshape(10, 4), units="token"
    )
    np.testing.assert_allclose(grouped.weights.flat, of_samples.weights.values, atol=1e-8)
    assert grouped.weights.groups == of_samples.weights.groups
    by_sample = pattern(q.tree(draws=400, tokens=4), WISH, groups=range(10), units="token")
    assert (np.ptp(by_sample.weights.values, axis=1) < 1e-12).all()


def test_what_cannot_be_had_is_out_of_reach():
    with pytest.raises(OutOfReachError, match="of the target"):
        pattern(Quadratics().tree(), {"code": -100.0})


def test_wrong_input_is_told():
    tree = Quadratics().tree(draws=40)
    with pytest.raises(ValueError, match="asks for no change"):
        pattern(tree, {})
    with pytest.raises(ValueError, match="asks for no change"):
        pattern(tree, {"code": 0.0})
    with pytest.raises(ValueError, match="finite"):
        pattern(tree, {"code": float("nan")})
    with pytest.raises(ValueError, match="say one of the two"):
        pattern(tree, WISH, keep=["code"])
    with pytest.raises(ValueError, match="list of names"):
        pattern(tree, WISH, keep="prose")
    with pytest.raises(ValueError, match="no observables of these draws"):
        pattern(tree, {"poems": -1.0})
    with pytest.raises(ValueError, match="one label a sample"):
        pattern(tree, WISH, groups=["a", "b"])
    with pytest.raises(ValueError, match="all samples are of one group"):
        pattern(tree, WISH, groups=["a"] * 40)
    with pytest.raises(ValueError, match="not a probe"):
        pattern(tree, WISH, on="data")


def test_it_is_at_the_root():
    assert creode.pattern is pattern
