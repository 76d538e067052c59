"""χ against the closed forms of Gaussian posteriors, and everything that must not change it."""

import numpy as np
import pytest
import xarray as xr
from response_cases import (
    EPS,
    GAMMA,
    NBETA,
    H,
    exact_chi,
    exact_two_chain,
    losses_at,
    quadratic_losses,
    sigma,
    tree_of,
    weights,
)

import creode
from creode.response import mixture_susceptibility, susceptibility
from saved_draws import quadratic_tree, study, with_responses

G, A = quadratic_losses()
PARTS = {"full": None, "left": [0, 1], "right": [2, 3, 4]}


@pytest.fixture(scope="module")
def draws():
    return {
        name: tree_of(weights(chosen, seed=number), G, A, component=name)
        for number, (name, chosen) in enumerate(PARTS.items())
    }


def agrees(value, error, exact, *, within):
    """Right within 4 standard errors, and able to be wrong."""
    value, error = np.asarray(value), np.asarray(error)
    assert (abs(value - exact) < 4 * error).all(), (value - exact) / error
    assert error.max() < within * np.sqrt(np.mean(exact**2)), error.max()


@pytest.mark.parametrize("name", PARTS)
def test_chi_of_a_component_is_the_closed_form(draws, name):
    out = susceptibility(draws).sel(component=name)
    exact = exact_chi(G, A, sigma(PARTS[name]))
    agrees(out["chi"], out["chi_se"], exact, within=0.3)
    assert out.sizes == {"sample": len(G)}
    assert out["probe"].values.tolist() == ["all"] * len(G)
    assert bool(out["ok"]), str(out["reasons"].values)
    assert abs(out["p"][abs(out["z"]) > 6]).max() < 1e-3


def test_the_two_chain_form_is_its_closed_form_and_differs(draws):
    parts = {name: draws[name] for name in ("left", "right")}
    out = susceptibility(parts, form="two-chain", unrestricted=draws["full"])
    assert out.attrs["form"] == "two-chain"
    for name in parts:
        found = out.sel(component=name)
        exact = exact_two_chain(G, A, sigma(PARTS[name]), sigma())
        agrees(found["chi"], found["chi_se"], exact, within=0.4)
        other = exact_chi(G, A, sigma(PARTS[name]))
        assert (abs(found["chi"] - other) > 4 * found["chi_se"]).any()
        assert (found["chi_dof"] == 3).all()


def test_the_whole_model_of_each_checkpoint_is_taken_from_a_study(draws):
    def at(step, name, number):
        tree = tree_of(weights(PARTS[name], draws=200, seed=number), G, A, component=name)
        tree.attrs["checkpoint"] = step
        return tree

    units = {(step, name): at(step, name, step + len(name)) for step in (1, 2)
             for name in ("left", "full")}  # fmt: skip
    tree = study({f"step_{step}/{name}": one for (step, name), one in units.items()})
    parts = study({f"step_{step}/left": units[step, "left"] for step in (1, 2)})
    out = susceptibility(parts, form="two-chain", unrestricted=tree)
    for step in (1, 2):
        alone = susceptibility(
            units[step, "left"], form="two-chain", unrestricted=units[step, "full"]
        )
        for name in ("chi", "chi_se"):
            np.testing.assert_array_equal(out[name].sel(checkpoint=step), alone[name])
    with pytest.raises(ValueError, match="no posterior of the component 'full'"):
        susceptibility(parts, form="two-chain", unrestricted=parts)
    with pytest.raises(ValueError, match=r"no unrestricted draws of checkpoint 2"):
        susceptibility(
            parts, form="two-chain", unrestricted=study({"step_1/full": units[1, "full"]})
        )
    cold = units[1, "full"].copy()
    cold.attrs = dict(cold.attrs) | {"burnin": 0}
    doubtful = susceptibility(units[1, "left"], form="two-chain", unrestricted=cold)
    assert not doubtful["ok"].item()
    assert "the whole model: the burn-in leaves" in str(doubtful["reasons"].item())


