"""Draws with full traces, made in numpy from Gaussian posteriors whose covariances are known.

Here: quadratic losses with gradients and Hessians of their own, their exact covariance, and the
saved trees of independent or autocorrelated draws.
Not here: estimates.
Dimensions: C chains, D draws, P weights, S samples, T tokens.
"""

import numpy as np
import xarray as xr

from oracles import loss_covariance, precision
from saved_draws import ar1, healthy_excess, probe, tree, with_probe


class Losses:
    """ℓ_i(w) = c_i + g_i·δ + ½ δᵀA_iδ with Σg = 0, under P = nβ mean(A) + γI."""

    def __init__(self, num=15, dim=5, nbeta=50.0, gamma=10.0, seed=1):
        rng = np.random.default_rng(seed)
        self.offsets = rng.gamma(2.0, size=num)
        self.gradients = rng.normal(size=(num, dim))
        self.gradients -= self.gradients.mean(0)
        roots = rng.normal(size=(num, dim, dim))
        self.curvatures = roots @ roots.transpose(0, 2, 1)
        hessian = self.curvatures.mean(0)
        self.nbeta, self.gamma, self.hessian = nbeta, gamma, hessian
        self.posterior = np.linalg.inv(precision(hessian, nbeta, gamma))
        self.covariance = loss_covariance(self.gradients, self.curvatures, self.posterior)

    @property
    def correlation(self):
        scale = np.sqrt(np.diag(self.covariance))
        return self.covariance / np.outer(scale, scale)

    def draws(self, chains=4, draws=400, rho=0.0, seed=0):
        """Losses (C, D, S) of draws from the posterior, autocorrelated by rho."""
        dim = self.gradients.shape[1]
        white = np.moveaxis(ar1((chains, dim, draws), rho, seed), 1, 2)
        delta = white @ np.linalg.cholesky(self.posterior).T
        bent = np.einsum("cdp,ipq,cdq->cdi", delta, self.curvatures, delta, optimize=True)
        return self.offsets + delta @ self.gradients.T + bent / 2


def saved(probes, masks=None, **changes):
    """A healthy posterior's tree with full traces (C, D, S[, T]) of every probe."""
    chains, draws = next(iter(probes.values())).shape[:2]
    result = tree(healthy_excess(chains=chains, draws=draws), **changes)
    for name, losses in probes.items():
        record = probe(losses, losses[0, 0], (masks or {}).get(name))
        units = ("sample", "token")[: losses.ndim - 2]
        record["unit_loss"] = (("chain", "draw", *units), losses.astype(np.float32))
        result = with_probe(result, name, record)
    return result


def noise(samples, chains=4, draws=400, seed=0):
    """Independent losses (C, D, S)."""
    return np.random.default_rng(seed).normal(size=(chains, draws, samples))


def rearranged(draws, **indexers):
    """The tree with every node's chains (or other dimensions) taken in another order."""
    return xr.DataTree.from_dict(
        {
            node.path: node.to_dataset(inherit=False).isel(indexers, missing_dims="ignore")
            for node in draws.subtree
        }
    )
