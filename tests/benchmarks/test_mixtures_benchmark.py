"""Mixtures of the benchmark: what they weigh, what n-grams and ranks make of them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from creode.data import Samples

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import mixture_runs
import mixtures as benchmark

G = len(mixture_runs.NAMES)


def samples(ids):
    return Samples(columns={"input_ids": torch.tensor(ids)})


def setting(pool, held_out):
    return mixture_runs.Setting(
        decoder=None, training=None, anchor=None, pool=pool,
        held_out=dict(zip(mixture_runs.NAMES, held_out, strict=True)),
    )  # fmt: skip


def pool_of(domains):
    """One pool of unequal domains, each the rows it is given."""
    index = [g for g, rows in enumerate(domains) for _ in rows]
    return Samples(
        columns={"input_ids": torch.tensor([row for rows in domains for row in rows])},
        domain=torch.tensor(index),
        domain_names=mixture_runs.NAMES,
    )


def test_weights_give_domains_their_shares_of_the_loss():
    pool = pool_of([[[0, 1]] * n for n in (2, 4, 6, 8)])
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    weights = setting(pool, [samples([[0, 1]])] * G).weights(shares)
    assert float(weights.mean()) == pytest.approx(1)
    by_domain = torch.zeros(G, dtype=torch.float64).index_add_(0, pool.domain, weights)
    np.testing.assert_allclose(by_domain / len(pool), shares)


def test_mixtures_are_shares_and_move_from_the_pool():
    drawn = mixture_runs.mixtures(5, seed=3)
    np.testing.assert_allclose(drawn.sum(1), 1)
    np.testing.assert_array_equal(mixture_runs.toward(drawn[0], 0.0), mixture_runs.BASE)
    np.testing.assert_allclose(mixture_runs.toward(drawn[0], 1.0), drawn[0])


def test_cross_entropy_of_pairs_is_that_of_the_mixed_table():
    pool = pool_of([[[0, 1, 0, 2]], [[0, 1, 1, 1]], [[0, 2, 2, 2]], [[0, 0, 0, 0]]])
    one = setting(pool, [samples([[0, 1]]), *[samples([[1, 1]])] * (G - 1)])
    shares = np.array([0.7, 0.1, 0.1, 0.1])
    found = benchmark.cross_entropy(one, shares, order=2)
    after_0 = np.full(257, benchmark.PRIOR)
    after_0[:3] += G * np.array([0.1 * 3, 0.7 + 0.1, 0.7 + 0.1])  # 0→0, 0→1, 0→2
    assert found[0] == pytest.approx(-np.log(after_0[1] / after_0.sum()))


def test_scores_are_of_ranks_over_pairs_within_domains_and_within_mixtures():
    rng = np.random.default_rng(0)
    achieved = rng.standard_normal((20, G))
    np.testing.assert_allclose(benchmark.scores(3 * achieved, achieved), 1)
    whole = achieved + 100 * rng.standard_normal((20, 1))  # what moves a mixture as a whole
    found = benchmark.scores(whole, achieved)
    assert found[2] == pytest.approx(1)
    assert abs(found[0]) < 0.5
    by_domain = 100.0 * np.arange(G) + achieved  # ranks domains alike in every mixture
    assert benchmark.scores(by_domain, achieved)[1] == pytest.approx(1)
