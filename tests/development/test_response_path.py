"""The path through responses: what is planted is found, with errors that hold."""

import numpy as np
import pytest
import xarray as xr

from creode.development import response_path

STEPS = np.unique(np.geomspace(1, 1e4, 16).round().astype(int))
AT = np.linspace(0, 1, len(STEPS))
PARTS, PROBES = ["l0h0", "l0h1", "l1h0"], ["code", "prose"]


def planted():
    """χ on a curve in two directions; the second component's scale is a hundred times as large."""
    rng = np.random.default_rng(2)
    one, two = rng.standard_normal((2, len(PARTS), len(PROBES)))
    path = AT[:, None, None] * one + np.sin(np.pi * AT)[:, None, None] * two
    return path * np.array([1.0, 100.0, 1.0])[:, None]


def labelled(values):
    return xr.DataArray(
        values, {"checkpoint": STEPS, "component": PARTS, "probe": PROBES},
        ("checkpoint", "component", "probe"),
    )  # fmt: skip


def errors(size):
    return labelled(np.broadcast_to(size * np.array([1, 100.0, 1])[:, None], planted().shape))


def test_the_path_is_that_of_the_standardised_responses():
    chi = labelled(planted())
    found = response_path(chi, errors(1e-6))
    assert found["explained"].values[:2].sum() == pytest.approx(1, abs=1e-9)
    assert float(found["noise"]) < 1e-9
    scale = ((chi - chi.mean("checkpoint")) ** 2).mean(("checkpoint", "probe")) ** 0.5
    rows = (chi - chi.mean("checkpoint")) / scale
    again = (found["score"] * found["loading"]).sum("axis")
    np.testing.assert_allclose(again, rows, atol=1e-8)
    lengths = (found["loading"] ** 2).sum(("component", "probe"))
    np.testing.assert_allclose(lengths, 1)
    wide = response_path(7 * chi, errors(7e-6))
    np.testing.assert_allclose(wide["score"], found["score"], atol=1e-9)


def test_errors_are_those_of_seeing_chi_again():
    size = 0.05
    exact = response_path(labelled(planted()), errors(size), num_axes=2)
    truth, off = exact["score"].values, []
    for seed in range(40):
        noise = errors(size) * np.random.default_rng(seed).standard_normal(planted().shape)
        seen = response_path(labelled(planted()) + noise, errors(size), num_axes=2)
        signs = np.sign((seen["score"].values * truth).sum(0))
        off.append((seen["score"].values * signs - truth) / seen["score_se"].values)
    spread = np.sqrt(np.mean(np.square(off)))
    assert 0.7 < spread < 1.4
    assert (exact["score_se"] > 0).all()


def test_the_share_of_noise_is_what_noise_alone_has():
    noise = errors(1.0) * np.random.default_rng(0).standard_normal(planted().shape)
    assert float(response_path(noise, errors(1.0))["noise"]) == pytest.approx(1, abs=0.25)


def test_checkpoints_with_gaps_are_left_out_and_too_few_are_refused():
    chi = labelled(planted())
    chi[4, 1, 0] = np.nan
    found = response_path(chi, errors(0.1))
    assert STEPS[4] not in found["checkpoint"]
    assert found.sizes["checkpoint"] == len(STEPS) - 1
    chi[2:] = np.nan
    with pytest.raises(ValueError, match="at 2 checkpoints, and a path needs 3"):
        response_path(chi, errors(0.1))
    with pytest.raises(ValueError, match="the same at every checkpoint"):
        response_path(labelled(0 * planted() + 1), errors(0.1))
