"""Joint trajectory PCA: numpy's SVD, invariances, and errors that cover what they should."""

import numpy as np
import pytest
import xarray as xr

from creode.development import TrajectoryGram, trajectory_pca

RUNS, CHECKPOINTS, SAMPLES, OUTPUTS = 3, 7, 40, 5


def outputs(seed: int = 0, samples: int = SAMPLES) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    paths = np.cumsum(rng.standard_normal((RUNS, CHECKPOINTS, 2)), axis=1) * [3.0, 1.0]
    directions = rng.standard_normal((2, samples, OUTPUTS))
    values = np.einsum("rtk,kso->rtso", paths, directions)
    values = values + 0.1 * rng.standard_normal(values.shape)
    return xr.DataArray(
        values,
        dims=("run", "checkpoint", "sample", "output"),
        coords={"run": ["a", "b", "c"], "checkpoint": np.geomspace(1, 1000, CHECKPOINTS).round()},
    )


def ideals(like: xr.DataArray) -> dict[str, xr.DataArray]:
    zero = xr.zeros_like(like.isel(run=0, checkpoint=0, drop=True))
    return {"uniform": zero, "last": like.isel(run=1, checkpoint=-1, drop=True)}


def test_scores_and_shares_are_those_of_numpys_svd() -> None:
    given = outputs()
    found = trajectory_pca(given, ideals(given), chunk=7, num_bootstrap=3)
    F = given.values.reshape(RUNS * CHECKPOINTS, -1)
    mean = F.mean(0)
    U, S, Vt = np.linalg.svd(F - mean, full_matrices=False)
    expected = (U * S)[:, :3] / SAMPLES**0.5
    signs = np.sign(expected[np.abs(expected).argmax(0), range(3)])
    score = found["score"].transpose("run", "checkpoint", "component").values.reshape(-1, 3)
    np.testing.assert_allclose(score, expected * signs, atol=1e-10)
    np.testing.assert_allclose(found["explained"], (S**2)[:3] / (S**2).sum(), atol=1e-12)
    uniform = (0 - mean) @ Vt[:3].T / SAMPLES**0.5
    np.testing.assert_allclose(found["ideal"].sel(predictor="uniform"), uniform * signs, atol=1e-10)
    rest = (mean**2).sum() / SAMPLES - (uniform**2).sum()
    assert float(found["off_plane"].sel(predictor="uniform")) == pytest.approx(rest**0.5)
    own = found["score"].sel(run="b").isel(checkpoint=-1)
    np.testing.assert_allclose(found["ideal"].sel(predictor="last"), own, atol=1e-10)
    assert found["score"].dims == ("run", "checkpoint", "component")


def test_chunks_order_rotation_of_outputs_and_shifts_do_not_matter() -> None:
    given = outputs()
    found = trajectory_pca(given, num_bootstrap=5)
    xr.testing.assert_allclose(trajectory_pca(given, num_bootstrap=5, chunk=3), found)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((OUTPUTS, OUTPUTS)))[0]
    turned = given.copy(data=given.values @ turn + np.arange(OUTPUTS))
    xr.testing.assert_allclose(trajectory_pca(turned, num_bootstrap=5), found, atol=1e-9)
    swapped = given.transpose("sample", "run", "output", "checkpoint").isel(run=[2, 0, 1])
    again = trajectory_pca(swapped, num_bootstrap=5)
    again = again.sel(run=["a", "b", "c"])
    xr.testing.assert_allclose(again, found, atol=1e-9)
    twice = xr.concat([given, given], "sample")
    same = trajectory_pca(twice, num_bootstrap=2)  # a mean over samples, not a sum
    np.testing.assert_allclose(same["score"], found["score"], atol=1e-9)
    one = trajectory_pca(given.sel(run="a", drop=True), num_bootstrap=5)
    assert one["score"].sizes == {"checkpoint": CHECKPOINTS, "component": 3}
    assert one["checkpoint"].equals(given["checkpoint"])


