import numpy as np
import pytest
import xarray as xr
from planted import low_rank, noisy, preprocessed

from creode.structure import aligned, modes, principal_angles

PLAIN = {"standardise": False, "centre": False}
QUICK = {"resamples": 199}


def covered(
    repetitions, *, rows, components, strengths, error, common=0, replicates=24, **settings
):
    """Share of intervals, loadings and scores that hold the truth, and how many were resolved."""
    rng = np.random.default_rng(5)
    intervals, loadings, scores, resolved = [], [], [], []
    for seed in range(repetitions):
        truth = low_rank(rng, rows, components, strengths)
        replicates_of_truth = noisy(rng, truth, replicates=replicates, error=error, common=common)
        out = modes(replicates_of_truth, num_modes=4, seed=seed, **QUICK, **settings)
        chosen = {name: settings.get(name, True) for name in PLAIN}
        u, s, v = np.linalg.svd(preprocessed(truth, out["column_scale"].values, **chosen))
        resolved.append(int(out["num_resolved"]))
        for k in range(min(resolved[-1], len(strengths))):
            here = out.isel(mode=k)
            intervals.append(here["singular_value_low"] <= s[k] <= here["singular_value_high"])
            sign = np.sign(v[k] @ here["loading"].values)
            missed = np.abs(here["loading"].values - sign * v[k])
            loadings.append((missed < 1.96 * here["loading_se"].values).mean())
            missed = np.abs(here["score"].values - sign * s[k] * u[:, k])
            scores.append((missed < 1.96 * here["score_se"].values).mean())
    return np.mean(intervals), np.mean(loadings), np.mean(scores), np.bincount(resolved)


def test_a_planted_response_is_found_and_its_intervals_hold_the_truth():
    interval, loading, score, resolved = covered(
        30, rows=40, components=8, strengths=[6, 3], error=0.1
    )
    assert 0.85 <= interval <= 0.99
    assert 0.85 <= loading <= 0.99
    assert 0.85 <= score <= 0.99
    assert resolved[2:].sum() == 30
    assert resolved[3:].sum() <= 6  # 0.05 of 30, and the chance of 7 is below 0.001


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        {"rows": 60, "components": 8, "strengths": [6, 3], "error": 0.15, **PLAIN},
        {"rows": 60, "components": 8, "strengths": [6, 3], "error": 0.06},
        {"rows": 60, "components": 8, "strengths": [6, 4], "error": 0.04, "common": 6},
        {"rows": 12, "components": 30, "strengths": [9, 5], "error": 0.1},
        {"rows": 300, "components": 6, "strengths": [12], "error": 0.1, "replicates": 10},
    ],
    ids=["plain", "preprocessed", "shared noise", "wide", "few replicates"],
)
def test_intervals_hold_the_truth_over_many_repetitions(case):
    interval, loading, score, resolved = covered(200, **case)
    assert 0.85 <= interval <= 0.99
    assert 0.85 <= loading <= 0.99
    assert 0.85 <= score <= 0.99
    known = len(case["strengths"])
    assert resolved[known:].sum() >= 190
    assert resolved[known + 1 :].sum() <= 20  # 0.05 of 200 and 3 of its standard deviations


def test_errors_are_those_of_the_noise_and_the_noises_share_is_taken_away():
    rng = np.random.default_rng(0)
    rows, components, error = 400, 8, 0.2
    truth = low_rank(rng, rows, components, [10.0])
    measured, corrected, errors = [], [], []
    for seed in range(40):
        replicates = noisy(rng, truth, replicates=20, error=error)
        out = modes(replicates, num_modes=1, seed=seed, **PLAIN, **QUICK).isel(mode=0)
        measured.append(float(out["singular_value"]))
        corrected.append(float(out["singular_value_corrected"]))
        errors.append(float(out["singular_value_se"]))
    spread = np.std(corrected, ddof=1)
    # first order: the error of one entry, and rows + components of its squares come on top
    assert np.mean(errors) == pytest.approx(error, rel=0.15)
    assert spread == pytest.approx(error, rel=0.4)
    assert np.mean(measured) - 10 == pytest.approx((rows + components) * error**2 / 20, rel=0.2)
    assert abs(np.mean(corrected) - 10) < 4 * spread / np.sqrt(40)


