"""Influences whose signs along training are known: quadratic losses whose gradients turn."""

import numpy as np
import xarray as xr
from traced_draws import Losses, saved

from creode.development.flips import sign_flips
from creode.response import influence
from oracles import loss_covariance

NUM = 12
TURN = np.linspace(0, 1, 6)  # checkpoints: the share of the way from some gradients to others
QUERIES = [0, 1, 2]


def turned(share, seed):
    """Losses that keep their curvatures while their gradients turn into others."""
    losses, others = Losses(num=NUM, seed=seed), Losses(num=NUM, seed=seed + 50)
    losses.gradients = (1 - share) * losses.gradients + share * others.gradients
    losses.covariance = loss_covariance(losses.gradients, losses.curvatures, losses.posterior)
    return losses


def along(seed, draws=500):
    """Influences along checkpoints (checkpoint, query, train), their errors, and the exact ones."""
    found, exact = [], []
    for place, share in enumerate(TURN):
        losses = turned(share, seed)
        drawn = losses.draws(draws=draws, seed=100 * seed + place)
        tree = saved({"train": drawn, "query": drawn[..., QUERIES]})
        found.append(influence(tree, query="query", train="train").block())
        exact.append(-losses.covariance[QUERIES])
    steps = xr.Variable("checkpoint", np.arange(len(TURN)))
    return xr.concat([one[["bif", "bif_se"]] for one in found], steps), np.stack(exact)


def test_flips_of_known_influences_are_found_and_no_others():
    told, wrong, clear, missed = 0, 0, 0, 0
    for seed in range(8):
        read, exact = along(seed)
        found = sign_flips(read["bif"], read["bif_se"], dof=31)["flip"].values
        truly = (exact.max(0) > 0) & (exact.min(0) < 0)
        z = exact / read["bif_se"].values
        sure = truly & (z.max(0) > 6) & (z.min(0) < -6)
        told, wrong = told + found.sum(), wrong + (found & ~truly).sum()
        clear, missed = clear + sure.sum(), missed + (sure & ~found).sum()
    assert clear > 20  # there is something to find
    assert missed == 0
    assert wrong <= 0.05 * told
