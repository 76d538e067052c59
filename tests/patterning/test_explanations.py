"""Trivial explanations of weights against weights whose explanation is known."""

import numpy as np
import pytest
import xarray as xr

from creode.patterning import MinimumNorm, pattern
from creode.patterning.effects import effects
from creode.patterning.explanations import _spline, explain, trivial_features
from patterning_cases import Quadratics
from saved_draws import with_responses

NAMES = {name: name for name in ("loss", "code", "prose")}


@pytest.fixture(scope="module")
def found():
    return effects(Quadratics(num=400).tree(draws=100), "train", NAMES)


def explained(found, rho, features):
    return explain(found, rho, [rho] * len(found.folds), features)


def test_weights_that_are_a_feature_are_explained_whole(found):
    """By a straight line, by a curve of the spline, by a label; and no other feature does."""
    rng = np.random.default_rng(0)
    line, bent = rng.gamma(2.0, size=400), rng.normal(size=400)
    domain = np.array(["a", "b", "c"])[rng.integers(0, 3, 400)]
    features = {"line": line, "bent": bent, "domain": domain}
    curve = _spline(bent) @ [0.1, 0.2, -0.1]
    level = {"a": 0.5, "b": 1.0, "c": 2.0}
    made_of = {"line": 0.1 * line, "bent": curve, "domain": [level[one] for one in domain]}
    for name, values in made_of.items():
        rho = np.asarray(values) - np.mean(values) + 1
        out = explained(found, rho, features)
        r2 = out.reading["r2"]
        assert float(r2.sel(explanation=name)) == pytest.approx(1, abs=1e-9)
        assert float(r2.sel(explanation="together")) == pytest.approx(1, abs=1e-9)
        assert all(float(r2.sel(explanation=other)) < 0.1 for other in features if other != name)
        np.testing.assert_allclose(out.fitted[name], rho, atol=1e-9)
        one = out.reading.sel(explanation=name)
        np.testing.assert_allclose(one["predicted"], found.mean @ (rho - 1), atol=1e-12)
        np.testing.assert_allclose(one["beyond"], 0, atol=1e-12)


def test_a_known_share_is_explained(found):
    """ρ = 1 + a x + b e of independent normals: R² = a²/(a² + b²); and features add up."""
    shares = []
    for seed in range(20):
        x, y, e = np.random.default_rng(seed).normal(size=(3, 400))
        change = 0.3 * x + 0.4 * y + 0.5 * e
        rho = 1 + change - change.mean()
        out = explained(found, rho, {"x": x, "y": y})
        shares.append(out.reading["r2"].values)
        for name, fitted in out.fitted.items():  # a fit by least squares is as much smaller
            scale = float(out.reading["scale"].sel(explanation=name))
            assert scale == pytest.approx(1 / np.corrcoef(rho, fitted)[0, 1])
    error = np.std(shares, axis=0, ddof=1) / 20**0.5
    assert (abs(np.mean(shares, axis=0) - [0.18, 0.32, 0.5]) < 4 * error + 3 / 400).all()
    assert (error < 0.02).all()


def test_noise_explains_nothing(found):
    """Fitted on all it would explain F/N; of what it has not seen it explains −F/N."""
    r2 = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        rho = rng.gamma(3.0, size=400)
        noise = {"x": rng.normal(size=400), "label": rng.integers(0, 10, 400)}
        r2.append(explained(found, rho / rho.mean(), noise).reading["r2"].values)
    columns = np.array([3, 9, 12])
    error = np.std(r2, axis=0, ddof=1) / 25**0.5
    assert (abs(np.mean(r2, axis=0) + columns / 400) < 4 * error).all()
    assert (error < 0.01).all()


def test_tokens_of_a_sample_are_held_out_together():
    """A number of its own for each sample explains its tokens' common weight, but of no other's."""
    q, rng = Quadratics(num=30), np.random.default_rng(0)
    bare = q.tree(draws=50)
    phi = {"loss": bare["observed"].sel(observable="loss").values}
    bare = xr.DataTree(bare.to_dataset().drop_dims("observable"))
    tokens = with_responses(bare, {"train": rng.normal(size=(4, 50, 30, 8))}, phi)
    found = effects(tokens, "train", {"loss": "loss"}, units="token")
    level, label = rng.normal(size=30), np.arange(30)
    rho = np.repeat(level, 8)
    rho = 1 + 0.1 * (rho - rho.mean())
    reading = explained(found, rho, {"sample": np.repeat(label, 8)}).reading
    assert float(reading["r2"].item()) < 0.05


