"""Models side by side: differences of predictions and of training losses against known ones."""

import numpy as np
import pytest
import xarray as xr
from quadratic_losses import GROUP, SOME, Quadratics, derivatives
from scipy import stats

from creode.generalization import compare_shifts, shift

REST = np.r_[np.zeros(GROUP), np.full(12 - GROUP, 1 / (12 - GROUP))]
TO = {"some": {"some": 1.0}, "away": {"some": -0.5, "all": 1.5}}  # the rest has 1.5 all − 0.5 some


def changed(tree, at, **variables):
    """The tree with some variables of one group replaced."""
    nodes = {node.path: node.to_dataset(inherit=False) for node in tree.subtree}
    nodes[at] = nodes[at].assign(variables)
    return xr.DataTree.from_dict(nodes)


def test_differences_are_those_of_the_exact_derivatives():
    models = {f"q{seed}": Quadratics(seed) for seed in (0, 3, 7)}
    out = compare_shifts(
        {name: q.tree(8000, seed) for seed, (name, q) in enumerate(models.items())}, TO
    )
    pairs = list(zip(out["one"].values, out["other"].values, strict=True))
    assert pairs == [("q0", "q3"), ("q0", "q7"), ("q3", "q7")]
    for name, toward in {"some": SOME, "away": REST}.items():
        exact = {model: derivatives(q, toward)[0] for model, q in models.items()}
        for i, (one, other) in enumerate(pairs):
            found = out.sel(shift=name).isel(pair=i)
            gap, error = exact[one] - exact[other], found["difference_se"].values
            assert (abs(found["difference"].values - gap) < 4 * error).all(), (name, one, other)
            assert (error < 0.2 * abs(exact[one])).all()
    told = out["difference_p"].sel(shift="some") < 1e-3
    assert bool(told.any())


def test_predictions_are_those_of_each_model_alone():
    trees = {f"q{seed}": Quadratics(seed).tree(200, seed) for seed in (0, 3)}
    out = compare_shifts(trees, TO, observables=["some"])
    alone = shift(trees["q3"], TO["away"], observables=["some"]).isel(component=0)
    beside = out.sel(model="q3", shift="away")
    for name in alone.data_vars:
        np.testing.assert_array_equal(beside[name].values, alone[name].values)


def test_p_of_a_difference_is_that_of_welch():
    trees = {f"q{seed}": Quadratics(seed).tree(60 * (1 + seed), seed) for seed in (0, 3)}
    out = compare_shifts(trees, TO)
    one, other = out.sel(model="q0"), out.sel(model="q3")
    assert float(abs(one["first_se"] - other["first_se"]).min()) > 0
    for index in np.ndindex(*one["first"].shape):
        told = []
        for model in (one, other):
            count = float(model["first_dof"].values[index]) + 1
            spread = float(model["first_se"].values[index]) * count**0.5
            told += [float(model["first"].values[index]), spread, count]
        expected = stats.ttest_ind_from_stats(*told, equal_var=False)
        assert out["difference_p"].values[0][index] == pytest.approx(expected.pvalue)


@pytest.mark.slow
def test_models_that_do_not_differ_are_told_apart_no_more_often_than_p_says():
    q = Quadratics()
    p = [
        float(
            compare_shifts(
                {"a": q.tree(150, 2 * seed), "b": q.tree(150, 2 * seed + 1)},
                {"some": {"some": 1.0}},
                observables=["some"],
            )["difference_p"].item()
        )
        for seed in range(40)
    ]
    assert 0.35 < np.mean(p) < 0.65, p  # 0.5 ± 0.046 where p is uniform
    assert sum(one < 0.05 for one in p) <= 6


def test_training_losses_on_a_probe_are_compared_sample_by_sample():
    rng = np.random.default_rng(0)
    hard = rng.gamma(2.0, size=12)
    gap = 0.02 + 0.01 * rng.standard_normal(12)
    trees = {
        name: changed(Quadratics().tree(60), "/probes/all", unit_init_loss=("sample", losses))
        for name, losses in {"a": hard + gap, "b": hard}.items()
    }
    out = compare_shifts(trees, TO, training="all").isel(pair=0)
    expected = stats.ttest_rel(hard + gap, hard)
    assert float(out["loss_difference"]) == pytest.approx(gap.mean())
    assert float(out["loss_p"]) == pytest.approx(expected.pvalue)
    assert not bool(out["equal_loss"])
    assert float(out["loss_difference_se"]) < 0.1 * float(out["loss_se"].min())
    np.testing.assert_allclose(out["loss"], [(hard + gap).mean(), hard.mean()])


def test_training_losses_on_minibatches_have_their_own_errors():
    rng = np.random.default_rng(1)
    seen = {"a": rng.normal(2.0, 0.3, (4, 60)), "b": rng.normal(2.05, 0.2, (4, 60))}
    trees = {
        name: changed(Quadratics().tree(60), "/", init_loss=(("chain", "draw"), losses))
        for name, losses in seen.items()
    }
    out = compare_shifts(trees, TO).isel(pair=0)
    error = np.hypot(*(losses.std(ddof=1) / 240**0.5 for losses in seen.values()))
    assert float(out["loss_difference_se"]) == pytest.approx(error)
    z = float(out["loss_difference"]) / error
    assert float(out["loss_p"]) == pytest.approx(2 * stats.norm.sf(abs(z)))
    assert bool(out["equal_loss"]) == (abs(z) < stats.norm.ppf(0.975))


def test_a_model_has_the_loss_of_itself():
    tree = Quadratics().tree(60)
    out = compare_shifts({"a": tree, "b": tree}, TO, training="all")
    assert bool(out["equal_loss"].item())
    np.testing.assert_array_equal(out["difference"], 0)


def test_what_cannot_be_compared_is_told():
    tree = Quadratics().tree(40)
    with pytest.raises(ValueError, match="two models or more are compared; got \\['a'\\]"):
        compare_shifts({"a": tree}, TO)
    with pytest.raises(ValueError, match="to names no shift"):
        compare_shifts({"a": tree, "b": tree}, {})
    for name, value in (("nbeta", 41.0), ("localization", 1.0), ("data_fingerprint", "other")):
        other = tree.copy()
        other.attrs = tree.attrs | {name: value}
        with pytest.raises(ValueError, match=f"cannot be compared: {name} is .* Sample all models"):
            compare_shifts({"a": tree, "b": other}, TO)
    other = tree.copy()
    other["probes/some"].attrs["data_fingerprint"] = "others"
    with pytest.raises(ValueError, match="data_fingerprint of probe 'some' is 'probe'"):
        compare_shifts({"a": tree, "b": other}, TO)
    with pytest.raises(ValueError, match="not a probe"):
        compare_shifts({"a": tree, "b": tree}, TO, training="train")
