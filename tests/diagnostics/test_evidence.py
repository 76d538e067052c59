import numpy as np

from creode.diagnostics import convergence, excess_loss, gather
from saved_draws import healthy_excess, tree


def examined(draws):
    return convergence(draws, excess_loss(draws)["excess"])


def test_evidence_of_healthy_chains_is_their_numbers():
    chains = examined(tree(healthy_excess()))
    evidence = gather(chains, nbeta=50.0, llc=3.0)
    assert (evidence.num_chains, evidence.num_draws) == (4, 200)
    assert (evidence.num_failed, evidence.num_still, evidence.num_flat) == (0, 0, 0)
    assert (evidence.failed_chain, evidence.failed_at, evidence.still_chain) == (-1, -1, -1)
    assert evidence.ess == float(chains.ess)
    assert evidence.rhat_distance == float(chains.rhat_distance)
    assert np.isnan(evidence.temperature)
    assert (evidence.nbeta, evidence.llc) == (50.0, 3.0)


def test_the_first_chain_at_fault_is_named_by_its_label():
    excess = healthy_excess()
    excess[2:, 150] = np.nan
    distance_sq = np.random.default_rng(0).random((4, 200))
    distance_sq[1] = 0.0
    draws = tree(excess, distance_sq=distance_sq, failed_at=np.array([-1, -1, 1502, 1510]))
    chains = examined(draws).assign_coords(chain=[10, 11, 12, 13])
    evidence = gather(chains)
    assert (evidence.num_failed, evidence.failed_chain, evidence.failed_at) == (2, 12, 1502)
    assert evidence.failed_draw == 150
    assert (evidence.num_still, evidence.still_chain) == (1, 11)
