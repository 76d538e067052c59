"""Smoothing against closed forms."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import multivariate_normal

from creode.development import smooth
from creode.development.smoothing import KERNELS, LINE


def trajectory(curve, num=40, error=0.1, seed=0):
    rng = np.random.default_rng(seed)
    steps = np.geomspace(10, 1e5, num)
    se = error * rng.uniform(0.5, 1.5, num)
    value = curve(np.log(steps)) + se * rng.standard_normal(num)
    return xr.Dataset(
        {"llc": ("checkpoint", value), "llc_se": ("checkpoint", se)}, {"checkpoint": steps}
    )


def correlation(kernel, r):
    r = np.abs(r)
    if kernel == "squared exponential":
        return np.exp(-(r**2) / 2)
    if kernel == "matern 5/2":
        return (1 + np.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-np.sqrt(5) * r)
    return (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r)


@pytest.mark.parametrize("kernel", KERNELS)
def test_posterior_and_evidence_are_those_of_the_normal_distribution(kernel):
    readings = trajectory(lambda x: np.sin(1.5 * x))
    fit = smooth(readings, kernels=(kernel,))
    assert fit.kernel == kernel
    x, y = np.log(readings["checkpoint"].values), readings["llc"].values
    line = LINE * np.ptp(y) / np.ptp(x)

    def covariance(a, b):
        plane = line**2 * (1 + np.outer(a - x.mean(), b - x.mean()))
        r = (a[:, None] - b) / fit.length_scale
        return plane + fit.amplitude**2 * correlation(kernel, r)

    noise = np.diag(readings["llc_se"].values ** 2 + fit.extra_noise**2)
    whole = covariance(x, x) + noise
    exact = multivariate_normal.logpdf(y - y.mean(), np.zeros(len(x)), whole, allow_singular=True)
    assert fit.log_evidence == pytest.approx(exact, abs=1e-4)
    at = np.log([20.0, 333.0, 5e4, 2e5])
    gain = np.linalg.solve(whole, covariance(x, at)).T
    out = fit.posterior(np.exp(at))
    np.testing.assert_allclose(out["value"], y.mean() + gain @ (y - y.mean()), atol=1e-6)
    variance = np.diag(covariance(at, at) - gain @ covariance(x, at))
    np.testing.assert_allclose(out["value_se"], np.sqrt(variance), rtol=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_rate_is_the_derivative_in_log_step(kernel):
    fit = smooth(trajectory(lambda x: np.sin(1.5 * x)), kernels=(kernel,))
    x, h = np.log([30.0, 800.0, 3e4]), 1e-4
    ends = [fit.posterior(np.exp(x + side * h))["value"].values for side in (-1, 1)]
    out = fit.posterior(np.exp(x))
    np.testing.assert_allclose(out["rate"], (ends[1] - ends[0]) / (2 * h), rtol=1e-3)
    pairs = np.exp(np.concatenate([x - h, x + h]))
    drawn = fit.draws(pairs, num=8000, seed=0)["value"].values
    slope = (drawn[:, 3:] - drawn[:, :3]) / (2 * h)
    tolerance = 0.1 if kernel == "matern 3/2" else 0.05  # its rate has no derivative
    np.testing.assert_allclose(slope.std(0), out["rate_se"], rtol=tolerance)


def test_draws_have_the_mean_and_the_errors_of_the_posterior():
    fit = smooth(trajectory(np.tanh))
    steps = [15.0, 400.0, 9e4]
    out, drawn = fit.posterior(steps), fit.draws(steps, num=6000, seed=1)
    for name in ("value", "rate"):
        error = out[f"{name}_se"]
        assert (abs(drawn[name].mean("sample") - out[name]) < 4 * error / 6000**0.5).all()
        np.testing.assert_allclose(drawn[name].std("sample"), error, rtol=0.05)
    assert drawn.identical(fit.draws(steps, num=6000, seed=1))


def test_errors_that_are_too_small_are_noticed():
    honest = trajectory(lambda x: 0.1 * x, num=120)
    told = honest.assign(llc_se=honest["llc_se"] / 10)
    assert smooth(told).extra_noise == pytest.approx(0.1, rel=0.25)
    assert smooth(honest).extra_noise < 0.05
    assert smooth(told, extra_noise=False).extra_noise == 0


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match=r"kernels must be some of .*got \('cubic',\)"):
        smooth(trajectory(np.tanh), kernels=("cubic",))