def test_draws_of_a_control_need_not_be_around_a_minimum(draws):
    lower = draws["left"].copy(deep=True)
    lower["loss"] = 2 * lower["init_loss"] - lower["loss"]
    plain = susceptibility(lower)
    assert "not a local minimum" in str(plain["reasons"].item())
    as_control = susceptibility(lower, control=True)
    assert as_control["ok"].item()
    assert as_control["ess"].item() == plain["ess"].item()
    lower["failed_at"][1] = 7
    assert "chain 1 became" in str(susceptibility(lower, control=True)["reasons"].item())


def test_the_error_of_the_full_posterior_is_in_the_two_chain_form(draws):
    left = {"left": draws["left"]}
    few = tree_of(weights(draws=40, seed=7), G, A)
    wide = susceptibility(left, form="two-chain", unrestricted=few)["chi_se"]
    narrow = susceptibility(left, form="two-chain", unrestricted=draws["full"])["chi_se"]
    assert float((wide / narrow).median()) > 1.5


def test_minibatch_noise_in_the_loss_leaves_chi_unbiased():
    """The noise of a minibatch is in φ and in L; their covariance must not have its variance."""
    w = weights(draws=4000, seed=3)
    exact = exact_chi(G, A, sigma())
    rng = np.random.default_rng(0)
    excess = 0.5 * (H * w**2).sum(-1)
    noise_sd = 2 * excess.std()
    window, own = (excess + rng.normal(0, noise_sd, excess.shape) for _ in range(2))
    tree = quadratic_tree(w, H, gamma=GAMMA)
    root = tree.to_dataset()
    root["loss"] = root["init_loss"] + window
    root["excess_sq"] = (("chain", "draw"), window**2 - noise_sd**2)
    noisy = with_responses(xr.DataTree(root), {"all": losses_at(w, G, A)}, {"loss": own})
    out = susceptibility(noisy).isel(component=0)
    agrees(out["chi"], out["chi_se"], exact, within=0.5)
    overall = susceptibility(noisy, by="dataset").isel(component=0, probe=0)  # 0 in truth
    assert abs(float(overall["chi"])) < 4 * float(overall["chi_se"])
    assert float(overall["chi_se"]) < 0.1 * noise_sd**2


def test_other_observables_and_differences_of_them(draws):
    w = weights(seed=0)
    losses = losses_at(w, G, A)
    tree = tree_of(w, G, A, code=losses[..., 0], prose=losses[..., 1] + 7.0)
    covariance = exact_pairs(sigma())
    for observable, row in (
        ("code", covariance[0]),
        ({"code": 1.0, "prose": -1.0}, covariance[0] - covariance[1]),
        ({"loss": 2.0, "code": 0.5}, 2 * covariance.mean(0) + covariance[0] / 2),
    ):
        out = susceptibility(tree, observable=observable).isel(component=0)
        agrees(out["chi"], out["chi_se"], -(row - row.mean()), within=0.5)
    same = susceptibility(tree, observable={"loss": 1.0})
    xr.testing.assert_allclose(same["chi"], susceptibility(tree)["chi"])
    assert out.attrs["observable"] == "{'loss': 2.0, 'code': 0.5}"


def exact_pairs(covariance):
    from oracles import loss_covariance

    return loss_covariance(G, A, covariance)


def token_tree(w, g, a, mask, seed=0):
    """Tokens of three samples, of which some do not count."""
    losses = losses_at(w, g, a).reshape(*w.shape[:2], *mask.shape)
    excess = 0.5 * (H * w**2).sum(-1)
    tree = quadratic_tree(w, H, gamma=GAMMA)
    return with_responses(tree, {"p": losses}, {"loss": excess}, masks={"p": mask}), losses


