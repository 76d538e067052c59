"""Targets that no weights can meet are refused before a solver misses them."""

import numpy as np
import pytest

from creode.patterning import (
    Convex,
    MinimumNorm,
    OutOfReachError,
    SingularResponseError,
    pattern,
)
from creode.patterning.singular import refuse_singular
from patterning_cases import Quadratics
from saved_draws import quadratic_tree, with_responses

SOLVERS = [Convex(), MinimumNorm(), MinimumNorm(ridge=0.0)]


@pytest.fixture(scope="module")
def tree():
    """Observables of which some are the same, or add up, or have no response at all."""
    q = Quadratics()
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 400, len(q.h))) / np.sqrt(q.nbeta * q.h + q.gamma)
    losses = q.losses(w)
    code, prose = losses[..., :6].mean(-1), losses[..., 6:12].mean(-1)
    noisy = code + 1e-3 * code.std() * rng.standard_normal(code.shape)
    phi = {"loss": losses.mean(-1), "code": code, "prose": prose, "twice": 2 * code,
           "sum": code + prose, "noisy": noisy, "still": 0 * code}  # fmt: skip
    tree = quadratic_tree(w, q.h, gamma=q.gamma, nbeta=q.nbeta)
    return with_responses(tree, {"train": losses}, phi)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("target", "keep", "words"),
    [
        (
            {"code": -0.01, "twice": -0.01},
            [],
            r"\+1 code -0.5 twice, and the target does by -0.005",
        ),
        ({"code": -0.01}, ["twice"], r"\+1 code -0.5 twice, and the target does by -0.01:"),
        ({"code": -0.01, "prose": 0.01, "sum": -0.01}, [], "no weights move .*code.*prose.*sum"),
        ({"code": -0.01}, ["noisy"], "code .*noisy, as far as these draws tell.*sample more draws"),
        ({"still": -0.01}, [], "no weights move still, and the target does by -0.01"),
    ],
)
def test_what_answers_alike_does_not_move_apart(tree, solver, target, keep, words):
    with pytest.raises(SingularResponseError, match=words):
        pattern(tree, target, solver, keep=keep)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("target", "keep"),
    [
        ({"code": -0.01, "twice": -0.02}, []),
        ({"code": -0.01, "prose": 0.005, "sum": -0.005}, []),
        ({"code": -0.01, "noisy": -0.01}, []),
        ({"code": -0.01}, ["still", "prose"]),
    ],
)
def test_what_asks_for_the_same_is_met(tree, solver, target, keep):
    """And a target within the singular part's complement is no other than without it."""
    effect = pattern(tree, target, solver, keep=keep).effect
    if "noisy" not in target:
        for name, change in target.items():
            one = effect.sel(observable=name)
            assert float(one["fitted"]) == pytest.approx(change, rel=0.02)
    assert float(effect["predicted"].sel(observable="code")) == pytest.approx(-0.01, rel=0.1)


def test_noise_decides_what_answers_alike():
    """Two rows at a cosine of 0.97: told apart where noise is small, refused where it is not."""
    rng = np.random.default_rng(0)
    one, two = np.linalg.qr(rng.normal(size=(50, 2)))[0].T
    rows = np.stack([one, 0.97 * one + 0.24 * two])
    noise = rng.normal(size=(20, 2, 50))
    noise -= noise.mean(0)
    opposed, alike = np.array([1.0, -1.0]), np.array([1.0, 0.9])
    for size in (0.02, 0.2):
        replicates = rows + size * noise
        refuse_singular(replicates, alike, np.ones(50), ["a", "b"])
        if size > 0.1:
            with pytest.raises(SingularResponseError, match=r"a .*b"):
                refuse_singular(replicates, opposed, np.ones(50), ["a", "b"])
        else:
            refuse_singular(replicates, opposed, np.ones(50), ["a", "b"])


def test_a_factor_on_all_weights_is_no_response():
    """Rows that are alike but for a constant are the same, as weights keep their mean."""
    row = np.random.default_rng(0).normal(size=30)
    sizes = np.random.default_rng(1).integers(1, 5, 30).astype(float)
    replicates = np.stack([row, row + 3 * sizes])[None].repeat(4, 0)
    refuse_singular(replicates, np.array([1.0, 1.0]), sizes, ["a", "b"])
    with pytest.raises(SingularResponseError):
        refuse_singular(replicates, np.array([1.0, -1.0]), sizes, ["a", "b"])
    with pytest.raises(SingularResponseError, match="move flat"):
        refuse_singular(sizes[None, None].repeat(4, 0), np.array([1.0]), sizes, ["flat"])


def test_weights_that_a_few_samples_have_are_out_of_reach(tree):
    with pytest.raises(OutOfReachError, match=r"leave .* % of the samples effective: far beyond"):
        pattern(tree, {"code": -100.0}, MinimumNorm())
