"""Quadratic losses of samples, and what reweighting them exactly does to two observables.

Here: the losses, their draws as saved, exact means and derivatives.
"""

import numpy as np
import xarray as xr

from oracles import precision, reweighted_loss_means
from saved_draws import quadratic_tree, with_responses

NBETA, GAMMA = 40.0, 10.0
GROUP = 4  # samples 0…3 are "some", all 12 are "all"


class Quadratics:
    """Twelve losses with gradients and Hessians of their own."""

    def __init__(self, seed=0, dim=3, num=12):
        rng = np.random.default_rng(seed)
        self.g = 0.4 * rng.normal(size=(num, dim))
        self.g -= self.g.mean(0)
        roots = rng.normal(size=(num, dim, dim))
        self.a = roots @ roots.transpose(0, 2, 1)
        self.h = self.a.mean(0)
        _, basis = np.linalg.eigh(self.h)  # in which the mean Hessian is diagonal
        self.g, self.a = self.g @ basis, basis.T @ self.a @ basis
        self.h = np.diag(np.diag(basis.T @ self.h @ basis))

    def tree(self, draws=20_000, seed=0, traces=False):
        rng = np.random.default_rng(seed)
        root = np.linalg.cholesky(np.linalg.inv(precision(self.h, NBETA, GAMMA)))
        w = rng.standard_normal((4, draws, len(self.h))) @ root.T
        losses = w @ self.g.T + np.einsum("cdp,ipq,cdq->cdi", w, self.a, w) / 2
        tree = quadratic_tree(w, np.diag(self.h), gamma=GAMMA, nbeta=NBETA)
        phi = {"loss": losses.mean(2), "some": losses[..., :GROUP].mean(2)}
        tree = with_responses(tree, {"all": losses, "some": losses[..., :GROUP]}, phi)
        if traces:
            nodes = {node.path: node.to_dataset(inherit=False) for node in tree.subtree}
            nodes["/probes/all"]["unit_loss"] = (("chain", "draw", "sample"), losses)
            tree = xr.DataTree.from_dict(nodes)
        return tree

    def exact(self, h, toward):
        """E of the two observables when the data are (1 − h) of all and h of `toward` (12,)."""
        rho = (1 - h) + h * len(toward) * toward
        return self.means(rho)

    def means(self, rho):
        found = reweighted_loss_means(self.g, self.a, rho, NBETA, GAMMA)
        return np.array([found.mean(), found[:GROUP].mean()])


SOME = np.r_[np.full(GROUP, 1 / GROUP), np.zeros(12 - GROUP)]


def derivatives(q, toward, step=0.02):
    """The first three, by central differences of the exact means."""
    far, low, at, high, beyond = (q.exact(h * step, toward) for h in (-2, -1, 0, 1, 2))
    first = (8 * (high - low) - (beyond - far)) / (12 * step)
    second = (16 * (high + low) - (beyond + far) - 30 * at) / (12 * step**2)
    return first, second, (beyond - 2 * high + 2 * low - far) / (2 * step**3)
