"""Audits against quadratic losses, whose effects of weights are known exactly."""

import numpy as np
import pytest
import xarray as xr

from creode.auditing import audit, group_drivers, levels, mending, part_effects, sample_drivers
from creode.auditing.drivers import shifted
from creode.geometry.by_group import llc_by_group
from creode.patterning import associations, effects
from patterning_cases import PARTS, SPLITS, Quadratics

NAMES = ("loss", "code", "prose")
GROUPS = np.array(["a"] * 10 + ["b"] * 25 + ["c"] * 5)


@pytest.fixture(scope="module")
def known():
    case = Quadratics()
    draws = case.tree(draws=1200, traces=True)
    return case, draws, effects(draws, "train", {name: name for name in NAMES})


def within(value, exact, error):
    """Right by its own error, and the error small beside what there is to tell."""
    assert np.max(np.abs(value - exact) / error) < 4.5
    assert np.max(error) < 0.1 * np.max(np.abs(exact))


def test_samples_have_the_exact_effects_within_their_errors(known):
    case, draws, found = known
    ranks = associations(draws, "train", {name: name for name in NAMES}, found)
    out = sample_drivers(found, ranks)
    exact = case.effects()
    within(out["effect"].values, exact, out["effect_se"].values)
    z = (out["effect"] - exact) / out["effect_se"]
    assert 0.6 < float((z**2).mean() ** 0.5) < 1.5  # 120 of them, the error is as large as told
    correlations = -case_correlations(case)
    sure = np.abs(correlations) > 0.3
    assert sure.sum() > 20
    assert out["significant"].values[sure].all()
    assert (out["driver"].values[sure] == (correlations[sure] > 0)).all()
    assert (out["holder"].values[sure] == (correlations[sure] < 0)).all()
    assert not (out["driver"] & out["holder"]).any()
    # losses are nearly normal here, and ranks a little less correlated than they
    assert np.corrcoef(out["association"].values.ravel(), correlations.ravel())[0, 1] > 0.97


def case_correlations(case):
    """Corr(φ, ℓ_j) of the means over all and over each split, (3, N)."""
    means = np.zeros((3, 40))
    means[0] = 1 / 40
    for row, split in enumerate(SPLITS.values(), 1):
        means[row, split] = 1 / (split.stop - split.start)
    cov = means @ case.covariance
    spread = np.sqrt(np.einsum("kn,kn->k", cov, means))
    return cov / spread[:, None] / np.sqrt(np.diag(case.covariance))


def test_groups_have_the_sum_of_their_samples_effects(known):
    case, _, found = known
    out = group_drivers(found, GROUPS)
    exact = np.stack([case.effects()[:, g == GROUPS].sum(1) for g in "abc"], 1)
    within(out["effect"].values, exact, out["effect_se"].values)
    assert out["size"].values.tolist() == [10, 25, 5]
    assert out["share"].values.tolist() == [0.25, 0.625, 0.125]
    with pytest.raises(ValueError, match="all samples are of one group"):
        group_drivers(found, ["a"] * 40)
    with pytest.raises(ValueError, match="one label a sample"):
        group_drivers(found, GROUPS[:-1])


def test_a_shift_weighs_groups_and_brings_the_mean_weight_back(known):
    case, _, found = known
    out = shifted(found, GROUPS, {"no c": {"c": 0.0}, "a and b": {"a": 2.0, "b": 0.5}})
    rho = np.array([[1.0, 1.0, 0.0], [2.0, 0.5, 1.0]])[:, np.searchsorted(["a", "b", "c"], GROUPS)]
    rho /= rho.mean(1, keepdims=True)
    within(out["effect"].values, case.effects() @ (rho - 1).T, out["effect_se"].values)
    with pytest.raises(ValueError, match=r"shift 'x': no group \['d'\]; there are"):
        shifted(found, GROUPS, {"x": {"d": 2.0}})
    with pytest.raises(ValueError, match="no finite number"):
        shifted(found, GROUPS, {"x": {"a": -1.0}})
    with pytest.raises(ValueError, match="leaves no sample"):
        shifted(found, GROUPS, {"x": dict.fromkeys("abc", 0.0)})