def false_alarms(repetitions, **case):
    rng = np.random.default_rng(7)
    settings = {name: case.pop(name) for name in PLAIN if name in case}
    truth = np.zeros((case.pop("rows"), case.pop("components")))
    found = 0
    for seed in range(repetitions):
        out = modes(noisy(rng, truth, **case), seed=seed, num_modes=2, **QUICK, **settings)
        found += int(out["num_resolved"]) > 0
        assert out["singular_value_se"].isnull().all() or int(out["num_resolved"])
    return found / repetitions


def test_noise_has_no_mode():
    assert false_alarms(60, rows=40, components=8, replicates=12, error=1.0, **PLAIN) <= 0.15
    assert false_alarms(60, rows=40, components=8, replicates=12, error=1.0, common=4) <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("common", [0, 3])
@pytest.mark.parametrize("replicates", [6, 24])
@pytest.mark.parametrize("settings", [PLAIN, {}], ids=["plain", "preprocessed"])
def test_noise_has_no_mode_in_95_of_100(common, replicates, settings):
    alarms = false_alarms(
        400, rows=40, components=8, replicates=replicates, error=1.0, common=common, **settings
    )
    assert alarms <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize(("rows", "components"), [(3, 30), (30, 3)])
def test_a_later_mode_is_held_against_noise_in_the_directions_that_are_left(rows, components):
    rng = np.random.default_rng(12)
    settings = {"num_modes": 2, **PLAIN, **QUICK}
    floors = [
        float(
            modes(noisy(rng, truth, replicates=40, error=0.1), seed=seed, **settings).noise_floor[1]
        )
        for seed, truth in enumerate([low_rank(rng, rows, components, [20.0])] * 30)
    ]
    left = 0.1 * rng.standard_normal(
        (4000, rows - 1, components - 1)
    )  # one direction of each is taken
    expected = np.quantile(np.linalg.svd(left, compute_uv=False)[:, 0], 0.95)
    assert np.mean(floors) == pytest.approx(expected, rel=0.02)


def test_the_test_of_a_mode_can_be_told_how_often_to_alarm():
    rng = np.random.default_rng(3)
    alarms = 0
    for seed in range(60):
        noise = noisy(rng, np.zeros((20, 5)), replicates=12, error=1.0)
        out = modes(noise, false_alarm=0.5, seed=seed, num_modes=1, **PLAIN, **QUICK)
        alarms += int(out["num_resolved"])
    assert 15 <= alarms <= 45


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(11)
    truth = low_rank(rng, 50, 8, [8, 4])
    return noisy(rng, truth, replicates=16, error=0.05)


@pytest.fixture(scope="module")
def found(planted):
    return modes(planted, num_modes=4, seed=1)


def test_the_decomposition_is_that_of_the_preprocessed_mean(planted, found):
    x = planted.mean("replicate").values
    y = (x - x.mean(0)) / x.std(0)
    y = y - y.mean(1, keepdims=True)
    np.testing.assert_allclose(
        found["singular_value"], np.linalg.svd(y, compute_uv=False)[:4], rtol=1e-10
    )
    score, loading = found["score"].values, found["loading"].values
    np.testing.assert_allclose(y @ loading.T, score.T, atol=1e-10)
    np.testing.assert_allclose((score**2).sum(1), found["singular_value"] ** 2, rtol=1e-10)
    np.testing.assert_allclose(loading @ loading.T, np.eye(4), atol=1e-10)
    assert (found["loading"].max("component") >= -found["loading"].min("component")).all()
    np.testing.assert_allclose(found["column_mean"], x.mean(0), atol=1e-12)
    assert found.attrs["standardise"] == found.attrs["centre"] == 1


