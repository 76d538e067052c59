"""Weights on sequences from what two heads of a circuit answer, and whether these repeat."""

import pytest
import torch

import creode
from creode.patterning import Convex
from creode.tasks import NextToken
from creode.testbeds import Decoder
from creode.testbeds.induction import (
    CONFIG,
    PREFIX_MATCHING,
    bigrams,
    head_scores,
    partly_repeated_chains,
    repeated_tokens,
)
from creode.training import TrainingConfig, train


def trained(data, steps, seed):
    config = TrainingConfig(
        steps=steps, batch_size=64, learning_rate=0.01, warmup_steps=100, seed=seed, checkpoints=2,
        optimizer_options={"betas": (0.9, 0.98), "weight_decay": 0.01},
    )  # fmt: skip
    return train(Decoder(CONFIG, seed=seed), NextToken(), data, config).model


def drawn(model, data, read, head):
    return creode.sample(
        creode.LocalPosterior(
            model, NextToken(), data, nbeta=30.0, localization=300.0, component=head
        ),
        {"read": read},
        observables=["read"],
        sampler=creode.BAOAB(step_size=0.06, friction=35.0),
        chains=4, draws=40, burnin=100, steps_per_draw=8, batch_size=32,
        execution=creode.Execution(mode="sequential"),
    )  # fmt: skip


@pytest.mark.slow
def test_to_lower_what_the_circuits_heads_answer_is_to_weigh_up_what_repeats():
    generator = torch.Generator().manual_seed(100)
    data = partly_repeated_chains(4096, generator, bigrams(generator, sharpness=0.5))
    read = data.select(torch.arange(512))
    model = trained(data, 700, seed=100)
    matching, previous = head_scores(model, repeated_tokens(64, generator))
    heads = [max(scores, key=scores.get) for scores in (matching, previous)]
    assert matching[heads[0]] > PREFIX_MATCHING
    assert {head[:2] for head in heads} == {"l0", "l1"}
    draws = {head: drawn(model, data, read, head) for head in heads}
    circuit = {"circuit": dict.fromkeys(heads, 0.5)}
    repeated = read.columns["repeated"].double()
    for wish, low, high in ((6e-4, 0.0, 0.8), (-6e-4, 1.2, 3.0)):
        made = creode.pattern(
            draws, {"circuit": wish}, Convex(), on="read", observables=circuit, of="read"
        )
        share = float((made.weights.tensor() * repeated).mean() / repeated.mean())
        assert low < share < high, (wish, share)