def test_what_is_predicted_of_an_explanation_is_right():
    """Cross-fitted, as the pattern's own effect is: few draws, many samples."""
    q = Quadratics(seed=3, num=120, dim=20)
    domain = np.where(q.effects()[1] < 0, "helps", "harms")
    z, beyond = [], []
    for seed in range(20):
        made = pattern(
            q.tree(draws=20, seed=seed), {"code": -0.02}, MinimumNorm(ridge=0.0),
            features={"domain": domain},
        )  # fmt: skip
        exact = q.effects()[1]
        truth = exact @ (made.explanations["domain"].values - 1)
        whole = exact @ (made.weights.values - 1)
        one = made.explained.sel(explanation="domain", observable="code")
        z.append(float((one["predicted"] - truth) / one["predicted_se"]))
        beyond.append(float((one["beyond"] - (whole - truth)) / one["beyond_se"]))
        assert truth < 0.2 * whole < 0
    for errors in (z, beyond):
        assert abs(np.mean(errors)) < 0.8, np.mean(errors)
        assert np.sqrt(np.mean(np.square(errors))) < 1.6


def test_a_spline_is_straight_beyond_its_knots():
    x = np.linspace(-4, 4, 2001) ** 3
    columns = _spline(x)
    assert columns.shape == (2001, 3)
    low, high = np.percentile(x, [5, 95])
    for outside in (x < low, x > high):
        for column in columns.T:
            slope = np.diff(column[outside]) / np.diff(x[outside])
            np.testing.assert_allclose(slope, slope[0], rtol=1e-6, atol=1e-12)
    inside = (x > low) & (x < high)
    slope = np.diff(columns[inside], axis=0) / np.diff(x[inside])[:, None]
    assert (np.ptp(slope[:, 1:], axis=0) > 0).all()


def test_features_of_a_probe_are_its_lengths_and_losses():
    tree, rng = Quadratics(num=12).tree(draws=20), np.random.default_rng(0)
    mask = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0], [1, 1, 1]], bool)
    at_rest = rng.normal(size=(5, 3))
    phi = {"loss": tree["observed"].sel(observable="loss").values}
    tree = xr.DataTree(tree.to_dataset().drop_dims("observable"))
    losses = {"train": rng.normal(size=(4, 20, 5, 3))}
    tree = with_responses(tree, losses, phi, masks={"train": mask})
    tree["probes/train"] = tree["probes/train"].to_dataset(inherit=False).assign(
        unit_init_loss=(("sample", "token"), at_rest)
    )  # fmt: skip
    by_sample = trivial_features(tree, "train")
    assert by_sample["length"].tolist() == [3, 2, 1, 2, 3]
    expected = [at_rest[i][mask[i]].mean() for i in range(5)]
    np.testing.assert_allclose(by_sample["loss"], expected)
    by_token = trivial_features(tree, "train", "token")
    assert by_token["length"].tolist() == [3, 3, 3, 2, 2, 1, 2, 2, 3, 3, 3]
    assert by_token["position"].tolist() == [0, 1, 2, 0, 2, 1, 0, 1, 0, 1, 2]
    np.testing.assert_allclose(by_token["loss"], at_rest[mask])


def test_what_is_alike_for_all_explains_nothing(found):
    rho = np.random.default_rng(0).gamma(3.0, size=400)
    out = explained(found, rho / rho.mean(), {"length": np.full(400, 128.0)})
    assert float(out.reading["r2"].item()) == 0
    assert np.isnan(out.reading["scale"].item())
    np.testing.assert_allclose(out.fitted["length"], 1)
    np.testing.assert_allclose(out.reading["predicted"], 0, atol=1e-15)
    even = explained(found, np.ones(400), {"x": np.arange(400.0)})
    assert np.isnan(even.reading["r2"].item())


def test_fitted_weights_can_be_trained_on(found):
    """A straight line would go below 0 where the weights are 0."""
    x = np.random.default_rng(0).normal(size=400)
    rho = np.maximum(x, 0.0)
    out = explained(found, rho / rho.mean(), {"x": x})
    assert out.fitted["x"].min() == 0
    assert out.fitted["x"].mean() == pytest.approx(1)


def test_what_is_no_feature_is_told(found):
    rho = np.ones(400)
    with pytest.raises(ValueError, match=r"'x' needs one value a unit, \(400,\)"):
        explained(found, rho, {"x": np.zeros(3)})
    with pytest.raises(ValueError, match="'x' is not finite"):
        explained(found, rho, {"x": np.full(400, np.nan)})
    with pytest.raises(ValueError, match="400 labels, more than the 100"):
        explained(found, rho, {"x": np.arange(400)})
    for name in ("together", "a/b"):
        with pytest.raises(ValueError, match="cannot be named"):
            explained(found, rho, {name: np.zeros(400)})
