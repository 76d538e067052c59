"""Preferences between two minima of quadratic losses, whose free energies are exact."""

import numpy as np
import pytest

from creode.patterning import (
    Convex,
    Furthest,
    MinimumNorm,
    UnresolvedError,
    prefer,
    solution_effects,
)
from saved_draws import probe, quadratic_tree, with_probe

NBETA, GAMMA, NUM, DIM = 300.0, 5.0, 30, 6


class Minimum:
    """ℓ_j(w* + δ) = a_j + g_j·δ + ½ δᵀA_jδ, Σ g = 0, ΣA diagonal."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.a = rng.uniform(0, 0.02, NUM)
        g = 0.1 * rng.normal(size=(NUM, DIM))
        self.g = g - g.mean(0)
        e = 0.2 * rng.normal(size=(NUM, DIM, DIM))
        e = e + e.transpose(0, 2, 1)
        self.h = rng.uniform(0.3, 3.0, DIM)
        self.hessians = np.diag(self.h) + (e - e.mean(0)) + np.zeros((NUM, 1, 1))

    def free_energy(self, rho):
        """−log ∫ exp(−nβ Σ ρ ℓ / N − γ/2 δ²) dδ, up to the constant DIM/2 log 2π."""
        share = NBETA * rho / NUM
        precision = np.einsum("j,jpq->pq", share, self.hessians) + GAMMA * np.eye(DIM)
        slope = share @ self.g
        sign, log_det = np.linalg.slogdet(precision)
        assert sign > 0
        at_best = share @ self.a - slope @ np.linalg.solve(precision, slope) / 2
        return at_best + log_det / 2

    def tree(self, seed, draws=4000, chains=2, nbeta=NBETA):
        rng = np.random.default_rng(seed)
        scale = 1 / np.sqrt(nbeta * self.h + GAMMA)
        w = scale * rng.standard_normal((chains, draws, DIM))
        losses = self.a + w @ self.g.T
        losses = losses + np.einsum("cdp,jpq,cdq->cdj", w, self.hessians, w) / 2
        tree = quadratic_tree(w, self.h, gamma=GAMMA, nbeta=nbeta)
        return with_probe(tree, "train", probe(losses, self.a))


A, B = Minimum(1), Minimum(2)


def runs(pairs=3, **more):
    return (
        [A.tree(seed, **more) for seed in range(pairs)],
        [B.tree(100 + seed, **more) for seed in range(pairs)],
    )


def exact():
    """d(F_B − F_A)/dρ_j by finite differences."""
    step, ones = 1e-4, np.ones(NUM)
    out = []
    for j in range(NUM):
        ends = [ones + sign * step * np.eye(NUM)[j] for sign in (1, -1)]
        up, down = (B.free_energy(rho) - A.free_energy(rho) for rho in ends)
        out.append((up - down) / (2 * step))
    return np.array(out)


def test_effects_are_the_derivative_of_the_free_energies():
    found = solution_effects(*runs())
    assert found.replicates.shape == (3, 2, 1, NUM)
    assert found.ok, found.reasons
    truth = exact()
    error = found.replicates.reshape(6, NUM).std(0, ddof=1) / 6**0.5
    assert np.sqrt(np.mean(((found.mean[0] - truth) / error) ** 2)) < 1.6
    assert np.median(error) < 0.05 * np.abs(truth).max()


def test_scaling_all_weights_answers_with_the_coefficients():
    """Σ_j dF/dρ_j is dF/d log nβ: of the loss at the minimum and λ̂."""
    found = solution_effects(*runs())
    llc = [float((NBETA * m.h / (2 * (NBETA * m.h + GAMMA))).sum()) for m in (A, B)]
    ends = [NBETA * m.a.mean() for m in (A, B)]
    expected = ends[1] + llc[1] - ends[0] - llc[0]
    spread = found.replicates.sum(-1).std(ddof=1) / 6**0.5
    assert abs(found.mean.sum() - expected) < 4 * spread
    assert spread < 0.1


def test_weights_move_the_preference_as_told_and_the_other_way_round():
    wanted, unwanted = runs()
    for constraint, by in ((Convex(), 0.3), (MinimumNorm(), 0.3), (Furthest(), None)):
        there = prefer(wanted, unwanted, constraint, by=by)
        effect = there.effect.isel(observable=0)
        rho = there.weights.values
        first_order = exact() @ (rho - 1)
        told, error = float(effect["predicted"]), float(effect["predicted_se"])
        assert str(effect["observable"].item()) == "preference"
        assert abs(told - first_order) < 4 * error + 0.02 * abs(told)
        assert float(effect["fitted"]) == pytest.approx(float(effect["wanted"]), rel=1e-4)
        moved = [m.free_energy(rho) - m.free_energy(np.ones(NUM)) for m in (A, B)]
        assert moved[1] - moved[0] > 0.6 * told > 0  # not only to first order
    back = prefer(unwanted, wanted, Furthest(least_effective=0.6, least=0.2))
    rho = back.weights.values
    assert exact() @ (rho - 1) < -0.3
    assert back.weights.effective_share == pytest.approx(0.6, abs=1e-3)
    assert rho.min() > 0.2 - 1e-6
    assert back.effect.attrs["num_pairs"] == 3


def test_runs_that_differ_by_chance_are_refused():
    """Both kinds at one minimum: what remains is noise."""
    one, other = (
        [A.tree(s, draws=50) for s in range(3)],
        [A.tree(50 + s, draws=50) for s in range(3)],
    )
    with pytest.raises(UnresolvedError, match="do not tell which data"):
        prefer(one, other)


def test_one_kind_of_run_that_varies_widens_the_error():
    wanted, unwanted = runs()
    alike = prefer(wanted, unwanted).effect["predicted_se"].item()
    mixed = [unwanted[0], Minimum(3).tree(7), Minimum(4).tree(8)]
    assert prefer(wanted, mixed, Furthest(least_effective=0.9)).effect["predicted_se"] > 3 * alike


def test_wrong_input_is_told():
    wanted, unwanted = runs(pairs=2, draws=50)
    with pytest.raises(ValueError, match="2 wanted and 1 unwanted"):
        prefer(wanted, unwanted[:1])
    with pytest.raises(ValueError, match="at least one; got 0"):
        solution_effects([], [])
    with pytest.raises(ValueError, match="differ in their nβ"):
        prefer(wanted, [unwanted[0], B.tree(5, draws=50, nbeta=NBETA / 2)])
    with pytest.raises(ValueError, match="differ in their number of chains"):
        prefer(wanted, [unwanted[0], B.tree(5, draws=50, chains=3)])
    with pytest.raises(ValueError, match="does not go with Convex"):
        prefer(wanted, unwanted, Convex())
    with pytest.raises(ValueError, match=r"by=2.0 does not go with Furthest"):
        prefer(wanted, unwanted, by=2.0)
    with pytest.raises(ValueError, match="tells no error"):
        solution_effects([A.tree(0, chains=1)], [B.tree(0, chains=1)])
    with pytest.raises(ValueError, match="not a probe"):
        prefer(wanted, unwanted, on="data")