@pytest.mark.parametrize("dim", ["replicate", "row", "component"])
def test_order_does_not_matter(planted, found, dim):
    shuffled = planted.isel({dim: np.random.default_rng(2).permutation(planted.sizes[dim])})
    other = modes(shuffled, num_modes=4, seed=1)
    for name, values in found.data_vars.items():
        if values.dtype.kind == "f":
            again = other[name].reindex_like(values)
            np.testing.assert_allclose(again, values, rtol=1e-6, atol=1e-8, err_msg=name)
    assert int(other["num_resolved"]) == int(found["num_resolved"]) == 2


def test_the_sign_of_the_response_turns_scores_and_nothing_else(planted, found):
    other = modes(-planted, num_modes=4, seed=1)
    np.testing.assert_allclose(other["singular_value_se"], found["singular_value_se"], rtol=1e-6)
    np.testing.assert_allclose(other["loading"], found["loading"], atol=1e-9)
    np.testing.assert_allclose(other["score"], -found["score"], atol=1e-9)


def test_many_rows_are_compressed_without_a_difference(planted):
    short = planted.isel(replicate=slice(6), row=slice(40))
    repeated = xr.concat([short] * 30, "row")
    repeated = repeated.assign_coords(row=np.arange(repeated.sizes["row"]))
    assert short.sizes["row"] < 6 * 8 < repeated.sizes["row"]
    settings = {"num_modes": 2, "standardise": True, "centre": True, "seed": 3}
    one, many = modes(short, **settings), modes(repeated, **settings)
    for name in ("singular_value", "noise_floor", "singular_value_corrected", "singular_value_se"):
        np.testing.assert_allclose(many[name], one[name] * np.sqrt(30), rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(many["loading_se"], one["loading_se"], rtol=1e-6)
    np.testing.assert_allclose(many["score_se"][:, :40], one["score_se"], rtol=1e-6)


def test_stability_tells_modes_of_equal_strength_from_modes_apart():
    rng = np.random.default_rng(4)
    apart = modes(
        noisy(rng, low_rank(rng, 60, 8, [9, 4]), replicates=24, error=0.1), num_modes=3, **PLAIN
    )
    equal = modes(
        noisy(rng, low_rank(rng, 60, 8, [6, 6]), replicates=24, error=0.1), num_modes=3, **PLAIN
    )
    assert (apart["mode_cosine"][:2] > 0.97).all()
    assert (equal["mode_cosine"][:2] < 0.9).any()
    assert float(apart["subspace_angle"][1]) < 10
    assert float(equal["subspace_angle"][1]) < 10  # the plane is known, its axes are not
    assert float(apart["subspace_angle"][2]) > 30  # the third is noise


def test_halves_have_the_noise_of_half_the_replicates():
    rng = np.random.default_rng(6)
    error, strength = 0.05, 5.0
    out = modes(
        noisy(rng, low_rank(rng, 40, 3, [strength]), replicates=40, error=error),
        num_modes=1,
        **PLAIN,
    )
    # two other directions, each off by √2 error/strength in a half and √2 more between halves
    typical = np.degrees(2 * error / strength * np.sqrt(2))
    assert 0.4 * typical < float(out["subspace_angle"][0]) < 2.0 * typical


def test_chains_can_be_resampled_as_wholes():
    rng = np.random.default_rng(8)
    truth = low_rank(rng, 30, 6, [8])
    of_chain = noisy(rng, truth, replicates=12, error=0.2)
    within = xr.concat([of_chain, of_chain], "replicate").assign_coords(
        chain=("replicate", np.tile(np.arange(12), 2))
    )
    honest = modes(within, by="chain", num_modes=1, seed=0, **PLAIN).isel(mode=0)
    blind = modes(within, num_modes=1, seed=0, **PLAIN).isel(mode=0)
    alone = modes(of_chain, num_modes=1, seed=0, **PLAIN).isel(mode=0)
    assert float(honest["singular_value_se"]) == pytest.approx(float(alone["singular_value_se"]))
    ratio = float(blind["singular_value_se"] / honest["singular_value_se"])
    assert ratio == pytest.approx(1 / np.sqrt(2), rel=0.2)
    assert honest.attrs["by"] == "chain"
    assert honest.attrs["num_replicates"] == 12


def test_a_failed_replicate_is_told_and_nothing_is_read(planted):
    broken = planted.copy()
    broken[3, 5, 2] = np.nan
    out = modes(broken, num_modes=4)
    assert not bool(out["ok"])
    assert "1 replicates are not finite, the first is number 3" in str(out["reasons"].item())
    numbers = [name for name, values in out.data_vars.items() if values.dtype.kind == "f"]
    assert all(out[name].isnull().all() for name in numbers)
    assert not out["resolved"].any()
    whole = modes(planted, num_modes=4)
    assert set(out.data_vars) == set(whole.data_vars)
    assert all(out[name].sizes == whole[name].sizes for name in whole.data_vars)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.isel(replicate=slice(5)), "5 replicates, but at least 6"),
        (lambda x: x.rename(row="token"), r"dimensions \('replicate', 'token', 'component'\)"),
        (lambda x: x.isel(component=[0]), "50 rows and 1 components has no structure"),
        (lambda x: x.where(x["component"] != "l0h3", 2.0), "'l0h3' responds the same in every row"),
    ],
)
def test_a_matrix_that_cannot_serve_is_refused(planted, change, message):
    with pytest.raises(ValueError, match=message):
        modes(change(planted))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_modes": 0}, "num_modes must be at least 1, got 0"),
        ({"false_alarm": 5}, "false_alarm must lie between 0 and 1, got 5"),
        ({"resamples": 3}, "3 resamples show neither .* chance of 0.05: use at least 20"),
        ({"false_alarm": 0.01, "resamples": 50}, "use at least 99, better 499"),
        ({"by": "chain"}, r"by='chain' is not a coordinate along replicate; known: \[\]"),
    ],
)
def test_settings_out_of_range_are_refused(planted, settings, message):
    with pytest.raises(ValueError, match=message):
        modes(planted, **settings)