def test_samples_and_data_sets_are_means_over_the_tokens_that_count():
    mask = np.random.default_rng(1).random((3, 4)) < 0.6
    tree, losses = token_tree(weights(draws=300), G, A, mask)
    tokens = susceptibility(tree).isel(component=0)
    assert tokens["chi"].dims == ("sample", "token")
    assert (tokens["chi"].notnull().values == mask).all()
    assert (tokens["p"].notnull().values == mask).all()
    samples = susceptibility(tree, by="sample").isel(component=0)
    expected = np.where(mask, tokens["chi"], 0).sum(1) / mask.sum(1)
    np.testing.assert_allclose(samples["chi"], expected, rtol=1e-12)
    whole = susceptibility(tree, by="dataset").isel(component=0)
    assert whole["probe"].values.tolist() == ["p"]
    np.testing.assert_allclose(whole["chi"], [tokens["chi"].values[mask].mean()], rtol=1e-10)
    flat = mixture_susceptibility(tree, {"p": np.full((3, 4), 1 / mask.sum())}).isel(component=0)
    np.testing.assert_allclose(flat["chi"], whole["chi"][0], rtol=1e-10)
    merged = losses * mask
    mean = merged.sum((2, 3)) / mask.sum()
    direct = with_responses(
        quadratic_tree(weights(draws=300), H, gamma=GAMMA),
        {"p": mean[..., None]},
        {"loss": 0.5 * (H * weights(draws=300) ** 2).sum(-1)},
    )
    alone = susceptibility(direct).isel(component=0)
    for name in ("chi", "chi_se"):  # the error of a mean, whose parts vary together
        np.testing.assert_allclose(whole[name], alone[name], rtol=1e-8)


def test_several_probes_lie_after_each_other_and_shorter_tokens_are_padded():
    w = weights(draws=100)
    losses = losses_at(w, G, A)
    tree = with_responses(
        quadratic_tree(w, H, gamma=GAMMA),
        {"a": losses.reshape(4, 100, 3, 4), "b": losses[..., :4].reshape(4, 100, 2, 2)},
        {"loss": 0.5 * (H * w**2).sum(-1)},
    )
    out = susceptibility(tree).isel(component=0)
    assert out["probe"].values.tolist() == ["a", "a", "a", "b", "b"]
    assert out["chi"].shape == (5, 4)
    np.testing.assert_allclose(out["chi"][3:, :2].values.ravel(), out["chi"].values[0], rtol=1e-10)
    assert out["chi"][3:, 2:].isnull().all()
    only = susceptibility(tree, on="b").isel(component=0)
    np.testing.assert_allclose(only["chi"], out["chi"][3:, :2])


def test_the_response_to_mixtures_lies_on_a_line_of_known_slope(draws):
    """q_h = (1 − h) q + h q': χ to q_h is h times χ to q', since χ to the data itself is 0."""
    rng = np.random.default_rng(5)
    tilts = np.linspace(0, 1, 9)
    share = rng.dirichlet(np.ones(len(G)))
    points, errors = [], []
    for tilt in tilts:
        weights_of_units = (1 - tilt) / len(G) + tilt * share
        out = mixture_susceptibility(draws, {"all": weights_of_units}).sel(component="full")
        points.append(float(out["chi"]))
        errors.append(float(out["chi_se"]))
    chi = susceptibility(draws).sel(component="full")
    slope = float((chi["chi"] * share).sum())
    data_itself = float(chi["chi"].mean())
    np.testing.assert_allclose(points, data_itself + tilts * (slope - data_itself), atol=1e-12)
    exact = float(exact_chi(G, A, sigma()) @ share)
    assert abs(points[-1] - exact) < 4 * errors[-1] < 4 * 0.5 * abs(exact)


