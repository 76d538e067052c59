"""Effects of weights against the closed forms of quadratic losses."""

import numpy as np
import pytest
import xarray as xr

from creode.patterning.effects import effects
from patterning_cases import Quadratics
from saved_draws import probe, with_probe, with_responses

NAMES = {name: name for name in ("loss", "code", "prose")}


def test_effects_are_those_of_the_exact_posterior():
    q = Quadratics()
    found = effects(q.tree(draws=4000), "train", NAMES)
    error = found.replicates.reshape(20, 3, -1).std(0, ddof=1) / 20**0.5
    z = (found.mean - q.effects()) / error
    assert found.names == ("loss", "code", "prose")
    assert (abs(z) < 5).all(), abs(z).max()
    assert 0.8 < np.sqrt((z**2).mean()) < 1.3
    assert (error[1:] < 0.2 * abs(q.effects()[1:]).max(1, keepdims=True)).all()


def test_a_token_weighs_as_much_as_any_other():
    """A sample's effect is the sum over its counted tokens, over all counted tokens."""
    q = Quadratics(num=12)
    whole = q.tree(draws=100)
    bare = xr.DataTree(whole.to_dataset().drop_dims("observable"))
    values = np.random.default_rng(0).normal(size=(4, 100, 12, 3))
    mask = np.random.default_rng(1).random((12, 3)) < 0.7
    mask[:, 0] = True
    phi = {"loss": whole["observed"].sel(observable="loss").values}
    tree = with_responses(bare, {"train": values}, phi, masks={"train": mask})
    found = effects(tree, "train", {"loss": "loss"})
    flat = with_responses(bare, {"train": values[..., mask]}, phi)
    by_token = effects(flat, "train", {"loss": "loss"})
    expected = np.zeros((12, 3))
    expected[mask] = by_token.mean[0]
    np.testing.assert_allclose(found.mean[0], expected.sum(1), rtol=1e-10)
    of_tokens = effects(tree, "train", {"loss": "loss"}, units="token")
    np.testing.assert_allclose(of_tokens.mean[0], expected[mask], rtol=1e-10)
    np.testing.assert_array_equal(of_tokens.mask, mask)
    assert found.mask.shape == (12,)


def test_effects_of_tokens_are_those_of_the_exact_posterior():
    q = Quadratics()
    found = effects(q.tree(draws=2000, tokens=4), "train", NAMES, units="token")
    error = found.replicates.reshape(20, 3, -1).std(0, ddof=1) / 20**0.5
    z = (found.mean - q.effects()) / error
    assert (abs(z) < 5).all(), abs(z).max()
    assert 0.8 < np.sqrt((z**2).mean()) < 1.3


def test_what_is_known_of_samples_is_known_of_their_tokens():
    found = effects(Quadratics().tree(draws=50, tokens=4), "train", NAMES, units="token")
    assert found.by_unit("groups", list("abcdefghij"))[:5].tolist() == ["a"] * 4 + ["b"]
    each = np.arange(40).reshape(10, 4)
    assert found.by_unit("groups", each).tolist() == list(range(40))
    with pytest.raises(ValueError, match=r"\(10,\) or \(10, 4\); got shape \(40,\)"):
        found.by_unit("groups", np.arange(40))
    with pytest.raises(ValueError, match="one loss a sample"):
        effects(Quadratics().tree(draws=50), "train", NAMES, units="token")
    with pytest.raises(ValueError, match="'sample' or 'token'"):
        effects(Quadratics().tree(draws=50), "train", NAMES, units="word")


def test_folds_leave_out_a_chain_or_a_block_of_the_only_one():
    q = Quadratics()
    for chains, count in ((4, 4), (1, 5)):
        found = effects(q.tree(draws=50, chains=chains), "train", NAMES)
        assert len(found.folds) == count
        judged = np.array([judged for _, judged in found.folds])
        assert (judged.sum(0) == 1).all()
        assert all((learned == ~judged).all() for learned, judged in found.folds)


def test_draws_that_tell_no_effect_are_refused():
    q = Quadratics()
    tree = q.tree(draws=50)
    control = tree.copy()
    control.attrs = dict(tree.attrs) | {"nbeta": 0.0}
    with pytest.raises(ValueError, match="nβ is 0"):
        effects(control, "train", NAMES)
    with pytest.raises(ValueError, match="not a probe"):
        effects(tree, "other", NAMES)
    bare = with_probe(tree, "bare", probe(np.zeros((4, 50, 40)), np.zeros(40)))
    with pytest.raises(ValueError, match="no covariances"):
        effects(bare, "bare", NAMES)
    broken = {node.path: node.to_dataset(inherit=False) for node in tree.subtree}
    broken["/probes/train"]["cov"] = broken["/probes/train"]["cov"] * np.nan
    with pytest.raises(ValueError, match="a chain failed"):
        effects(xr.DataTree.from_dict(broken), "train", NAMES)
    short = {node.path: node.to_dataset(inherit=False) for node in tree.subtree}
    short = {path: node.isel(chain=[0], block=[0], missing_dims="ignore")
             for path, node in short.items()}  # fmt: skip
    short["/"]["block_of_draw"] = short["/"]["block_of_draw"] * 0
    with pytest.raises(ValueError, match="no error"):
        effects(xr.DataTree.from_dict(short), "train", NAMES)
