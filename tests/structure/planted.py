"""Response matrices whose structure is known, with noise of a known kind.

Dimensions: R replicates, N rows, P components, K modes.
"""

import numpy as np
import xarray as xr


def low_rank(rng, rows, components, strengths):
    """A matrix (N, P) with the given singular values in random directions."""
    k = len(strengths)
    u = np.linalg.qr(rng.standard_normal((rows, k)))[0]
    v = np.linalg.qr(rng.standard_normal((components, k)))[0]
    return (u * np.asarray(strengths, float)) @ v.T


def noisy(rng, truth, *, replicates, error, common=0):
    """Replicates (R, N, P) whose mean misses `truth` by about `error` in every entry.

    common > 0: rows share their noise through so many factors, as tokens seen by the same draws do,
    and its size differs between components.
    """
    shape = (replicates, *truth.shape)
    if common:
        weights = rng.standard_normal((truth.shape[0], common)) / np.sqrt(common)
        noise = np.einsum(
            "nf,rfp->rnp", weights, rng.standard_normal((replicates, common, shape[2]))
        )
        noise = noise * rng.uniform(0.5, 1.5, shape[2])
    else:
        noise = rng.standard_normal(shape)
    return xr.DataArray(
        truth + error * np.sqrt(replicates) * noise,
        dims=("replicate", "row", "component"),
        coords={
            "row": np.arange(truth.shape[0]),
            "component": [f"l0h{j}" for j in range(truth.shape[1])],
        },
    )


def preprocessed(truth, scale, *, standardise=True, centre=True):
    """What `modes` decomposes, from the truth and the scales that were measured."""
    if standardise:
        truth = (truth - truth.mean(0)) / scale
    return truth - truth.mean(1, keepdims=True) if centre else truth