def test_mean_token_chi_against_data_set_chi_is_a_line(draws):
    """Data sets resampled with a share h of one kind: two independent runs, r ≥ 0.95, slope h."""
    again = tree_of(weights(seed=11), G, A)
    chi = susceptibility(draws).sel(component="full")["chi"].values
    rng = np.random.default_rng(8)
    kinds = rng.dirichlet(0.3 * np.ones(len(G)), size=12)
    share = 0.4
    runs = [
        mixture_susceptibility(again, {"all": (1 - share) / len(G) + share * kind}).isel(
            component=0
        )
        for kind in kinds
    ]
    tokens, sets = kinds @ chi, np.array([float(run["chi"]) for run in runs])
    assert np.corrcoef(tokens, sets)[0, 1] >= 0.95
    slope = np.polyfit(tokens, sets, 1)[0]
    assert slope == pytest.approx(share, rel=0.15)


def test_a_mixture_of_probes_varies_together(draws):
    w = weights(draws=500)
    losses = losses_at(w, G, A)
    tree = with_responses(
        quadratic_tree(w, H, gamma=GAMMA),
        {"a": losses[..., :6], "b": losses[..., 6:]},
        {"loss": 0.5 * (H * w**2).sum(-1)},
    )
    both = susceptibility(tree, by="dataset", keep_replicates=True).isel(component=0)
    half = mixture_susceptibility(tree, {"a": 0.5, "b": 0.5}).isel(component=0)
    np.testing.assert_allclose(half["chi"], both["chi"].mean(), rtol=1e-10, atol=1e-15)
    replicates = both["chi_replicates"].mean("probe")
    assert float(half["chi_se"]) == pytest.approx(float(replicates.std(ddof=1)) / 20**0.5, rel=1e-4)
    moved = mixture_susceptibility(tree, {"a": 1.0, "b": -1.0}).isel(component=0)
    np.testing.assert_allclose(moved["chi"], float(both["chi"][0] - both["chi"][1]), rtol=1e-9)


def test_a_tree_a_mapping_and_a_study_give_the_same(draws):
    mapping = susceptibility(draws)
    tree = susceptibility(study({f"model/{name}": tree for name, tree in draws.items()}))
    xr.testing.assert_allclose(mapping["chi"], tree["chi"])
    assert tree["component"].values.tolist() == list(PARTS)
    one = susceptibility(draws["left"])
    xr.testing.assert_allclose(one["chi"], mapping["chi"].sel(component=["left"]))
    renamed = susceptibility({"a head": draws["left"]})
    assert renamed["component"].values.tolist() == ["a head"]
    steps = {}
    for step in (10, 20):
        later = draws["left"].copy()
        later.attrs["checkpoint"] = step
        steps[f"s{step}/left"] = later
    series = susceptibility(study(steps))
    assert series["chi"].dims[:2] == ("checkpoint", "component")


def test_the_order_of_chains_and_of_components_does_not_matter(draws):
    reverse = {
        name: xr.DataTree.from_dict(
            {
                node.path: node.to_dataset().isel(
                    chain=slice(None, None, -1), missing_dims="ignore"
                )
                for node in tree.subtree
            }
        )
        for name, tree in reversed(draws.items())
    }
    one, other = susceptibility(draws), susceptibility(reverse)
    for name in ("chi", "chi_se", "p"):
        xr.testing.assert_allclose(one[name], other[name].sel(component=one["component"]))


def test_a_failed_chain_is_never_averaged_in(draws):
    broken = draws["left"].copy(deep=True)
    for name in ("cov", "unit_mean", "loss"):
        broken["probes/all"][name][2] = np.nan
    broken["loss"][2, 100:] = np.nan
    broken["excess_sq"][2, 100:] = np.nan
    broken["observed"][2, 100:] = np.nan
    broken["failed_at"][2] = 40
    for by in ("sample", "dataset"):
        out = susceptibility(draws | {"left": broken}, by=by, standardise="both")
        assert out["chi"].sel(component="left").isnull().all()
        assert out["chi_se"].sel(component="left").isnull().all()
        assert out["chi_standard"].notnull().all().item() is False
        assert out["chi_standard"].sel(component=["full", "right"]).notnull().all()
        assert out["ok"].values.tolist() == [True, False, True]
        assert "chain 2 became non-finite" in str(out["reasons"][1].values)
    mixture = mixture_susceptibility(broken, {"all": np.ones(len(G)) - 1})
    assert mixture["chi"].isnull().all()


