"""Gaussian posteriors of quadratic losses, drawn exactly as SGLD discretises them.

Dimensions: C chains, D draws, P weights, S samples.
"""

from __future__ import annotations

import numpy as np

from oracles import loss_covariance, loss_means
from saved_draws import quadratic_tree, sgld_on_a_quadratic, with_responses

H = np.array([0.5, 2.0, 4.0, 8.0, 1.0])
GAMMA, NBETA, EPS = 10.0, 50.0, 1e-3
NUM_SAMPLES = 12


def quadratic_losses(num_samples=NUM_SAMPLES, spread=0.8, slope=0.06, seed=0):
    """Gradients (S, P) that sum to 0 and Hessians (S, P, P) with the mean diag(H)."""
    rng = np.random.default_rng(seed)
    root = np.sqrt(H)
    g = rng.normal(size=(num_samples, len(H))) * root * slope
    e = rng.normal(size=(num_samples, len(H), len(H)))
    e = (e + e.transpose(0, 2, 1)) / (2 * len(H) ** 0.5)
    a = np.diag(H) + spread * root[:, None] * (e - e.mean(0)) * root
    return g - g.mean(0), a


def losses_at(w, g, a):
    """ℓ_i(w) − ℓ_i(w*), (C, D, S)."""
    return w @ g.T + np.einsum("cdp,ipq,cdq->cdi", w, a, w) / 2


def weights(chosen=None, *, draws=4000, seed=0, nbeta=NBETA):
    """w (C, D, P) of the posterior restricted to the chosen weights; the rest stay at 0."""
    chosen = np.arange(len(H)) if chosen is None else np.array(chosen)
    w = np.zeros((4, draws, len(H)))
    w[..., chosen] = sgld_on_a_quadratic(
        H[chosen], gamma=GAMMA, step_size=EPS, draws=draws, nbeta=nbeta, seed=seed
    )
    return w


def tree_of(w, g, a, *, component="full", nbeta=NBETA, names=("all",), **more):
    """The saved draws of weights, with every sample's loss recorded under each name."""
    moved = w.any((0, 1))
    tree = quadratic_tree(w[..., moved], H[moved], gamma=GAMMA, nbeta=nbeta)
    tree.attrs["component"] = component
    excess = 0.5 * (H * w**2).sum(-1)
    losses = losses_at(w, g, a)
    return with_responses(tree, dict.fromkeys(names, losses), {"loss": excess} | more)


def sigma(chosen=None, nbeta=NBETA):
    """Covariance of the weights under SGLD as discretised, 0 outside the chosen ones."""
    p = nbeta * H + GAMMA
    variance = 1 / (p * (1 - EPS * p / 4))
    kept = np.zeros(len(H))
    kept[np.arange(len(H)) if chosen is None else chosen] = 1
    return np.diag(variance * kept)


def exact_chi(g, a, covariance):
    """−Cov(L, ℓ_z − L), (S,)."""
    with_mean = loss_covariance(g, a, covariance).mean(0)
    return -(with_mean - with_mean.mean())


def exact_two_chain(g, a, covariance, full):
    """−E_C[L (ℓ_z − L)] + E_C[L] E[ℓ_z − L], (S,)."""
    own, theirs = (loss_means(a, c) - loss_means(a, c).mean() for c in (covariance, full))
    return exact_chi(g, a, covariance) - loss_means(a, covariance).mean() * (own - theirs)
