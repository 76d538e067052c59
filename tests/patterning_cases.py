"""Quadratic losses whose posterior, and whose minimum under any weights, are known exactly.

ℓ_i(w) = g_i·δ + ½ δᵀA_iδ, Σ g = 0, in a basis in which the mean Hessian is diagonal.
Dimensions: C chains, D draws, P weights, N samples.
"""

import copy

import numpy as np
import xarray as xr

from oracles import loss_covariance, precision, reweighted_loss_means
from saved_draws import quadratic_tree, with_responses

SPLITS = {"code": slice(0, 6), "prose": slice(6, 12)}
PARTS = {"a": [0, 1, 2], "b": [2, 3, 4, 5], "c": [6, 7]}  # the weights each may move


class Quadratics:
    def __init__(self, seed=0, num=40, dim=4, nbeta=400.0, gamma=4.0, slope=0.5, spread=0.3):
        rng = np.random.default_rng(seed)
        self.nbeta, self.gamma = nbeta, gamma
        h = rng.uniform(0.5, 3.0, dim)
        root = np.sqrt(h)
        g = slope * rng.normal(size=(num, dim)) * root
        self.g = g - g.mean(0)
        e = rng.normal(size=(num, dim, dim))
        e = spread * (e + e.transpose(0, 2, 1)) / (2 * dim**0.5)
        self.a = np.diag(h) + root[:, None] * (e - e.mean(0)) * root
        self.h = h

    @property
    def covariance(self):
        """Cov(ℓ_i, ℓ_j) of the posterior, (N, N)."""
        inverse = np.linalg.inv(precision(np.diag(self.h), self.nbeta, self.gamma))
        return loss_covariance(self.g, self.a, inverse)

    def effects(self):
        """d⟨φ⟩/dρ_j of the means over all and over each split, at weights that sum to N, (3, N)."""
        chi = -(self.covariance - self.covariance.mean(1, keepdims=True))
        rows = [chi.mean(0), *(chi[s].mean(0) for s in SPLITS.values())]
        return self.nbeta / len(self.g) * np.array(rows)

    def tree(self, draws=400, seed=0, chains=4, tokens=None, traces=False):
        """Draws with every loss; as those of samples of `tokens` tokens if told."""
        rng = np.random.default_rng(seed)
        scale = 1 / np.sqrt(self.nbeta * self.h + self.gamma)
        w = rng.standard_normal((chains, draws, len(self.h))) * scale
        losses = self.losses(w)
        phi = {"loss": losses.mean(-1)}
        phi |= {name: losses[..., split].mean(-1) for name, split in SPLITS.items()}
        tree = quadratic_tree(w, self.h, gamma=self.gamma, nbeta=self.nbeta)
        if tokens:
            losses = losses.reshape(*losses.shape[:2], -1, tokens)
        return with_responses(tree, {"train": losses}, phi, traces=traces)

    def around(self, rho, draws=400, seed=0, chains=4):
        """Draws of the posterior on Σ ρ ℓ/N around its minimum."""
        rng = np.random.default_rng(seed)
        hessian = np.einsum("i,iab->ab", rho, self.a) / len(rho)
        root = np.linalg.cholesky(np.linalg.inv(precision(hessian, self.nbeta, self.gamma)))
        w = rng.standard_normal((chains, draws, len(self.h))) @ root.T
        losses = self.losses(self.minimum(rho) + w)
        weighted = losses @ rho / len(rho)
        at_rest = self.losses(self.minimum(rho)) @ rho / len(rho)
        phi = {"loss": weighted}
        phi |= {name: losses[..., split].mean(-1) for name, split in SPLITS.items()}
        tree = quadratic_tree(w, self.h, gamma=self.gamma, nbeta=self.nbeta)
        excess = (("chain", "draw"), weighted - at_rest)
        root = tree.to_dataset().assign(
            loss=(excess[0], 1 + excess[1]), excess_sq=(excess[0], excess[1] ** 2)
        )
        tree = xr.DataTree(root)
        return with_responses(tree, {"train": losses}, phi)

    def component_trees(self, draws=400, seed=0, chains=4):
        """Draws of each part's own posterior, the other weights at 0."""
        return {
            name: self._restricted(chosen).tree(draws, seed + number, chains)
            for number, (name, chosen) in enumerate(PARTS.items())
        }

    def component_effects(self):
        """d⟨L⟩/dρ_j under each part's posterior, at weights that sum to N, (P, N)."""
        return np.array([self._restricted(chosen).effects()[0] for chosen in PARTS.values()])

    def component_change(self, name, rho):
        """What ⟨L⟩ under one part's posterior changes by, exact in ρ."""
        part = self._restricted(PARTS[name])
        with_, without = (
            reweighted_loss_means(part.g, part.a, r, self.nbeta, self.gamma).mean()
            for r in (rho, np.ones_like(rho))
        )
        return with_ - without

    def _restricted(self, chosen):
        """The same losses of some weights, the others at 0."""
        part = copy.copy(self)
        part.g, part.h = self.g[:, chosen], self.h[chosen]
        part.a = self.a[:, chosen][:, :, chosen]
        return part

    def losses(self, w):
        """ℓ_i(w), (..., N)."""
        return w @ self.g.T + np.einsum("...p,ipq,...q->...i", w, self.a, w) / 2

    def minimum(self, rho):
        """The weights that training on Σ ρ ℓ ends at."""
        hessian = np.einsum("i,iab->ab", rho, self.a)
        return -np.linalg.solve(hessian, rho @ self.g)

    def measured(self, w):
        losses = self.losses(w)
        return {name: float(losses[split].mean()) for name, split in SPLITS.items()}
