"""Posteriors with closed forms, and a chain written out step by step, for the sampling tests."""

from dataclasses import replace

import torch

import creode
from creode.sampling import SGLD
from creode.testbeds import quadratic

EIGENVALUES = (0.5, 1.0, 2.0, 3.0, 4.0, 0.8, 1.5)
BLOCKS = {"first": (2, 2), "second": (3,)}


def noisy_quadratic(num_samples=24, **scales):
    scales = {"gradient_scale": 0.3, "curvature_scale": 0.3, "offset_scale": 1.0} | scales
    return quadratic(EIGENVALUES, num_samples=num_samples, blocks=BLOCKS, seed=3, **scales)


def evenly_noisy_quadratic(gradient_variance, *, num_samples=24):
    """A quadratic whose samples' gradients at w* have covariance `gradient_variance` · I."""
    testbed = quadratic(EIGENVALUES, num_samples=num_samples, seed=3)
    raw = torch.randn(num_samples, 7, generator=torch.Generator().manual_seed(0)).double()
    gradients, _ = torch.linalg.qr(raw - raw.mean(0))
    gradients *= (gradient_variance * num_samples) ** 0.5
    columns = {**testbed.data.columns, "gradients": gradients}
    return replace(testbed, gradients=gradients, data=replace(testbed.data, columns=columns))


def posterior(testbed, *, nbeta=50.0, localization=10.0, component="full"):
    return creode.LocalPosterior(
        testbed.model,
        testbed.task,
        testbed.data,
        nbeta=nbeta,
        localization=localization,
        component=component,
    )


def draw(testbed, *, sampler=None, component="full", mode="sequential", **options):
    settings = {"chains": 2, "draws": 10, "burnin": 5, "steps_per_draw": 2, "batch_size": 8}
    fields = {"nbeta", "localization"}
    target = {name: options.pop(name) for name in fields & set(options)}
    execution = options.pop("execution", creode.Execution(mode=mode))
    return creode.sample(
        posterior(testbed, component=component, **target),
        options.pop("probes", None),
        sampler=sampler or SGLD(step_size=4e-3),
        execution=execution,
        observables=options.pop("observables", None),
        out=options.pop("out", None),
        on_progress=options.pop("on_progress", None),
        **settings | options,
    )


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def assert_same(one, other, rtol=0.0):
    import xarray as xr

    assert {node.path for node in one.subtree} == {node.path for node in other.subtree}
    for node in one.subtree:
        left, right = node.to_dataset(), other[node.path].to_dataset()
        if rtol:
            xr.testing.assert_allclose(left, right, rtol=rtol)
        else:
            xr.testing.assert_equal(left, right)