def test_mending_costs_more_the_further_it_goes(known):
    case, _, found = known
    out = mending(found, "code", keep=["prose"], shares=(0.99, 0.9, 0.6))
    change = out["predicted"].sel(behaviour="code").values
    error = out["predicted_se"].sel(behaviour="code").values
    assert (np.diff(change) < -3 * error[:-1]).all()
    # the best direction along code that leaves prose alone, cut at nothing for so small a change
    exact = case.effects()[1:]
    code, prose = exact - exact.mean(1, keepdims=True)
    along = code - prose * (code @ prose) / (prose @ prose)
    furthest = -np.linalg.norm(along) * np.sqrt(40 * (1 / 0.99 - 1))
    assert abs(change[0] - furthest) < 3 * error[0] + 0.02 * abs(furthest)
    kept = out["predicted"].sel(behaviour="prose") / out["predicted_se"].sel(behaviour="prose")
    assert np.abs(kept).max() < 4
    assert (np.diff(out["dropped"].values) >= 0).all()
    with pytest.raises(ValueError, match="no behaviour"):
        mending(found, "rude")


def test_parts_tell_through_which_weights_samples_act():
    """One sample moves code through part a alone; the draws of parts a and b tell which."""
    case = Quadratics(dim=8)
    trees = {name: in_part(case, at) for name, at in PARTS.items()}
    chosen = {"code": np.arange(40) < 6, "prose": np.arange(40) == 7}
    out = part_effects(trees, chosen)
    exact = np.array([
        [part_case(case, at).effects()[k][chosen[name]].sum() for at in PARTS.values()]
        for k, name in ((1, "code"), (2, "prose"))
    ])  # fmt: skip
    within(out["effect"].values, exact, out["effect_se"].values)
    assert out["significant"].sel(behaviour="code").values.any()
    with pytest.raises(ValueError, match="no component"):
        part_effects({}, chosen)


def part_case(case, at):
    """The same losses with the weights outside a part held at w*."""
    inner = Quadratics(dim=len(at))
    inner.g, inner.a, inner.h = case.g[:, at], case.a[:, at][:, :, at], case.h[at]
    return inner


def in_part(case, at):
    return part_case(case, at).tree(draws=600, seed=3)


