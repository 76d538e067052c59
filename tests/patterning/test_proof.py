"""Proofs on losses whose retrained minimum is known for any weights."""

import json

import numpy as np
import pytest

from creode.patterning import pattern, verify
from patterning_cases import Quadratics

WISH = {"code": -0.01}


def proof(q, made, *, noise=0.0, **more):
    """Retrain exactly; every seed measures with noise of its own, and each arm with a little."""

    def train(weights, seed):
        rho = np.ones(len(q.g)) if weights is None else weights.numpy()
        return q.minimum(rho), np.random.default_rng([seed, int(1e6 * rho[0])])

    def measure(trained):
        w, rng = trained
        return {name: v + noise * rng.normal() for name, v in q.measured(w).items()}

    return verify(made, train, measure, **more)


@pytest.fixture(scope="module")
def regression():
    """Colder than elsewhere: the posterior's mean is then where training ends."""
    return Quadratics(nbeta=4000.0, gamma=1.0, spread=0.1)


@pytest.fixture(scope="module")
def made(regression):
    return pattern(regression.tree(draws=2000), WISH)


def test_in_the_linear_regime_predicted_and_achieved_agree(regression):
    """Within the intervals of 95 %, which are a small part of the effect."""
    agreed = 0
    for seed in range(12):
        tree = regression.tree(draws=500, seed=seed)
        small = pattern(tree, {"code": -0.0005}, keep=["prose"])
        out = proof(regression, small, noise=2e-6)
        assert out.attrs["verdict"] == "confirmed", out.attrs["reasons"]
        assert float(out["predicted_se"].sel(observable="code")) < 0.1 * 0.0005
        assert out["wanted"].sel(observable="prose") == 0
        agreed += int(out["agrees"].sum())
    assert agreed >= 21, agreed  # of 24


def test_a_step_beyond_the_linear_regime_is_seen_not_to_agree(regression, made):
    out = proof(regression, made, noise=1e-5).sel(observable="code")
    assert out.attrs["verdict"] == "confirmed", out.attrs["reasons"]
    assert not out["agrees"]
    assert float(out["achieved"]) == pytest.approx(WISH["code"], rel=0.2)
    assert float(out["gap_high"]) < 0


def test_differences_are_paired_over_seeds(regression, made):
    out = proof(regression, made, noise=1e-3, seeds=range(6))
    code = out["value"].sel(observable="code")
    paired = (code.sel(arm="patterned") - code.sel(arm="permuted")).values
    half = 2.570582 * paired.std(ddof=1) / 6**0.5  # Student, 5 degrees of freedom
    assert float(out["gap"].sel(observable="code")) == pytest.approx(paired.mean())
    assert float(out["gap_low"].sel(observable="code")) == pytest.approx(paired.mean() - half)
    chance = (code.sel(arm="permuted") - code.sel(arm="uniform")).values
    assert float(out["moved_by_chance"].sel(observable="code")) == pytest.approx(chance.mean())


def test_noise_is_not_confirmed(regression, made):
    out = proof(regression, made, noise=0.5)
    assert out.attrs["verdict"] == "not confirmed"
    assert "code is not told from the permuted arm" in out.attrs["reasons"]


def test_an_effect_that_any_weights_have_is_not_confirmed(made):
    """Against the uniform arm it looks right; against the permuted one it is nothing."""

    def train(weights, seed):
        return None if weights is None else float(weights.std()), seed

    def measure(trained):
        rng = np.random.default_rng(trained[1])
        return {"code": (-0.01 if trained[0] else 0.0) + 1e-4 * rng.normal(), "prose": rng.normal()}

    out = verify(made, train, measure)
    assert float(out["achieved"].sel(observable="code")) == pytest.approx(-0.01, rel=0.1)
    assert out.attrs["verdict"] == "not confirmed"


def test_the_other_way_is_said(made):
    def train(weights, seed):
        rho = np.ones(40) if weights is None else weights.numpy()
        return float((made.weights.values - 1) @ (rho - 1)), seed

    out = verify(made, train, lambda t: {"code": t[0] + 1e-3 * t[1]})
    assert "moved the other way" in out.attrs["reasons"]


