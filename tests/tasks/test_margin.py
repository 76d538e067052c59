"""Margins of behaviours against one answer at a time, and against the rewards."""

import pytest
import torch
from preference_cases import PAIRS, answer_alone

from chats import llama, tokenizer
from creode import ScalarHead
from creode.data import load_behaviour
from creode.fingerprint import task_fingerprint
from creode.tasks import DPO, SFT, Margin, RewardModel, Weighted
from creode.testbeds import Decoder, DecoderConfig


def behaviour():
    rows = [
        {"prompt": p["prompt"], "wanted": p["chosen"], "unwanted": p["rejected"]} for p in PAIRS
    ]
    return load_behaviour(rows, tokenizer=tokenizer())


@pytest.mark.parametrize("task", [SFT(), DPO(), Weighted(task=SFT())])
def test_margins_of_language_models_are_differences_of_log_probabilities(task):
    samples, model = behaviour(), llama(len(tokenizer()))
    margin = Margin(columns=samples.columns, task=task, batch_size=2)
    with torch.no_grad():
        wanted = torch.stack([
            answer_alone(model, samples, row, "rejected")
            - answer_alone(model, samples, row, "chosen")
            for row in range(3)
        ])  # fmt: skip
        found = margin.by_prompt(model)
    assert wanted.abs().min() > 0.1
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(margin(model), wanted.mean(), atol=1e-4, rtol=1e-4)
    assert margin(model).requires_grad


def test_margins_of_reward_models_are_differences_of_rewards():
    samples = behaviour()
    config = DecoderConfig(
        vocab_size=len(tokenizer()), d_model=16, num_layers=1, num_heads=2, context_length=128,
        init_std=0.3,
    )  # fmt: skip
    model = ScalarHead.of(Decoder(config))
    torch.nn.init.normal_(model.score.weight)
    task = RewardModel()
    found = Margin(columns=samples.columns, task=task, batch_size=2).by_prompt(model).detach()
    for row in range(3):
        rewards = []
        for side in ("rejected", "chosen"):
            real = samples.columns[f"{side}_attention_mask"][row].bool()
            ids = samples.columns[f"{side}_input_ids"][row][real][None]
            rewards.append(float(task.rewards(model, {"input_ids": ids}).detach()))
        assert float(found[row]) == pytest.approx(rewards[0] - rewards[1], abs=1e-5)
        assert abs(float(found[row])) > 1e-3


def test_a_margin_is_known_by_what_it_asks():
    samples = behaviour()
    one = Margin(columns=samples.columns, task=SFT())
    assert task_fingerprint(one) == task_fingerprint(
        Margin(columns=behaviour().columns, task=SFT())
    )
    fewer = samples.select(torch.arange(2))
    other = Margin(columns=fewer.columns, task=SFT())
    assert task_fingerprint(one) != task_fingerprint(other)
    assert task_fingerprint(one) != task_fingerprint(Margin(columns=samples.columns, task=DPO()))