def test_levels_are_shares_with_wilsons_interval():
    rng = np.random.default_rng(0)
    margins = {"rude": np.where(np.arange(40) < 12, 1.0, -1.0), "kind": rng.normal(-5, 1, 40)}
    out = levels(margins, before={"rude": -np.ones(40), "kind": np.zeros(40)})
    z = 1.959963985
    middle, half = 12 + z**2 / 2, z * (12 * 28 / 40 + z**2 / 4) ** 0.5
    low, high = (middle - half) / (40 + z**2), (middle + half) / (40 + z**2)
    rude = out.sel(behaviour="rude")
    assert float(rude["unwanted"]) == 0.3
    np.testing.assert_allclose(
        [rude["unwanted_low"], rude["unwanted_high"]], [low, high], rtol=1e-8
    )
    assert bool(rude["shown"])
    assert not bool(out["shown"].sel(behaviour="kind"))
    assert float(out["before_unwanted"].sel(behaviour="kind")) == 0.5
    assert float(rude["margin"]) == pytest.approx(-0.4)
    assert float(rude["margin_se"]) == pytest.approx(margins["rude"].std(ddof=1) / 40**0.5)
    assert not bool(levels(margins, tolerance=0.2)["shown"].any())
    for unwanted, shown in ((3, False), (4, True)):  # of a dozen prompts, as the guide says
        few = levels({"rude": np.where(np.arange(12) < unwanted, 1.0, -1.0)})
        assert bool(few["shown"].all()) == shown
    for wrong, match in (
        ({}, "names no behaviour"), ({"x": []}, "finite numbers"), ({"x": [np.nan]}, "finite"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            levels(wrong)
    with pytest.raises(ValueError, match="before has the behaviours"):
        levels(margins, before={"rude": [1.0]})
    with pytest.raises(ValueError, match="tolerance must be"):
        levels(margins, tolerance=1.0)


def test_learning_coefficients_of_groups_average_to_the_whole(known):
    case, draws, _ = known
    out = llc_by_group(draws, "train", GROUPS)
    variance = 1 / (case.nbeta * case.h + draws.attrs["localization"])
    each = case.nbeta * 0.5 * (np.einsum("iaa->ia", case.a) * variance).sum(1)
    exact = np.array([each[g == GROUPS].mean() for g in "abc"])
    z = (out["llc"].values - exact) / out["llc_se"].values
    assert np.abs(z).max() < 9.2  # 1 in 400 of a Student's t of three degrees of freedom
    assert (out["llc_se"].values < 0.1 * exact).all()
    from creode import llc

    whole = float((out["llc"] * out["size"]).sum() / 40)
    assert whole == pytest.approx(float(llc(draws, on="train")["llc"]), rel=1e-5)
    with pytest.raises(ValueError, match="one label a sample"):
        llc_by_group(draws, "train", GROUPS[:3])


def test_learning_coefficients_of_groups_are_means_over_tokens():
    from creode import llc

    draws = Quadratics().tree(draws=100, tokens=4)
    out = llc_by_group(draws, "train", ["a"] * 7 + ["b"] * 3)
    whole = float((out["llc"] * out["size"]).sum() / 10)
    assert whole == pytest.approx(float(llc(draws, on="train")["llc"]), rel=1e-5)


def test_an_audit_puts_together_what_it_was_given(known):
    _, draws, found = known
    ranks = associations(draws, "train", {name: name for name in NAMES}, found)
    margins = {"code": np.ones(30), "prose": -np.ones(30), "loss": -np.ones(30)}
    out = audit(
        draws, NAMES, margins=margins, groups=GROUPS,
        shifts={"no c": {"c": 0.0}}, parts={"full": draws},
    )  # fmt: skip
    assert out.shown == ("code",)
    assert list(out.mending) == ["code"]
    assert out.mending["code"].attrs["keep"] == ""
    xr.testing.assert_identical(out.samples, sample_drivers(found, ranks))
    xr.testing.assert_identical(out.groups, group_drivers(found, GROUPS))
    assert out.shifts["shift"].values.tolist() == ["no c"]
    assert out.modes["component"].values.tolist() == list(NAMES)
    first = out.drivers("code", 5)
    sure = out.samples["association"].sel(behaviour="code").values
    assert sure[first].tolist() == sorted(sure, reverse=True)[:5]
    effect = out.samples["effect"].sel(behaviour="code").values
    whole = effect[out.samples["driver"].sel(behaviour="code").values].sum()
    assert float(out.parts["effect"].sel(behaviour="code", component="full")) == pytest.approx(
        whole
    )
    bare = audit(draws, ["code"])
    assert bare.levels is bare.groups is bare.modes is bare.parts is None
    assert bare.shown == ()


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"behaviours": "code"}, "a list of names"),
        ({"behaviours": []}, "a list of names"),
        ({"behaviours": ["rude"]}, "rude"),
        ({"margins": {}}, r"margins lack \['code'\]"),
        ({"shifts": {"x": {"a": 0.0}}}, "give groups as well"),
    ],
)
def test_an_audit_says_what_does_not_fit(known, wrong, match):
    given = {"behaviours": ["code"]} | wrong
    with pytest.raises(ValueError, match=match):
        audit(known[1], **given)


@pytest.mark.parametrize(
    ("at_start", "moved_by", "lost"),
    [(0.0, 1.0, False), (-9.0, 1.0, False), (0.9, -1.0, False), (-0.9, 1.0, True)],
)
def test_draws_that_lost_a_skill_are_not_trusted(known, at_start, moved_by, lost):
    """A fault, which few samples taught, may be lost."""
    _, draws, _ = known
    root = draws.to_dataset()
    at = root["observable"] == "code"
    moved = root["observed"] - root["observed"].mean(("chain", "draw")) + moved_by
    root["observed"] = xr.where(at, moved, root["observed"]).transpose(*root["observed"].dims)
    root["observed_init"] = xr.where(at, at_start, 0.0)
    tree = xr.DataTree.from_dict({"/": root, "probes/train": draws["probes/train"].to_dataset()})
    out = audit(tree, ["code", "prose"])
    told = "favours the unwanted answers to code: they lie too far" in out.reasons
    assert told == lost
    assert not (lost and out.ok)