def test_errors_are_those_of_other_samples() -> None:
    """Scores on fresh batches scatter about each other, once aligned, as the errors say."""
    rng = np.random.default_rng(5)
    paths = np.cumsum(rng.standard_normal((1, 8, 2)), axis=1) * [2.0, 1.6]
    scores, errors = [], []
    for seed in range(30):
        noise = np.random.default_rng(100 + seed)
        directions = noise.standard_normal((2, 100, 3)) * noise.gamma(1.0, size=(1, 100, 1))
        values = np.einsum("rtk,kso->rtso", paths, directions)
        given = xr.DataArray(
            values[0], dims=("checkpoint", "sample", "output"), coords={"checkpoint": range(8)}
        )
        found = trajectory_pca(given, num_components=2, num_bootstrap=60, num_blocks=100)
        scores.append(found["score"].values)
        errors.append(found["score_se"].values)
    reference = scores[0]
    for _ in range(10):  # generalised Procrustes
        aligned = []
        for score in scores:
            u, _, vt = np.linalg.svd(score.T @ reference)
            aligned.append(score @ u @ vt)
        reference = np.mean(aligned, axis=0)
    scatter = np.sqrt((np.std(aligned, axis=0, ddof=1) ** 2).sum())
    told = np.sqrt((np.mean(errors, axis=0) ** 2).sum())
    assert told == pytest.approx(scatter, rel=0.3)
    assert told < 0.2 * np.sqrt((reference**2).sum())


def test_a_share_has_an_error_and_equal_samples_have_none() -> None:
    given = outputs()
    found = trajectory_pca(given)
    assert (found["explained_se"].values > 0).all()
    assert float(found["explained"].sum()) <= 1
    equal = given.isel(sample=[0] * 30)  # in blocks of one and of two
    none = trajectory_pca(equal, num_components=2, num_bootstrap=20, num_blocks=20)
    np.testing.assert_allclose(none["score_se"], 0, atol=1e-7)
    np.testing.assert_allclose(none["explained_se"], 0, atol=1e-7)


def test_runs_may_lack_checkpoints() -> None:
    given = outputs()
    given.loc[{"run": "b", "checkpoint": 1000.0}] = np.nan
    found = trajectory_pca(given, num_bootstrap=3)
    F = given.values.reshape(RUNS * CHECKPOINTS, -1)
    F = F[np.isfinite(F).all(1)]
    S = np.linalg.svd(F - F.mean(0), compute_uv=False)
    np.testing.assert_allclose(found["explained"], (S**2)[:3] / (S**2).sum())
    lacking = found["score"].sel(run="b", checkpoint=1000.0)
    assert np.isnan(lacking).all()
    assert int(found["score"].isnull().sum()) == 3


def test_what_has_no_common_plane_is_refused() -> None:
    given = outputs()
    with pytest.raises(ValueError, match="outputs need a dimension sample"):
        trajectory_pca(given.rename(sample="z"))
    with pytest.raises(ValueError, match=r"need dims \(\[run,\] checkpoint, sample, output\)"):
        trajectory_pca(given.rename(output="z"))
    with pytest.raises(ValueError, match="training steps as coordinate checkpoint"):
        trajectory_pca(given.drop_vars("checkpoint"))
    with pytest.raises(ValueError, match=r"from 1 to 20, one less .* got 21"):
        trajectory_pca(given, num_components=21)
    with pytest.raises(ValueError, match="an output is not finite"):
        trajectory_pca(given.where(given["sample"] != 3))
    with pytest.raises(ValueError, match=r"'uniform' has shape \(3, 5\) by \(sample, output\)"):
        trajectory_pca(given, {"uniform": ideals(given)["uniform"].isel(sample=slice(3))})
    gram = TrajectoryGram(50)
    gram.add(given)
    with pytest.raises(ValueError, match="40 samples do not fill 50 blocks"):
        gram.pca()
    with pytest.raises(ValueError, match="every chunk needs the same checkpoints"):
        gram.add(given.isel(checkpoint=slice(3)))
    with pytest.raises(ValueError, match="at least 2 blocks of samples, got 1"):
        TrajectoryGram(1)
