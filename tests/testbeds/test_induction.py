import math

import pytest
import torch

from creode.data import Samples
from creode.testbeds import Decoder
from creode.testbeds.induction import (
    CONFIG,
    PARTLY,
    PERIODS,
    UNREPEATED,
    attention_patterns,
    bigrams,
    copies,
    head_scores,
    induction_decoder,
    partly_repeated_chains,
    previous_token_threshold,
    repeated_chains,
    repeated_tokens,
    train,
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


def test_segments_of_a_chain_follow_its_transitions_and_repeat():
    """A chain that allows two successors of each token, one of them three times as often."""
    size = CONFIG.vocab_size
    transitions = torch.zeros(size, size)
    for token in range(size):
        transitions[token, [(token + 1) % size, (token + 5) % size]] = torch.tensor([0.75, 0.25])
    data = repeated_chains(200, torch.Generator().manual_seed(0), transitions)
    steps = []
    for ids, period in zip(data.columns["input_ids"], data.columns["period"].tolist(), strict=True):
        assert torch.equal(ids[period:], ids[:-period])
        steps += ((ids[1:period] - ids[: period - 1]) % size).tolist()
    assert set(steps) == {1, 5}
    assert steps.count(1) / len(steps) == pytest.approx(0.75, abs=4 * (0.19 / len(steps)) ** 0.5)
    assert len(set(data.columns["input_ids"][:, 0].tolist())) > size / 2


def test_a_part_repeats_and_the_chain_goes_on():
    """A chain that allows one successor of each token would repeat by itself: two are allowed."""
    size, length = CONFIG.vocab_size, CONFIG.context_length
    transitions = torch.zeros(size, size)
    for token in range(size):
        transitions[token, [(token + 1) % size, (token + 5) % size]] = torch.tensor([0.75, 0.25])
    data = partly_repeated_chains(400, torch.Generator().manual_seed(0), transitions)
    columns = data.columns
    for ids, period, repeated in zip(
        columns["input_ids"], columns["period"].tolist(), columns["repeated"].tolist(), strict=True
    ):
        assert PARTLY[0] <= period <= PARTLY[1]
        assert 0 <= repeated <= length - period
        end = period + repeated
        assert torch.equal(ids[period:end], ids[:repeated])
        steps = set(((ids[1:] - ids[:-1]) % size)[: period - 1].tolist())
        steps |= set(((ids[1:] - ids[:-1]) % size)[end:].tolist())
        assert steps <= {1, 5}
    none = float((columns["repeated"] == 0).double().mean())
    assert abs(none - UNREPEATED) < 0.1  # some round to none
    assert int((columns["repeated"] + columns["period"]).max()) == length


def test_bigrams_are_a_chain_with_something_to_learn():
    transitions = bigrams(torch.Generator().manual_seed(0))
    torch.testing.assert_close(transitions.sum(1), torch.ones(CONFIG.vocab_size))
    entropy = -(transitions * transitions.log()).sum(1).mean()
    assert float(entropy) == pytest.approx(3.0, abs=0.1)


def test_who_is_called_back_sees_each_step_and_disturbs_nothing():
    alone, watched = (Decoder(CONFIG, seed=1) for _ in range(2))
    seen = []

    def keep(step):
        seen.append((step, watched.unembed.weight.clone()))

    train(alone, 3, torch.Generator().manual_seed(0))
    train(watched, 3, torch.Generator().manual_seed(0), on_step=keep)
    assert [step for step, _ in seen] == [0, 1, 2, 3]
    assert torch.equal(seen[0][1], Decoder(CONFIG, seed=1).unembed.weight)
    assert torch.equal(seen[3][1], alone.unembed.weight)
    assert torch.equal(watched.unembed.weight, alone.unembed.weight)
    assert not torch.equal(seen[1][1], seen[2][1])


def test_training_is_on_the_sequences_it_is_given():
    """Whose tokens are all the same: the decoder soon says nothing else."""

    def constant(num, generator):
        return Samples(columns={"input_ids": torch.full((num, 8), 7)}, source="sevens")

    model = Decoder(CONFIG, seed=1)
    train(model, 100, torch.Generator().manual_seed(0), sequences=constant)
    assert float(model(torch.full((1, 8), 7)).softmax(-1)[0, :, 7].min().detach()) > 0.5


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