def test_something_else_than_labelled_replicates_is_refused():
    with pytest.raises(TypeError, match=r"must be a DataArray .* got ndarray"):
        modes(np.zeros((6, 4, 4)))


def loadings_of(vectors):
    names = [f"c{j}" for j in range(len(vectors[0]))]
    return xr.DataArray(np.array(vectors, float), dims=("mode", "component"),
                        coords={"component": names})  # fmt: skip


def test_principal_angles_are_those_between_planes():
    c, s = np.cos(np.radians(25)), np.sin(np.radians(25))
    first = loadings_of([[1, 0, 0, 0], [0, 1, 0, 0]])
    second = loadings_of([[0, c, s, 0], [1, 0, 0, 0]])
    np.testing.assert_allclose(principal_angles(first, second), [0, 25], atol=1e-5)
    turned = second.isel(component=[3, 1, 0, 2])
    np.testing.assert_allclose(principal_angles(first, turned), [0, 25], atol=1e-5)
    with pytest.raises(ValueError, match=r"over different components: \['c3'\]"):
        principal_angles(first, second.isel(component=slice(3)))


def test_alignment_turns_a_basis_onto_its_reference():
    rng = np.random.default_rng(9)
    reference = loadings_of(np.linalg.qr(rng.standard_normal((5, 3)))[0].T)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    given = reference.copy(data=turn @ reference.values)
    np.testing.assert_allclose(aligned(given, reference), reference, atol=1e-10)
    with pytest.raises(ValueError, match="select as many modes of each"):
        aligned(given.isel(mode=slice(2)), reference)