def test_what_was_trained_is_kept(tmp_path, regression, made):
    trained = []

    def train(weights, seed):
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append(seed)
        return regression.minimum(np.ones(40) if weights is None else weights.numpy())

    with pytest.raises(KeyboardInterrupt):
        verify(made, train, regression.measured, seeds=[0, 1], out=tmp_path)
    kept = sorted(path.name for path in tmp_path.glob("*-*.json"))
    assert kept == [
        "patterned-0.json", "patterned-1.json", "permuted-0.json", "uniform-0.json",
    ]  # fmt: skip
    trained.clear()
    out = verify(made, train, regression.measured, seeds=[0, 1], out=tmp_path)
    assert trained == [1, 1]
    whole = proof(regression, made, seeds=[0, 1])
    np.testing.assert_array_equal(out["value"], whole["value"])
    assert "data_fingerprint" in json.loads((tmp_path / "proof.json").read_text())
    other = pattern(regression.tree(draws=2000), {"prose": -0.01})
    with pytest.raises(ValueError, match="arms of other weights"):
        verify(other, train, regression.measured, out=tmp_path)
    longer = {"steps": 200}
    with pytest.raises(ValueError, match="arms of other trained_with"):
        verify(made, train, regression.measured, out=tmp_path, trained_with=longer)


def test_wrong_input_is_told_before_the_second_training(made):
    trained = []

    def train(weights, seed):
        trained.append(seed)

    for seeds in ([0], [1, 1]):
        with pytest.raises(ValueError, match="two different seeds"):
            verify(made, train, lambda _: {"code": 0.0}, seeds=seeds)
    assert not trained
    with pytest.raises(ValueError, match="aims at"):
        verify(made, train, lambda _: {"poems": 0.0})
    with pytest.raises(ValueError, match="measure gave"):
        verify(made, train, lambda _: {"code": float("nan")})
    assert len(trained) == 2
    names = iter(["code", "code", "prose"])
    with pytest.raises(ValueError, match=r"aims at|other names"):
        verify(made, train, lambda _: {next(names): 0.0}, seeds=[0, 1])


def test_an_explanation_has_an_arm_of_its_own(tmp_path, regression):
    """Trained exactly: what the arm achieves is what its weights do, and `beyond` is the rest."""
    domain = np.where(regression.effects()[1] < 0, "helps", "harms")
    level = np.random.default_rng(0).normal(size=40)
    made = pattern(regression.tree(draws=500), WISH, features={"domain": domain, "level": level})
    out = proof(regression, made, seeds=[0, 1], explanations=["domain", "level"], out=tmp_path)
    assert list(out["explanation"].values) == ["domain", "level"]
    assert out.attrs["verdict"] == "confirmed"
    at_rest = regression.measured(regression.minimum(np.ones(40)))
    patterned = regression.measured(regression.minimum(made.weights.values))
    for name in ("domain", "level"):
        arm = regression.measured(regression.minimum(made.explanations[name].values))
        for split in ("code", "prose"):
            one = out.sel(explanation=name, observable=split)
            assert float(one["explained"]) == pytest.approx(arm[split] - at_rest[split])
            assert float(one["beyond"]) == pytest.approx(patterned[split] - arm[split])
            assert float(one["beyond_low"]) <= float(one["beyond"]) <= float(one["beyond_high"])
    code = out["explained"].sel(observable="code")
    assert float(code.sel(explanation="domain")) < WISH["code"] / 5
    assert abs(float(code.sel(explanation="level"))) < 0.002
    assert len(list(tmp_path.glob("*-*.json"))) == 10


def test_weights_on_tokens_are_proved(regression):
    made = pattern(regression.tree(draws=500, tokens=4), WISH, units="token")

    def train(weights, seed):
        if weights is None:
            return regression.minimum(np.ones(40))
        assert weights.shape == (10, 4)
        return regression.minimum(weights.numpy().ravel())

    out = verify(made, train, regression.measured, seeds=[0, 1])
    assert float(out["achieved"].sel(observable="code")) == pytest.approx(WISH["code"], rel=0.2)
    assert abs(float(out["moved_by_chance"].sel(observable="code"))) < 0.2 * abs(WISH["code"])


def test_explanations_may_be_asked_for_later(tmp_path, regression):
    tree = regression.tree(draws=500)
    level = np.random.default_rng(0).normal(size=(2, 40))
    made, other = (pattern(tree, WISH, features={"level": one}) for one in level)
    first = proof(regression, made, seeds=[0, 1], out=tmp_path)
    assert "explained" not in first
    proof(regression, made, seeds=[0, 1], out=tmp_path, explanations=["level"])
    proof(regression, other, seeds=[0, 1], out=tmp_path)
    with pytest.raises(ValueError, match="arms of other weights by level"):
        proof(regression, other, seeds=[0, 1], out=tmp_path, explanations=["level"])


def test_explanations_that_cannot_be_an_arm_are_told(made):
    def train(weights, seed):
        raise AssertionError

    for names, words in (
        (["tone"], r"\['tone'\] are no explanations of this pattern; it has \['length', 'loss'"),
        (["length"], r"\['length'\] weigh all samples alike"),
        ("length", "list of names"),
    ):
        with pytest.raises(ValueError, match=words):
            verify(made, train, lambda _: {}, explanations=names)
