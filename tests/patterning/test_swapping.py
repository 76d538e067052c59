"""Negative weights on pairs become swapped answers: which, how they weigh, which way they push."""

import numpy as np
import pytest
import torch

from chats import llama, tokenizer
from creode.data import load_preferences
from creode.patterning import SampleWeights, swap_negative
from creode.tasks import DPO, with_reference

PAIRS = [
    {"prompt": f"{i}+{i}=", "chosen": f"{2 * i}", "rejected": "about ten", "margin": 0.5}
    for i in range(4)
]


def given(values=(3.0, -1.0, 2.5, -0.5)):
    tok = tokenizer()
    reference = llama(len(tok), seed=1)
    pairs = with_reference(load_preferences(PAIRS, tokenizer=tok), reference)
    return pairs, SampleWeights(values=np.array(values), fingerprint=pairs.fingerprint())


def test_pairs_of_negative_weight_are_swapped_whole():
    pairs, weights = given()
    out = swap_negative(pairs, weights)
    assert out.swapped.tolist() == [False, True, False, True]
    for name in ("input_ids", "labels", "attention_mask"):
        for i, swapped in enumerate(out.swapped):
            side = "rejected" if swapped else "chosen"
            wanted = pairs.columns[f"{side}_{name}"][i]
            assert torch.equal(out.samples.columns[f"chosen_{name}"][i], wanted)
    wanted = np.array([3.0, 1.0, 2.5, 0.5]) / 1.75
    np.testing.assert_allclose(out.weights.values, wanted)
    assert out.scale == pytest.approx(1.75)
    out.weights.check_data(out.samples)


def test_a_swapped_pair_pushes_where_its_negative_weight_did():
    pairs, weights = given()
    out = swap_negative(pairs, weights)
    model, beta = llama(len(tokenizer())), 0.3
    parameters = list(model.parameters())
    before, after = (DPO(beta=beta)(model, s.columns).values for s in (pairs, out.samples))
    # the two losses of a swapped pair are of Δ and −Δ
    margin = torch.log(torch.expm1(before.detach()))[1]
    torch.testing.assert_close(after[1].detach(), torch.nn.functional.softplus(-margin))
    push = torch.autograd.grad(-before[1], parameters, retain_graph=True)
    swapped = torch.autograd.grad(after[1], parameters)
    ratio = torch.sigmoid(-margin) / torch.sigmoid(margin)
    for one, other in zip(push, swapped, strict=True):
        torch.testing.assert_close(other, ratio * one, atol=1e-5, rtol=1e-3)


def test_weights_of_other_pairs_and_samples_that_are_none():
    pairs, weights = given()
    with pytest.raises(ValueError, match="for other samples"):
        swap_negative(pairs.select(torch.tensor([0, 1, 3, 2])), weights)
    tokens = type(pairs)(columns={"input_ids": pairs.columns["chosen_input_ids"]})
    of_tokens = SampleWeights(values=weights.values, fingerprint=tokens.fingerprint())
    with pytest.raises(ValueError, match="no pairs, whose answers could be exchanged"):
        swap_negative(tokens, of_tokens)
