import numpy as np
import pytest
import xarray as xr

from creode.geometry import llc, over_study
from saved_draws import healthy_excess, probe, study, tree, with_probe

POSTERIORS = {
    "/step_000100/l0h1": tree(
        healthy_excess(seed=1), checkpoint=100, component="l0h1", model_fingerprint="b"
    ),
    "/step_000100/full": tree(
        healthy_excess(seed=2), checkpoint=100, component="full", model_fingerprint="b"
    ),
    "/step_000020/full": tree(
        healthy_excess(seed=3, chains=3), checkpoint=20, component="full", nbeta=30.0
    ),
}


def test_a_studys_reading_is_each_posteriors_own():
    out = llc(study(POSTERIORS))
    assert out["llc"].dims == ("checkpoint", "component")
    assert out["checkpoint"].values.tolist() == [20, 100]
    assert out["component"].values.tolist() == ["l0h1", "full"]
    for draws in POSTERIORS.values():
        alone = llc(draws)
        cell = out.sel(checkpoint=draws.attrs["checkpoint"], component=draws.attrs["component"])
        for name in set(alone.data_vars) - {"llc_by_chain"}:
            assert cell[name].item() == alone[name].item() or np.isnan(alone[name].item()), name
        np.testing.assert_array_equal(cell["llc_by_chain"].dropna("chain"), alone["llc_by_chain"])


def test_what_was_not_run_says_so():
    missing = llc(study(POSTERIORS)).sel(checkpoint=20, component="l0h1")
    assert np.isnan(missing["llc"])
    assert np.isnan(missing["num_parameters"])
    assert np.isnan(missing["llc_by_chain"]).all()
    assert not bool(missing["ok"])
    assert missing["reasons"].item() == "not run"


def test_a_chain_that_one_posterior_lacks_is_nan_there_and_no_reason_to_doubt():
    cell = llc(study(POSTERIORS)).sel(checkpoint=20, component="full")
    assert np.isfinite(cell["llc_by_chain"]).values.tolist() == [True, True, True, False]
    assert bool(cell["ok"])


def test_shared_attributes_stay_and_others_become_coordinates():
    out = llc(study(POSTERIORS))
    assert out.attrs["localization"] == 10.0
    assert out.attrs["on"] == "data"
    assert "nbeta" not in out.attrs
    np.testing.assert_array_equal(out["nbeta"], [[np.nan, 30.0], [50.0, 50.0]])
    assert out["model_fingerprint"].values.tolist() == [["", "model"], ["b", "b"]]


def test_a_study_without_training_steps_has_components_only():
    posteriors = {
        "/model/full": tree(healthy_excess(seed=1)),
        "/model/l0": tree(healthy_excess(seed=2), component="l0"),
    }
    out = llc(study(posteriors))
    assert out["llc"].dims == ("component",)
    assert "checkpoint" not in out.coords
    assert float(out["llc"].sel(component="l0")) == float(llc(posteriors["/model/l0"])["llc"])


def test_one_posterior_of_a_study_reads_as_itself():
    tree_of_all = study(POSTERIORS)
    node = tree_of_all["step_000100"]["full"]
    xr.testing.assert_identical(llc(node), llc(POSTERIORS["/step_000100/full"]))


def test_probes_are_read_below_each_posterior_and_missing_ones_named_by_path():
    rng = np.random.default_rng(0)
    init = rng.gamma(2.0, size=8)
    record = probe(init + rng.gamma(2.0, size=(4, 200, 8)) / 50, init)
    both = {
        path: with_probe(POSTERIORS[path], "code", record)
        for path in ("/step_000100/full", "/step_000100/l0h1")
    }
    out = llc(study(both), on="code")
    assert float(out["llc"][0, 0]) == float(llc(both["/step_000100/full"], on="code")["llc"])
    assert out.attrs["probe_fingerprint"] == "probe"
    with pytest.raises(ValueError, match=r"^/step_000020/full: on='code' is not a probe"):
        llc(study(POSTERIORS | both), on="code")


def test_any_reading_can_be_mapped():
    out = over_study(
        study(POSTERIORS),
        lambda draws: xr.Dataset({"far": draws["distance_sq"].max(), "enough": True, "text": "x"}),
    )
    assert float(out["far"].sel(checkpoint=20, component="full")) == float(
        POSTERIORS["/step_000020/full"]["distance_sq"].max()
    )
    missing = out.sel(checkpoint=20, component="l0h1")
    assert np.isnan(missing["far"])
    assert not bool(missing["enough"])
    assert missing["text"].item() == ""


def test_trees_that_cannot_be_joined_are_refused():
    twice = {"/a/full": POSTERIORS["/step_000100/full"], "/b/full": POSTERIORS["/step_000100/full"]}
    with pytest.raises(ValueError, match="/a/full and /b/full both hold checkpoint 100"):
        llc(study(twice))
    mixed = {"/a/full": tree(healthy_excess())} | POSTERIORS
    with pytest.raises(ValueError, match=r"\['/a/full'\] have no attribute 'checkpoint'"):
        llc(study(mixed))
    with pytest.raises(ValueError, match="draws holds no posterior"):
        llc(xr.DataTree())
    with pytest.raises(TypeError, match=r"must be an xarray\.DataTree"):
        over_study(tree(healthy_excess()).to_dataset(), lambda draws: draws)
