"""Weights of least change against independent solutions of the same problems."""

import numpy as np
import pytest
from scipy import optimize

from creode.patterning import Convex, Furthest, MinimumNorm, OutOfReachError


def problem(seed=0, num=30, targets=2, groups=False):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, num).astype(float) if groups else np.ones(num)
    effects = rng.normal(size=(targets, num)) * sizes * [[1e-3], [1.0]][:targets] + 0.1 * sizes
    return effects, np.array([2e-3, 1.0])[:targets], sizes


def independent(effects, target, sizes, constraint):
    """The same by sequential quadratic programming."""
    total = sizes.sum()
    scale = abs(effects).max(1)

    def change(rho):
        if constraint.measure == "norm":
            return float(sizes @ (rho - 1) ** 2) / total
        return float(sizes @ (rho * np.log(np.maximum(rho, 1e-12)))) / total

    conditions = [
        {"type": "eq", "fun": lambda rho: (effects @ (rho - 1) - target) / scale},
        {"type": "eq", "fun": lambda rho: sizes @ (rho - 1) / total},
        {"type": "ineq", "fun": lambda rho: 1 / constraint.least_effective
         - sizes @ rho**2 / total},
    ]  # fmt: skip
    out = optimize.minimize(
        change, np.ones(len(sizes)), method="SLSQP", bounds=[(0, constraint.most)] * len(sizes),
        constraints=conditions, options={"maxiter": 2000, "ftol": 1e-14},
    )  # fmt: skip
    assert out.success, out.message
    return out.x


