import math

import pytest
import torch

from creode.testbeds import Decoder
from creode.testbeds.induction import (
    CONFIG,
    PERIODS,
    attention_patterns,
    copies,
    head_scores,
    induction_decoder,
    previous_token_threshold,
    repeated_tokens,
)


@pytest.fixture(scope="module")
def data():
    return repeated_tokens(6, torch.Generator().manual_seed(0))


def test_sequences_repeat_with_their_period_and_not_before(data):
    assert len(set(data.columns["period"].tolist())) > 1
    for ids, period in zip(data.columns["input_ids"], data.columns["period"].tolist(), strict=True):
        assert PERIODS[0] <= period <= PERIODS[1]
        assert torch.equal(ids[period:], ids[:-period])
        assert len(set(ids[:period].tolist())) == period


def test_labels_of_second_copies_are_what_can_be_known(data):
    """A token is known if the one before it has been seen; each is on one side or the other."""
    first, second = (copies(data)[name].columns["labels"] for name in ("first", "second"))
    for row, ids in enumerate(data.columns["input_ids"].tolist()):
        for t, token in enumerate(ids):
            known = t > 1 and ids[t - 1] in ids[: t - 1]
            assert second[row, t] == (token if known else -100)
            assert first[row, t] == (-100 if known else token)


def test_scores_are_the_attention_summed_by_hand(data):
    model = Decoder(CONFIG, seed=1)
    patterns = attention_patterns(model, data.columns["input_ids"])
    prefix_matching, previous_token = head_scores(model, data)
    layer, head = 1, 2
    matched, before = [], []
    for row, ids in enumerate(data.columns["input_ids"].tolist()):
        attention = patterns[layer][row, head]
        for t in range(1, len(ids)):
            before.append(float(attention[t, t - 1]))
            earlier = [s for s in range(t) if ids[s] == ids[t]]
            if earlier:
                matched.append(sum(float(attention[t, s + 1]) for s in earlier))
    assert prefix_matching["l1h2"] == pytest.approx(sum(matched) / len(matched), rel=1e-5)
    assert previous_token["l1h2"] == pytest.approx(sum(before) / len(before), rel=1e-5)


def test_patterns_are_those_the_model_attends_with(data):
    """Values mixed by the patterns are what the attention layer puts out."""
    model = Decoder(CONFIG, seed=1)
    ids = data.columns["input_ids"]
    x = model.blocks[0].attn_norm(model.embed(ids) + model.positions.weight)
    attn = model.blocks[0].attn
    values = attn.v_proj(x).view(*x.shape[:-1], CONFIG.num_heads, -1).transpose(1, 2)
    mixed = (attention_patterns(model, ids)[0] @ values).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(attn.o_proj(mixed), attn(x, None), rtol=1e-4, atol=1e-5)


def test_uniform_attention_scores_half_the_threshold(data):
    model = Decoder(CONFIG, seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "q_proj" in name:
                parameter.zero_()
    score = head_scores(model, data)[1]["l0h0"]
    assert 2 * score == pytest.approx(previous_token_threshold(), rel=1e-4)


def test_too_short_a_training_says_that_no_circuit_formed():
    with pytest.raises(ArithmeticError, match="no circuit formed with seed 0 in 4 steps"):
        induction_decoder(steps=2)


@pytest.mark.slow
def test_a_trained_decoder_has_the_circuit_and_uses_it():
    net = induction_decoder(seed=100)
    assert {head[:2] for head in net.circuit} == {"l0", "l1"}
    assert net.init_loss["second"] < 0.2 * net.init_loss["first"]
    assert net.init_loss["first"] > 0.9 * math.log(CONFIG.vocab_size)