def test_standardised_columns_have_mean_0_and_scale_1_and_rows_are_centred():
    draws = {}
    for number, (name, chosen) in enumerate(PARTS.items()):
        w = weights(chosen, seed=number)
        draws[name] = with_responses(  # half of the data, on which the mean of χ is not 0
            tree_of(w, G, A, component=name),
            {"half": losses_at(w, G, A)[..., :6]},
            {"loss": 0.5 * (H * w**2).sum(-1)},
        )
    plain = susceptibility(draws)
    columns = susceptibility(draws, standardise="columns")
    chi = plain["chi"]
    expected = (chi - chi.mean("sample")) / chi.std("sample")
    xr.testing.assert_allclose(columns["chi_standard"], expected)
    both = susceptibility(draws, standardise="both")
    centred = expected - expected.mean("component")
    xr.testing.assert_allclose(both["chi_standard"], centred)
    assert both.attrs["standardised"] == "both"
    se = columns["chi_standard_se"].values
    rows = np.sqrt((4 / 9 - 1 / 9) * se**2 + (se**2).sum(0) / 9)
    np.testing.assert_allclose(both["chi_standard_se"], rows, rtol=1e-9)
    ratio = columns["chi_standard_se"] / (plain["chi_se"] / chi.std("sample"))
    assert 0.5 < float(ratio.min()) < float(ratio.max()) < 1.5
    overall = susceptibility(draws, standardise="columns", by="dataset")
    np.testing.assert_allclose(overall["chi_standard"], 0, atol=1e-12)  # the mean over all units


def test_the_public_name_is_the_rooms():
    assert creode.susceptibility is susceptibility
    assert EPS * (NBETA * H + GAMMA).max() < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "three-chain"}, "form must be 'single-chain' or 'two-chain', got 'three-chain'"),
        ({"form": "two-chain"}, r"needs unrestricted=<draws of the full posterior>"),
        ({"by": "word"}, "by must be 'token', 'sample' or 'dataset', got 'word'"),
        ({"by": "token"}, "the losses are one a sample; use by='sample'"),
        ({"standardise": True}, "standardise must be 'none', 'columns' or 'both', got True"),
        ({"on": "code"}, r"on='code' is not a probe of these draws; known: \['data', 'all'\]"),
        ({"observable": "norm"}, r"observable \['norm'\] was not recorded; these draws have \['lo"),
    ],
)
def test_what_cannot_be_read_is_said(draws, options, message):
    with pytest.raises(ValueError, match=message):
        susceptibility(draws, **options)


def test_draws_that_cannot_be_read_are_said(draws):
    with pytest.raises(TypeError, match="or a dict from component names to them, got list"):
        susceptibility([1])
    tree = quadratic_tree(weights(draws=50), H, gamma=GAMMA)
    with pytest.raises(ValueError, match="the draws have no probe"):
        susceptibility(tree)
    with pytest.raises(ValueError, match="rows can be centred over 2 components or more"):
        susceptibility(draws["left"], standardise="both")
    other = draws["full"].copy()
    other.attrs["nbeta"] = 1.0
    with pytest.raises(ValueError, match="the unrestricted draws have another nbeta"):
        susceptibility(draws["left"], form="two-chain", unrestricted=other)
    for weights_given, message in (
        ({}, "weights names no probe"),
        ({"all": np.ones(3)}, r"losses of shape \(12,\) and its weights have shape \(3,\)"),
        ({"all": np.nan}, "the weights of probe 'all' are not all finite"),
        ({"code": 1.0}, "on='code' is not a probe"),
    ):
        with pytest.raises(ValueError, match=message):
            mixture_susceptibility(draws, weights_given)
