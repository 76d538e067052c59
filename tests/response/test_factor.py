"""The factor: which units there are, their losses, and that no more is read than asked for."""

import numpy as np
import pytest
from traced_draws import noise, saved

from creode.response.factor import Factor
from lazy_arrays import Watched
from saved_draws import healthy_excess, probe, tree, with_probe

MASK = np.array([[True, True, False], [False, False, False], [True, False, True]])
TOKENS = np.random.default_rng(3).normal(size=(2, 50, 3, 3))


def token_factor(by):
    return Factor(saved({"p": TOKENS}, {"p": MASK}), "p", by)


def test_a_samples_loss_is_the_mean_of_its_counted_tokens():
    factor = token_factor("sample")
    assert factor.samples.tolist() == [0, 2]  # sample 1 has none that count
    expected = np.stack([TOKENS[:, :, 0, :2].mean(-1), TOKENS[:, :, 2, ::2].mean(-1)], -1)
    expected -= expected.mean(1, keepdims=True)
    np.testing.assert_allclose(factor.columns(np.array([0, 1])), expected, atol=1e-6)
    np.testing.assert_allclose(factor.columns(np.array([1])), expected[..., 1:], atol=1e-6)


def test_masked_tokens_are_no_units():
    factor = token_factor("token")
    pairs = list(zip(factor.samples.tolist(), factor.tokens.tolist(), strict=True))
    assert pairs == [(0, 0), (0, 1), (2, 0), (2, 2)]
    index = np.array([3, 0, 0])
    found = factor.columns(index)
    for column, (sample, token) in enumerate([(2, 2), (0, 0), (0, 0)]):
        losses = TOKENS[:, :, sample, token]
        expected = losses - losses.mean(1, keepdims=True)
        np.testing.assert_allclose(found[..., column], expected, atol=1e-6)


def test_units_are_found_by_their_place_in_the_data():
    assert token_factor("sample").find(2) == 1
    assert token_factor("token").find((2, 2)) == 3


@pytest.mark.parametrize(
    ("by", "unit", "message"),
    [
        ("sample", 1, r"sample 1 is masked"),
        ("sample", 3, r"sample 3 is not in 0\.\.2"),
        ("sample", -1, r"sample -1 is not in 0\.\.2"),
        ("sample", (0, 1), r"a unit of probe 'p' is a sample's position, got \(0, 1\)"),
        ("token", 0, r"is a pair \(sample, token\), got 0"),
        ("token", (0, 2), r"token 2 of sample 0 is masked"),
        ("token", (0, 7), r"token 7 of sample 0 is not among 3 samples of 3 tokens"),
    ],
)
def test_a_unit_that_is_not_there_is_told_apart(by, unit, message):
    with pytest.raises(ValueError, match=message):
        token_factor(by).find(unit)


def test_what_a_factor_needs_is_said():
    losses = noise(4)
    with pytest.raises(ValueError, match=r"by must be 'sample' or 'token', got 'word'"):
        Factor(saved({"p": losses}), "p", "word")
    with pytest.raises(ValueError, match=r"one loss a sample and no tokens; use by='sample'"):
        Factor(saved({"p": losses}), "p", "token")
    bare = with_probe(tree(healthy_excess(draws=400)), "p", probe(losses, losses[0, 0]))
    with pytest.raises(ValueError, match=r"without full traces.*traces=\('p',\)"):
        Factor(bare, "p")
    with pytest.raises(ValueError, match=r"known: \['data', 'p'\]"):
        Factor(bare, "q")


def test_only_the_columns_asked_for_are_read():
    draws = saved({"p": noise(500)})
    watched = Watched(draws["probes/p/unit_loss"].values)
    lazy = watched.variable(("chain", "draw", "sample"))
    record = draws["probes/p"].to_dataset().assign(unit_loss=lazy)
    draws = with_probe(tree(healthy_excess(draws=400)), "p", record)
    factor = Factor(draws, "p")
    assert watched.read == 0
    factor.columns(np.array([7, 400, 8]))
    assert watched.read == 3 * 4 * 400
    factor.columns(np.arange(100, 200))
    assert watched.read == 103 * 4 * 400


def test_slabs_are_all_columns_in_order_and_fit(monkeypatch):
    factor = Factor(saved({"p": noise(50)}), "p")
    monkeypatch.setattr("creode.response.factor.BUFFER", 8 * 4 * 400 * 7)
    slabs = list(factor.slabs(np.arange(50)))
    assert [len(slab) for slab in slabs] == [7] * 7 + [1]
    assert np.concatenate(slabs).tolist() == list(range(50))
    monkeypatch.setattr("creode.response.factor.BUFFER", 8 * 2 * 50 * 3 * 2)
    assert [len(s) for s in token_factor("sample").slabs(np.arange(2))] == [2]
    monkeypatch.setattr("creode.response.factor.BUFFER", 8 * 2 * 50 * 3)
    assert [len(s) for s in token_factor("sample").slabs(np.arange(2))] == [1, 1]