@pytest.mark.parametrize("groups", [False, True])
def test_the_minimum_norm_is_that_of_all_solutions(groups):
    effects, target, sizes = problem(groups=groups)
    r = MinimumNorm(ridge=0.0).solve(effects, target, sizes)
    rows = np.vstack([effects, sizes]) / np.sqrt(sizes)
    least = np.linalg.lstsq(rows, np.append(target, 0.0), rcond=None)[0] / np.sqrt(sizes)
    np.testing.assert_allclose(r, least, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(effects @ r, target, rtol=1e-8)
    assert abs(sizes @ r) < 1e-8


def test_a_ridge_is_the_penalty_it_says():
    effects, target, sizes = problem()
    r = MinimumNorm(ridge=0.5).solve(effects[1:], target[1:], sizes)
    strength = 0.5 * np.trace(effects[1:] @ effects[1:].T)

    def penalised(x):
        return ((effects[1:] @ x - target[1:]) ** 2).sum() / strength + (x**2).sum()

    out = optimize.minimize(
        penalised, np.zeros(30), method="SLSQP", options={"ftol": 1e-15, "maxiter": 1000},
        constraints={"type": "eq", "fun": lambda x: x.sum()},
    )  # fmt: skip
    np.testing.assert_allclose(r, out.x, atol=1e-5)
    assert 0 < (effects[1:] @ r)[0] < target[1]


def test_repeated_targets_do_not_break_the_pseudo_inverse():
    effects, target, sizes = problem()
    twice = np.vstack([effects, effects[:1]])
    r = MinimumNorm(ridge=0.0).solve(twice, np.append(target, target[0]), sizes)
    once = MinimumNorm(ridge=0.0).solve(effects, target, sizes)
    np.testing.assert_allclose(r, once, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize(
    "constraint",
    [
        Convex(),
        Convex(most=1.5),
        Convex(measure="entropy"),
        Convex(measure="entropy", least_effective=0.9),
    ],
)
def test_convex_weights_are_those_of_another_method(constraint, groups):
    effects, target, sizes = problem(groups=groups)
    share = {True: 0.1, False: 3.0}[groups]
    target = share * target
    rho = 1 + constraint.solve(effects, target, sizes)
    other = independent(effects, target, sizes, constraint)
    np.testing.assert_allclose(rho, other, atol=3e-3)
    assert (abs(effects @ (rho - 1) - target) < 1e-6 * abs(effects).sum(1)).all()
    assert rho.min() >= 0
    assert abs(sizes @ rho / sizes.sum() - 1) < 1e-8
    assert rho.max() <= (constraint.most or np.inf) * (1 + 1e-6)
    effective = sizes.sum() / (sizes @ rho**2)
    assert effective >= constraint.least_effective * (1 - 1e-6)


def test_weights_that_are_bounded_differ_from_those_that_are_not():
    effects, target, sizes = problem()
    free = MinimumNorm(ridge=0.0).solve(effects, 12 * target, sizes)
    assert free.min() < -1
    assert (1 + Convex().solve(effects, 12 * target, sizes)).min() >= 0


@pytest.mark.parametrize("constraint", [Convex(), Convex(most=2.0), Convex(least_effective=0.8)])
def test_a_target_out_of_reach_says_how_much_is_within(constraint):
    effects, target, sizes = problem(targets=1)
    with pytest.raises(OutOfReachError) as caught:
        constraint.solve(effects, 1e4 * target, sizes)
    share = float(str(caught.value).split("at most ")[1].split(" %")[0]) / 100
    assert 0 <= share < 0.05
    best = optimize.minimize(
        lambda rho: -effects[0] @ (rho - 1), np.ones(30), method="SLSQP",
        bounds=[(0, constraint.most)] * 30, options={"maxiter": 2000, "ftol": 1e-12},
        constraints=[
            {"type": "eq", "fun": lambda rho: rho.mean() - 1},
            {"type": "ineq", "fun": lambda rho: 1 / constraint.least_effective
             - (rho**2).mean()},
        ],
    )  # fmt: skip
    most = -best.fun / target[0]
    constraint.solve(effects, 0.98 * most * target, sizes)
    with pytest.raises(OutOfReachError, match=r"at most (97|98|99) %"):
        constraint.solve(effects, 1.02 * most * target, sizes)


def test_contradictory_targets_are_out_of_reach():
    effects, _, sizes = problem(targets=1)
    twice = np.vstack([effects, effects])
    with pytest.raises(OutOfReachError, match="at most 0 %"):
        Convex().solve(twice, np.array([0.1e-3, -0.1e-3]), sizes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Convex(least_effective=0.0),
        lambda: Convex(most=1.0),
        lambda: Convex(measure="kl"),
        lambda: MinimumNorm(ridge=-1.0),
        lambda: MinimumNorm(ridge="best"),
    ],
)
def test_settings_check_themselves(make):
    with pytest.raises(ValueError, match="must be"):
        make()


@pytest.mark.parametrize(
    "given",
    [
        {"least_effective": 0.9},
        {"least_effective": 0.4, "least": 0.3},
        {"least_effective": 0.2, "least": 0.1, "most": 2.5},
    ],
)
@pytest.mark.parametrize("targets", [1, 2])
def test_the_furthest_weights_are_those_of_an_independent_solution(given, targets):
    """Of two targets the second is kept where it is."""
    effects, target, sizes = problem(targets=targets, groups=True)
    target[1:] = 0.0
    r = Furthest(**given).solve(effects, -target, sizes)
    total, most = sizes.sum(), given.get("most")
    conditions = [
        {"type": "eq", "fun": lambda rho: sizes @ (rho - 1) / total},
        {"type": "eq", "fun": lambda rho: effects[1:] @ (rho - 1)},
        {"type": "ineq", "fun": lambda rho: 1 / given["least_effective"] - sizes @ rho**2 / total},
    ]
    out = optimize.minimize(
        lambda rho: effects[0] @ (rho - 1) / abs(effects[0]).max(), np.ones(len(sizes)),
        method="SLSQP", bounds=[(given.get("least", 0.0), most)] * len(sizes),
        constraints=conditions if targets > 1 else conditions[::2],
        options={"maxiter": 2000, "ftol": 1e-13},
    )  # fmt: skip
    assert out.success, out.message
    reached = [effects[0] @ r, effects[0] @ (out.x - 1)]
    assert reached[0] == pytest.approx(reached[1], rel=1e-5)
    np.testing.assert_allclose(1 + r, out.x, atol=1e-2)  # along the boundary the effect is flat
    assert abs(sizes @ r) < 1e-6
    assert (1 + r).min() > given.get("least", 0.0) - 1e-6


def test_a_least_weight_is_kept_by_the_least_change_too():
    effects, target, sizes = problem()
    free = 1 + Convex().solve(effects, 3 * target, sizes)
    held = 1 + Convex(least=0.5).solve(effects, 3 * target, sizes)
    assert free.min() < 0.45
    assert held.min() == pytest.approx(0.5, abs=1e-5)
    np.testing.assert_allclose(effects @ (held - 1), 3 * target, rtol=1e-5)
    with pytest.raises(ValueError, match=r"least must be in \[0, 1\)"):
        Furthest(least=1.0)
    with pytest.raises(OutOfReachError, match=r"at least 0\.9, of mean 1"):
        Convex(least=0.9).solve(effects, 3 * target, sizes)
