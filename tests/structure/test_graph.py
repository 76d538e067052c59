import numpy as np
import pytest
from scipy.sparse import csr_array

from creode.structure.graph import (
    NONE,
    RESTART,
    _pagerank,
    _sweep,
    conductance,
    low_conductance_sets,
    neighbour_graph,
)


def members(num_rows, *rows):
    flags = np.zeros(num_rows, bool)
    flags[list(rows)] = True
    return flags


def two_cliques():
    """Rows 0–3 and 4–8, each all joined, and one edge 3–4."""
    adjacent = np.zeros((9, 9))
    adjacent[:4, :4] = adjacent[4:, 4:] = 1
    adjacent[3, 4] = adjacent[4, 3] = 1
    np.fill_diagonal(adjacent, 0)
    return csr_array(adjacent)


def test_conductance_is_the_share_of_edges_that_leave():
    graph = two_cliques()
    assert conductance(graph, members(9, 0, 1, 2, 3)) == pytest.approx(1 / 13)  # 4·3 + 1
    assert conductance(graph, members(9, 4, 5, 6, 7, 8)) == pytest.approx(1 / 13)
    assert conductance(graph, members(9, 0)) == 1
    assert conductance(graph, members(9, 0, 1)) == pytest.approx(4 / 6)
    assert np.isnan(conductance(graph, members(9)))
    assert np.isnan(conductance(graph, members(9, *range(9))))


def test_neighbours_are_the_nearest_either_way():
    points = np.array([[0.0], [1.0], [2.5], [10.0]])
    graph = neighbour_graph(points, 1).toarray()
    expected = [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    np.testing.assert_array_equal(graph, expected)
    points = np.random.default_rng(0).standard_normal((60, 3))
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    near = np.argsort(distance, axis=1)[:, 1:6]
    expected = np.zeros((60, 60))
    expected[np.repeat(np.arange(60), 5), near.ravel()] = 1
    np.testing.assert_array_equal(
        neighbour_graph(points, 5).toarray(), np.maximum(expected, expected.T)
    )


def test_rows_in_one_place_have_neighbours_too():
    graph = neighbour_graph(np.zeros((12, 2)), 4)
    assert graph.diagonal().sum() == 0
    assert (graph.sum(1) >= 3).all()


def test_pagerank_solves_its_equation():
    graph = two_cliques()
    walk = (graph.toarray() / graph.sum(1)[:, None]).T
    seed = np.eye(9)[2]
    exact = np.linalg.solve(np.eye(9) - (1 - RESTART) * walk, RESTART * seed)
    found = _pagerank(csr_array(walk), 2)
    np.testing.assert_allclose(found, exact, atol=0.06 * exact.max())
    assert found.sum() == pytest.approx(1)
    assert found[:4].min() > found[4:].max()  # the walk stays where it is bound


@pytest.mark.parametrize("fewest", [1, 5, 20])
def test_a_sweep_finds_the_best_prefix(fewest):
    rng = np.random.default_rng(1)
    graph = neighbour_graph(rng.standard_normal((50, 2)), 6)
    degree = np.asarray(graph.sum(1)).ravel()
    rank = rng.random(50) * degree
    found, phi = _sweep(graph, degree, rank, fewest=fewest)
    order = np.argsort(-rank / degree)
    each = {n: conductance(graph, members(50, *order[:n])) for n in range(fewest, 26)}
    best = min(each, key=each.get)
    assert set(found) == set(order[:best])
    assert phi == pytest.approx(each[best])


def test_groups_apart_are_found_and_noise_between_is_left():
    rng = np.random.default_rng(2)
    groups = [c + 0.3 * rng.standard_normal((30, 2)) for c in ([0, 0], [6, 0], [0, 6])]
    points = np.concatenate([*groups, rng.uniform(20, 60, (10, 2))])
    graph = neighbour_graph(points, 8)
    labels = low_conductance_sets(graph, points, fewest=15, largest_conductance=0.3)
    truth = np.repeat([0, 1, 2, NONE], [30, 30, 30, 10])
    pairs = {(a, b) for a, b in zip(truth.tolist(), labels.tolist(), strict=True)}
    assert len(pairs) == 4  # a name for each group
    assert {a for a, b in pairs if b == NONE} == {NONE}
    order = rng.permutation(100)
    again = low_conductance_sets(
        neighbour_graph(points[order], 8), points[order], fewest=15, largest_conductance=0.3
    )
    np.testing.assert_array_equal(again, labels[order])


def test_no_set_is_found_above_the_limit_or_below_the_size():
    graph = two_cliques()
    points = np.arange(9.0)[:, None]
    found = low_conductance_sets(graph, points, fewest=3, largest_conductance=0.1)
    assert found[0] != NONE
    assert len(set(found[:4])) == 1
    assert (found[4:] != found[0]).all()
    none = low_conductance_sets(graph, points, fewest=3, largest_conductance=0.05)
    assert (none == NONE).all()
    none = low_conductance_sets(graph, points, fewest=5, largest_conductance=0.3)
    assert (none == NONE).all()  # at most half the rows


def test_rows_of_earlier_sets_leave_a_later_one(monkeypatch):
    sets = iter([np.arange(10), np.arange(6, 15), np.arange(12, 20), np.arange(9, 23)])
    monkeypatch.setattr("creode.structure.graph._sweep", lambda *_: (next(sets, sets_end), 0.1))
    sets_end = np.arange(0)
    graph = neighbour_graph(np.arange(40.0)[:, None], 2)
    points = np.arange(40.0)[:, None]
    labels = low_conductance_sets(graph, points, fewest=5, largest_conductance=0.3)
    assert (labels[:10] == 0).all()
    assert (labels[10:15] == 1).all()  # without those of the first
    assert (labels[15:20] == 2).all()
    assert (labels[20:] == NONE).all()  # the last has too few that are new


def test_a_better_cut_of_too_few_rows_is_not_taken():
    rng = np.random.default_rng(3)
    points = rng.standard_normal((50, 2))
    points[:8] += 100  # a group of its own, that no edge leaves
    graph = neighbour_graph(points, 4)
    degree = np.asarray(graph.sum(1)).ravel()
    rank = np.arange(50, 0, -1.0) * degree
    found, phi = _sweep(graph, degree, rank, fewest=8)
    assert (sorted(found), phi) == (list(range(8)), 0)
    found, phi = _sweep(graph, degree, rank, fewest=12)
    assert len(found) >= 12
    assert phi > 0
